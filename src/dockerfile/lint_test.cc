// Golden files: lint_cases/*.txt hold Dockerfiles and what the build checks find in each.
// KILN_ACCEPT=1 writes what is found. tests/test_checks.py sends the same files to a daemon.
#include "dockerfile/lint.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/strings.h"
#include "dockerfile/lint_report.h"
#include "dockerfile/plan.h"
#include "dockerfile/testing/case_names.h"
#include "dockerfile/testing/fake_host.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kCases = "src/dockerfile/lint_cases";
constexpr std::string_view kBase =
    R"({"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/bin:/bin"]},"rootfs":)"
    R"({"type":"layers","diff_ids":["sha256:)"
    R"(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}})";

// "-- name --" and the lines below it. What comes before a "want" belongs to it.
struct Section {
  std::string name;
  std::string body;
};

std::vector<Section> ReadSections(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  std::vector<Section> sections;
  std::string all = text.str();
  if (all.ends_with('\n')) all.pop_back();
  for (const std::string_view line : Split(all, '\n')) {
    if (line.starts_with("-- ") && line.ends_with(" --") && line.size() > 6) {
      sections.push_back({std::string(line.substr(3, line.size() - 6)), ""});
    } else if (!sections.empty()) {
      sections.back().body += std::string(line) + "\n";
    }
  }
  return sections;
}

struct Request {
  FakeHost host;
  std::map<std::string, std::string> attrs;

  Request() { host.images["docker.io/library/base:latest"] = kBase; }
  void Add(const Section& section) {
    if (section.name == "Dockerfile") {
      host.files["local://dockerfile"]["Dockerfile"] = section.body;
    } else if (section.name == ".dockerignore") {
      host.files["local://context"][".dockerignore"] = section.body;
    } else if (section.name.starts_with("image ")) {
      host.images[section.name.substr(6)] = Trim(section.body);
    } else if (section.name == "opts") {
      for (const auto line : Split(section.body, '\n')) {
        if (const auto cut = Cut(line, "=")) attrs[std::string(cut->first)] = cut->second;
      }
    }
  }
};

std::string FindingsOf(Request& request) {
  std::string out;
  const auto run = [&]() -> Status {
    TRY_ASSIGN(const Options options, ParseOptions(request.attrs));
    TRY_ASSIGN(const LoadedDockerfile loaded, LoadDockerfile(options, request.host));
    TRY_ASSIGN(LintConfig config, LintConfigOf(options, loaded.source.data));
    Linter linter(std::move(config), [&](const Finding& finding) {
      const auto [first, last] = finding.lines;
      out += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
      out += fmt::format(" {}: {}\n", finding.rule->name, finding.message);
    });
    TRY(MakePlan(options, loaded, request.host, {&linter, nullptr, options.target.empty()}));
    return OkStatus();
  };
  const Status status = run();
  if (status.ok()) return out;
  const std::vector<LineRange> lines = LinesOf(status.error());
  return out + fmt::format("{} error: {}\n", lines.empty() ? 0 : lines.front().first,
                           status.error().ToString());
}

class LintCasesTest : public testing::TestWithParam<std::string> {};

TEST_P(LintCasesTest, FindsWhatTheFileSays) {
  const std::string path = fmt::format("{}/{}.txt", kCases, GetParam());
  std::string seen;
  Request request;
  for (const Section& section : ReadSections(path)) {
    seen += fmt::format("-- {} --\n", section.name);
    if (section.name != "want") {
      seen += section.body;
      request.Add(section);
      continue;
    }
    const std::string got = FindingsOf(request);
    if (std::getenv("KILN_ACCEPT") == nullptr) {
      EXPECT_EQ(got, section.body) << request.host.files["local://dockerfile"]["Dockerfile"];
    }
    seen += got;
    request = Request();
  }
  if (std::getenv("KILN_ACCEPT") != nullptr) std::ofstream(path, std::ios::binary) << seen;
}

INSTANTIATE_TEST_SUITE_P(Golden, LintCasesTest, testing::ValuesIn(CaseNames(kCases)),
                         [](const auto& info) { return info.param; });

// Every rule is shown at three places at least.
TEST(LintCasesTest, CoverEveryRule) {
  std::map<std::string, int> counts;
  for (const std::string& name : CaseNames(kCases)) {
    for (const Section& section : ReadSections(fmt::format("{}/{}.txt", kCases, name))) {
      if (section.name != "want") continue;
      for (const std::string_view line : Split(section.body, '\n')) {
        const auto blank = line.find(' ');
        if (blank == std::string_view::npos) continue;
        ++counts[std::string(line.substr(blank + 1, line.find(':') - blank - 1))];
      }
    }
  }
  for (const RuleInfo& rule : Rules()) {
    EXPECT_GE(counts[std::string(rule.name)], 3) << rule.name;
  }
}

TEST(LocationTest, HasAtMostSoManyLines) {
  const std::vector<LineRange> places(3 * kMaxFindingLines, LineRange{7, 7});
  EXPECT_EQ(LocationJson(places)["ranges"].size(), std::size_t{kMaxFindingLines});
  EXPECT_EQ(LocationJson({{1, 3 * kMaxFindingLines}})["ranges"].size(),
            std::size_t{kMaxFindingLines});
  EXPECT_EQ(LocationJson({{2, 2}, {5, 6}})["ranges"].size(), 3U);
}

TEST(LintRulesTest, PagesAreNamedForRules) {
  EXPECT_EQ(PageOf(InfoOf(Rule::kJsonArgsRecommended)),
            "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/");
  EXPECT_EQ(PageOf(InfoOf(Rule::kSecretsUsedInArgOrEnv)),
            "https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/");
  EXPECT_EQ(PageOf(InfoOf(Rule::kInvalidBaseImagePlatform)), "");
  for (const RuleInfo& rule : Rules()) EXPECT_EQ(&InfoOf(rule.rule), &rule);
}

TEST(LintConfigTest, ReadsOptions) {
  const auto config = ParseLintConfig("skip=A, B;error=true;experimental=all");
  ASSERT_TRUE(config.ok());
  EXPECT_TRUE(config->skip.contains("A"));
  EXPECT_TRUE(config->skip.contains("B"));
  EXPECT_TRUE(config->error);
  EXPECT_TRUE(config->experimental_all);
  EXPECT_EQ(ParseLintConfig("x").error().ToString(), "invalid check option \"x\"");
  EXPECT_EQ(ParseLintConfig("x=1").error().ToString(), "invalid check option \"x\"");
  EXPECT_EQ(ParseLintConfig("error=1;").error().ToString(), "invalid check option \"\"");
}

}  // namespace
}  // namespace kiln::dockerfile
