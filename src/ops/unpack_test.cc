#include "ops/unpack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "archive/compression.h"
#include "ops/testing/graph_runner.h"

namespace kiln::ops {
namespace {

using llb::CopyAction;
using llb::File;
using llb::MkdirAction;
using llb::MkfileAction;
using llb::Output;
using testing::HasSubstr;

constexpr size_t kBlock = 512;

// Tars that no writer of ours would write.
class RawTar {
 public:
  RawTar& Directory(const std::string& name) { return Header(name, '5', 0, "", "0000755"); }
  RawTar& Symlink(const std::string& name, const std::string& to) {
    return Header(name, '2', 0, to);
  }
  RawTar& HardLink(const std::string& name, const std::string& to) {
    return Header(name, '1', 0, to);
  }
  RawTar& File(const std::string& name, const std::string& data) {
    Header(name, '0', data.size(), "");
    return Data(data);
  }
  // For the entry behind it.
  RawTar& PaxTime(const std::string& time) {
    std::string record = " mtime=" + time + "\n";
    record = std::to_string(record.size() + 2) + record;
    Header("pax", 'x', record.size(), "");
    return Data(record);
  }
  std::string End() const { return text_ + std::string(2 * kBlock, '\0'); }

 private:
  RawTar& Header(const std::string& name, char type, size_t size, const std::string& link,
                 const char* mode = "0000644") {
    std::string block(kBlock, '\0');
    block.replace(0, name.size(), name);
    block.replace(100, 7, mode);
    block.replace(108, 7, "0000000");
    block.replace(116, 7, "0000000");
    block.replace(124, 11, fmt::format("{:011o}", size));
    block.replace(136, 11, "00000000007");
    block.replace(148, 8, 8, ' ');
    block[156] = type;
    block.replace(157, link.size(), link);
    block.replace(257, 8,
                  std::string("ustar\0"
                              "00",
                              8));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    block.replace(148, 7, fmt::format("{:06o}", sum) + std::string(1, '\0'));
    text_ += block;
    return *this;
  }
  RawTar& Data(const std::string& data) {
    text_ += data + std::string((kBlock - data.size() % kBlock) % kBlock, '\0');
    return *this;
  }

  std::string text_;
};

std::string Packed(const std::string& text, archive::Compression type) {
  archive::StringSink out;
  WorkerPool pool("pack", 2);
  archive::LayerPipeline pipeline({.type = type}, out, pool, 1);
  EXPECT_TRUE(pipeline.Write(text).ok());
  EXPECT_TRUE(pipeline.Finish().ok());
  return out.text();
}

class UnpackTest : public testing::Test {
 protected:
  Result<store::SnapshotRef> Add(const std::string& data, const Output& base = {}) {
    CopyAction copy{.from = File({}, {MkfileAction{.path = "/a", .data = data}}),
                    .src = "/a",
                    .dest = "/to/",
                    .attempt_unpack = true,
                    .create_dest_path = true};
    return runner_.Run(File(base, {std::move(copy)}));
  }
  std::vector<std::string> Added(const std::string& data) {
    const auto ref = Add(data);
    EXPECT_TRUE(ref.ok()) << ref.error().ToString();
    return ref.ok() ? runner_.List(*ref) : std::vector<std::string>();
  }

