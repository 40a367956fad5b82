#include "dockerfile/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <ctime>
#include <string>

#include "base/strings.h"
#include "dockerfile/lint.h"
#include "dockerfile/testing/fake_host.h"
#include "llb/marshal.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kImage =
    R"({"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:)"
    R"(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}})";

Result<pb::Definition> PlanAndMarshal(FakeHost& host, const Options& options = {}) {
  TRY_ASSIGN(const LoadedDockerfile loaded, LoadDockerfile(options, host));
  TRY_ASSIGN(const Plan plan, MakePlan(options, loaded, host));
  return llb::Marshal(plan.platforms.at(0).root);
}

FakeHost HostWith(std::string dockerfile) {
  FakeHost host;
  host.images["docker.io/library/a:latest"] = kImage;
  host.files["local://dockerfile"]["Dockerfile"] = std::move(dockerfile);
  return host;
}

double Seconds(const std::string& line, int count) {
  std::string text = "FROM a\n";
  for (int i = 0; i < count; ++i) {
    std::string numbered = line;
    if (const auto at = numbered.find('#'); at != std::string::npos) {
      numbered.replace(at, 1, std::to_string(i));
    }
    text += numbered + "\n";
  }
  FakeHost host = HostWith(std::move(text));
  const std::clock_t start = std::clock();  // CPU time: other work on the machine does not count
  const auto definition = PlanAndMarshal(host);
  EXPECT_TRUE(definition.ok()) << definition.error().ToString();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

TEST(PlanTest, TimeIsLinear) {
  for (const std::string line :
       {"RUN echo #", "COPY a# /b", "ENV V#=x", "LABEL l#=x", "ARG A=#", "WORKDIR /w#",
        "FROM a AS s#", "COPY --from=a /x /y#", "ENV V=$V", "EXPOSE #"}) {
    Seconds(line, 100);
    const double small = Seconds(line, 1000);
    const double large = Seconds(line, 10000);
    EXPECT_LT(large, small * 40 + 0.5) << line;  // a square would be a hundred times
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kSizeDivisor = 10;
#elif defined(__has_feature)
constexpr int kSizeDivisor =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ? 10 : 1;
#else
constexpr int kSizeDivisor = 1;
#endif

// The least CPU time of two times all that a build does with the file: checks, graph, result.
double SecondsOf(const std::string& text) {
  double least = 1e9;
  for (int i = 0; i < 2; ++i) {
    FakeHost host = HostWith(text);
    const std::clock_t start = std::clock();
    const Options options;
    const auto loaded = LoadDockerfile(options, host);
    EXPECT_TRUE(loaded.ok());
    std::size_t findings = 0;
    Linter linter(LintConfig(), [&](const Finding&) { ++findings; });
    const auto plan = MakePlan(options, *loaded, host, {&linter, nullptr, false});
    EXPECT_TRUE(plan.ok()) << plan.error().ToString();
    EXPECT_TRUE(llb::Marshal(plan->platforms.at(0).root).ok());
    EXPECT_FALSE(ResultMetadata(*plan).empty());
    least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return least;
}

// Every kind of line, over and over; few variables, since each step has all of them.
std::string LongFile(int lines) {
  constexpr std::array<std::string_view, 16> kLines = {"RUN echo # && true",
                                                       "COPY a# b# /dir#/",
                                                       "ENV V=# W=$V",
                                                       "LABEL l#=\"$V\"",
                                                       "# a comment about #",
                                                       "ARG A=#",
                                                       "WORKDIR /w#",
                                                       "RUN --mount=type=cache,target=/c# \\",
                                                       "  echo more of it",
                                                       "COPY --from=a /x# /y",
                                                       "RUN <<EOF",
                                                       "echo line #",
                                                       "EOF",
                                                       "EXPOSE #",
                                                       "",
                                                       "CMD [\"echo\", \"#\"]"};
  std::string text = "FROM a\n";
  for (int i = 0; i < lines; ++i) {
    const std::string_view line = kLines[static_cast<std::size_t>(i) % kLines.size()];
    text += ReplaceAll(line, "#", line.starts_with('#') ? "#" : std::to_string(i % 60000)) + "\n";
  }
  return text;
}

// Stages that read from the one before and begin with it, or with an image.
std::string ManyStages(int stages) {
  std::string text = "FROM a AS s0\n";
  for (int i = 1; i < stages; ++i) {
    const std::string before = "s" + std::to_string(i - 1);
    text += "FROM " + (i % 2 == 0 ? before : "a") + " AS s" + std::to_string(i) +
            "\nCOPY --from=" + before + " /x /y\nRUN --mount=from=" + before + ",target=/m make\n";
  }
  return text;
}

TEST(PlanTest, HundredThousandLinesTakeFourTimesWhatAQuarterDoes) {
  const int lines = 100000 / kSizeDivisor;
  EXPECT_LT(SecondsOf(LongFile(lines)), SecondsOf(LongFile(lines / 4)) * 8 + 0.1);
}

TEST(PlanTest, TenThousandStagesTakeFourTimesWhatAQuarterDoes) {
  const int stages = 10000 / kSizeDivisor;
  EXPECT_LT(SecondsOf(ManyStages(stages)), SecondsOf(ManyStages(stages / 4)) * 8 + 0.1);
}

TEST(PlanTest, StagesOnStagesKeepOneConfiguration) {
  std::string text = "FROM a AS s0\n";
  for (int i = 1; i < 3000; ++i) {
    text += "FROM s" + std::to_string(i - 1) + " AS s" + std::to_string(i) +
            "\nENV X=" + std::to_string(i) + "\n";
  }
  FakeHost host = HostWith(std::move(text));
  EXPECT_TRUE(PlanAndMarshal(host).ok());
}

TEST(PlanTest, VariablesThatGrowWithoutEndAreRefused) {
  std::string text = "FROM a\nENV A=aaaaaaaaaaaaaaaa\n";
  for (int i = 0; i < 100; ++i) text += "ENV A=$A$A$A$A\n";
  FakeHost host = HostWith(std::move(text));
  const auto definition = PlanAndMarshal(host);
  ASSERT_FALSE(definition.ok());
  EXPECT_NE(definition.error().ToString().find("too long"), std::string::npos);
}

TEST(PlanTest, ImagesAreLookedUpOnceAndTogether) {
  FakeHost host = HostWith("FROM a AS x\nFROM a\nCOPY --from=a / /\nCOPY --from=x / /\n");
  ASSERT_TRUE(PlanAndMarshal(host).ok());
  EXPECT_EQ(host.asked.size(), 1U);
}

TEST(PlanTest, SessionOfALocalSourceCanBeAnother) {
  FakeHost host = HostWith("FROM a\nCOPY x /\n");
  Options options;
  options.local_sessions["context"] = "other";
  const auto definition = PlanAndMarshal(host, options);
  ASSERT_TRUE(definition.ok());
  bool found = false;
  for (const auto& bytes : definition->def()) {
    pb::Op op;
    ASSERT_TRUE(op.ParseFromString(bytes));
    if (op.source().identifier() == "local://context") {
      found = op.source().attrs().at("local.session") == "other";
    }
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace kiln::dockerfile
