#include "llb/source_map.h"

#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/strings.h"
#include "errdefs/errdefs.pb.h"

namespace kiln::llb {
namespace {

std::vector<pb::Range> LinesFrom(int first, int last) {
  std::vector<pb::Range> ranges;
  for (int line = first; line <= last; ++line) {
    ranges.emplace_back().mutable_start()->set_line(line);
    ranges.back().mutable_end()->set_line(line);
  }
  return ranges;
}

errdefs::Source DetailOf(const std::string& data, const std::vector<pb::Range>& ranges) {
  pb::SourceInfo info;
  info.set_filename("Dockerfile");
  info.set_data(data);
  errdefs::Source source;
  EXPECT_TRUE(
      google::protobuf::util::JsonStringToMessage(SourceDetail(info, ranges).value, &source).ok());
  return source;
}

TEST(SourceMapTest, AShortFileComesWhole) {
  const errdefs::Source source = DetailOf("FROM a\nRUN b\n", LinesFrom(2, 2));
  EXPECT_EQ(source.info().filename(), "Dockerfile");
  EXPECT_EQ(source.info().data(), "FROM a\nRUN b\n");
  ASSERT_EQ(source.ranges_size(), 1);
  EXPECT_EQ(source.ranges(0).start().line(), 2);
}

// Where the file came from, for clients that look for it.
TEST(SourceMapTest, TheFilesDefinitionComesWithIt) {
  pb::SourceInfo info;
  info.set_data("FROM a\n");
  info.mutable_definition()->add_def("op");
  pb::Source file;
  *file.add_infos() = info;
  pb::Location& location = *(*file.mutable_locations())["sha256:v"].add_locations();
  *location.add_ranges() = LinesFrom(1, 1).front();
  const std::vector<ErrorDetail> details = SourceDetails(file, "sha256:v");
  ASSERT_EQ(details.size(), 1U);
  errdefs::Source source;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(details[0].value, &source).ok());
  ASSERT_EQ(source.info().definition().def_size(), 1);
  EXPECT_EQ(source.info().definition().def(0), "op");
  // None is made up.
  EXPECT_FALSE(DetailOf("FROM a\n", LinesFrom(1, 1)).info().has_definition());
}

TEST(SourceMapTest, ALongExcerptIsCut) {
  std::string data = "COPY <<E /f\n";
  for (int i = 0; i < 2000; ++i) data += std::string(1023, 'z') + "\n";
  const errdefs::Source source = DetailOf(data + "E\nRUN true\n", LinesFrom(1, 2002));
  EXPECT_GT(source.ranges_size(), 10);
  EXPECT_LT(source.ranges_size(), 20);
  EXPECT_EQ(source.ranges(0).start().line(), 1);
  EXPECT_TRUE(source.info().data().starts_with(data.substr(0, 4096)));
  EXPECT_LT(source.info().data().size(), 40'000U);
}

TEST(SourceMapTest, LinesOfALongFileKeepTheirNumbers) {
  std::string data;
  for (int i = 1; i <= 100'000; ++i) data += std::to_string(i) + " \n";
  const errdefs::Source source = DetailOf(data, LinesFrom(50'000, 50'001));
  const auto lines = Split(source.info().data(), '\n');
  ASSERT_EQ(lines.size(), 50'012U);
  EXPECT_EQ(lines[49'999], "50000 ");
  EXPECT_EQ(lines[49'990], "49991 ");
  EXPECT_EQ(lines[50'010], "50011 ");
  EXPECT_EQ(lines[100], "");
}

TEST(SourceMapTest, RangesThatNameNoLine) {
  EXPECT_EQ(DetailOf("a\n", LinesFrom(7, 9)).ranges_size(), 3);
  EXPECT_EQ(DetailOf("", LinesFrom(0, 0)).ranges_size(), 1);
  EXPECT_EQ(
      DetailOf(std::string(1 << 20, 'x'), LinesFrom(2'000'000'000, 2'000'000'000)).ranges_size(),
      1);
  EXPECT_EQ(DetailOf(std::string(1 << 20, 'x'), LinesFrom(-5, -5)).ranges_size(), 1);
}

}  // namespace
}  // namespace kiln::llb