  GraphRunner runner_;
};

TEST_F(UnpackTest, LinksMeanTheDestination) {
  for (const char* target : {"/usr/lib", "../../../usr/lib", "../to/../usr/lib"}) {
    const auto paths =
        Added(RawTar().Directory("usr/lib").Symlink("lib", target).File("lib/x.so", "x").End());
    EXPECT_THAT(paths, testing::ElementsAre("/to/", "/to/lib", "/to/usr/", "/to/usr/lib/",
                                            "/to/usr/lib/x.so"))
        << target;
  }
}

// Also those that are there already.
TEST_F(UnpackTest, LinksOfTheImageMeanTheDestination) {
  const Output base = File({}, {MkdirAction{.path = "/to"}, MkdirAction{.path = "/etc"},
                                llb::SymlinkAction{.old_path = "/etc", .new_path = "/to/l"}});
  const auto ref = Add(RawTar().File("l/f", "x").HardLink("h", "l/f").End(), base);
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  EXPECT_EQ(runner_.Read(*ref, "/to/etc/f"), "x");
  EXPECT_EQ(runner_.Read(*ref, "/to/h"), "x");
  EXPECT_EQ(runner_.Read(*ref, "/etc/f"), "<missing>");
}

TEST_F(UnpackTest, DotsStayInTheDestination) {
  using testing::ElementsAre;
  EXPECT_THAT(Added(RawTar().File("../up", "x").File("f", "x").End()),
              ElementsAre("/to/", "/to/f", "/to/up"));
  EXPECT_THAT(Added(RawTar().File("f", "x").File("../../up", "x").End()),
              ElementsAre("/to/", "/to/f", "/to/up"));
  EXPECT_THAT(Added(RawTar().File("f", "x").HardLink("h", "../f").End()),
              ElementsAre("/to/", "/to/f", "/to/h"));
  EXPECT_THAT(Added(RawTar().File("a/../../b", "x").End()), ElementsAre("/to/", "/to/b"));
}

TEST_F(UnpackTest, ADirectoryThatGaveWayGetsNoAttributes) {
  const Output base = File({}, {MkdirAction{.path = "/to", .mode = 0700}});
  const auto ref =
      Add(RawTar().Directory("d").Directory("d/e").Symlink("d", "/").Directory("e").End(), base);
  ASSERT_TRUE(ref.ok()) << ref.error().ToString();
  EXPECT_EQ(runner_.Describe(*ref, "/to"), "0700 0:0");
  EXPECT_THAT(runner_.Describe(*ref, "/to/d"), HasSubstr("-> /"));
}

TEST_F(UnpackTest, DamageFailsTheBuild) {
  const std::string tar = RawTar().File("f", "some content").End();
  const std::string big = RawTar().File("f", std::string(5'000'000, 'b')).File("g", "x").End();
  const auto damaged = [](std::string text, size_t at) {
    text[at] = static_cast<char>(text[at] ^ 0x55);
    return text;
  };
  const std::string gzip = Packed(tar, archive::Compression::kGzip);
  const std::string zstd = Packed(tar, archive::Compression::kZstd);
  const std::string big_gzip = Packed(big, archive::Compression::kGzip);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"gzip: its checksum", damaged(gzip, gzip.size() - 6)},
      {"gzip: its size", damaged(gzip, gzip.size() - 2)},
      {"gzip: cut in the trailer", gzip.substr(0, gzip.size() - 3)},
      {"gzip: cut early", gzip.substr(0, 14)},
      {"gzip: bytes", damaged(gzip, 12)},
      {"gzip: checksum of a big one", damaged(big_gzip, big_gzip.size() - 6)},
      {"zstd: its checksum", damaged(zstd, zstd.size() - 1)},
      {"zstd: cut", zstd.substr(0, zstd.size() - 5)},
      {"zstd: cut early", zstd.substr(0, 12)},
      {"tar: the first header", damaged(tar, 3)},
      {"tar: a later header", damaged(RawTar().File("f", "x").File("g", "y").End(), 1030)},
      {"tar: cut in the content", tar.substr(0, 520)},
      {"gzip: tar with a damaged header", Packed(damaged(tar, 3), archive::Compression::kGzip)},
  };
  for (const auto& [what, data] : cases) {
    const auto ref = Add(data);
    ASSERT_FALSE(ref.ok()) << what;
    EXPECT_THAT(ref.error().ToString(), HasSubstr("unpacking")) << what;
  }
}

// As gzip itself has it: a signature, for instance.
TEST_F(UnpackTest, WhatFollowsAGzipStreamDoesNotMatter) {
  const std::string gzip =
      Packed(RawTar().File("f", "x").End(), archive::Compression::kGzip) + "signature";
  EXPECT_THAT(Added(gzip), testing::ElementsAre("/to/", "/to/f"));
}

TEST_F(UnpackTest, WhatIsNoArchiveStaysAFile) {
  const std::vector<std::string> files = {
      "",
      "text",
      std::string(2000, 'x'),
      Packed("text", archive::Compression::kGzip),
      Packed(std::string(2000, 'x'), archive::Compression::kZstd),
      Packed("", archive::Compression::kGzip),
      "BZh and more words",
      std::string("\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0 as lzma begins", 30),
  };
  for (const std::string& data : files)
    EXPECT_THAT(Added(data), testing::ElementsAre("/to/", "/to/a")) << data.substr(0, 20);
}

TEST_F(UnpackTest, TimesThatNothingHoldsAreThoseOf1970) {
  const auto time_of = [&](const std::string& pax) {
    const auto ref = Add(RawTar().File("before", " mtime=-0.5").PaxTime(pax).File("f", "x").End());
    EXPECT_TRUE(ref.ok()) << ref.error().ToString();
    return ref.ok() ? runner_.MtimeNs(*ref, "/to/f").value_or(-1) : -1;
  };
  EXPECT_EQ(time_of("1.25"), 1'250'000'000);
  EXPECT_EQ(time_of("0.5"), 500'000'000);
  EXPECT_EQ(time_of("-0.5"), 0);
  EXPECT_EQ(time_of("-1.25"), 0);
  EXPECT_EQ(time_of("-1"), 0);
  EXPECT_EQ(time_of("9223372036.854775807"), INT64_MAX);
  EXPECT_EQ(time_of("9223372036.854775808"), 0);
  EXPECT_EQ(time_of("9223372037"), 0);
  EXPECT_EQ(time_of("99999999999999999999"), 0);
}

}  // namespace
}  // namespace kiln::ops
