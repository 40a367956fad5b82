#include "dockerfile/plan.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

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
