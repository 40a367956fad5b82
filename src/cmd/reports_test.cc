#include <gtest/gtest.h>

#include "base/strings.h"
#include "cmd/call_report.h"
#include "cmd/error_report.h"
#include "llb/source_map.h"

namespace kiln::cmd {
namespace {

std::string Described(const std::string& detail) {
  Error error(Code::kUnknown, "it failed");
  error.AddDetail({std::string(llb::kSourceDetailType), detail});
  return DescribeError(error);
}

std::string Detail(const std::string& ranges, const std::string& data = "one\r\ntwo\nthree\n") {
  return R"({"info":{"filename":"Dockerfile","data":")" + Base64Encode(data) + R"("},"ranges":)" +
         ranges + "}";
}

TEST(ErrorReportTest, MarksTheLinesMeant) {
  EXPECT_EQ(Described(Detail(R"([{"start":{"line":2},"end":{"line":2}}])")),
            "Dockerfile:2\n"
            "--------------------\n"
            "   1 |     one\n"
            "   2 | >>> two\n"
            "   3 |     three\n"
            "   4 |     \n"
            "--------------------\n"
            "ERROR: it failed\n");
  const std::string two = Described(Detail(R"([{"start":{"line":3}},{"start":{"line":1}}])"));
  EXPECT_NE(two.find("Dockerfile:1\n"), std::string::npos) << two;
  EXPECT_NE(two.find("   1 | >>> one\n   2 |     two\n   3 | >>> three\n"), std::string::npos)
      << two;
}

TEST(ErrorReportTest, DetailsThatMakeNoSenseAreLeftOut) {
  const std::string cases[] = {
      "",
      "[]",
      "{\"info\":1,\"ranges\":2}",
      R"({"info":{"filename":3,"data":4},"ranges":[{"start":{"line":1}}]})",
      Detail("{}"),
      Detail("[1,null,[]]"),
      Detail(R"([{"start":7}])"),
      Detail(R"([{"start":{"line":"1"}}])"),
      Detail(R"([{"start":{"line":-1}}])"),
      Detail(R"([{"start":{"line":1.5}}])"),
      Detail(R"([{"start":{"line":99}}])"),
      Detail(R"([{"start":{"line":99999999999999999999}}])"),
  };
  for (const std::string& detail : cases) {
    const std::string text = Described(detail);
    EXPECT_EQ(text.substr(text.find("ERROR")), "ERROR: it failed\n") << detail;
    EXPECT_EQ(text.find(">>>"), text.find(">>> \n")) << text;
  }
}

TEST(ErrorReportTest, HugeRangesCostNothing) {
  std::string ranges = "[";
  for (int i = 0; i < 1000; ++i) ranges += R"({"start":{"line":1},"end":{"line":2147483647}},)";
  const std::string text = Described(Detail(ranges + R"({"start":{"line":1}}])"));
  EXPECT_NE(text.find("   3 | >>> three\n"), std::string::npos) << text;
}

CallReport Lint(const std::string& json) {
  CallMethod method;
  method.name = "lint";
  return ReportCall(method, {{"result.json", json}}, "Dockerfile");
}

TEST(CallReportTest, WarningsAreSortedByLine) {
  const CallReport report = Lint(
      R"({"sources":[{"data":")" + Base64Encode("a\nb\n") +
      R"("}],"warnings":[)"
      R"({"ruleName":"Second","detail":"d","location":{"ranges":[{"start":{"line":2}}]}},)"
      R"({"ruleName":"First","url":"u","detail":"d","location":{"ranges":[{"start":{"line":1}}]}}]})");
  EXPECT_LT(report.out.find("WARNING: First - u"), report.out.find("WARNING: Second\n"))
      << report.out;
  EXPECT_NE(report.out.find("   2 | >>> b"), std::string::npos) << report.out;
}

TEST(CallReportTest, AnAnswerThatMakesNoSenseShowsNothing) {
  for (const char* json :
       {"", "3", "[]", R"({"warnings":{"a":1},"sources":7,"buildError":"x"})",
        R"({"warnings":[1,{"ruleName":2,"location":{"ranges":{"a":1}}}],"sources":[[]]})",
        R"({"warnings":[{"location":{"ranges":[{"start":{"line":"x"}},{"start":[]}]}}]})"}) {
    EXPECT_EQ(Lint(json).status, 0) << json;
  }
  const CallReport failed = Lint(R"({"buildError":{"message":4,"location":{"ranges":[[]]}}})");
  EXPECT_EQ(failed.status, 1);
  EXPECT_EQ(failed.error, "\n");
}

}  // namespace
}  // namespace kiln::cmd
