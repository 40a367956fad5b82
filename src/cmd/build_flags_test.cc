#include "cmd/build_flags.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include <CLI/CLI.hpp>

#include "base/fd.h"
#include "base/ids.h"
#include "cmd/build_options.h"

namespace kiln::cmd {
namespace {

class BuildFlagsTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::canonical(testing::TempDir()).string() + "/flags-" + NewId();
    ASSERT_EQ(::mkdir(dir_.c_str(), 0755), 0);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  Result<PreparedBuild> Parse(std::vector<std::string> args) {
    CLI::App app;
    BuildFlags flags;
    AddBuildOptions(app, flags);
    std::reverse(args.begin(), args.end());
    try {
      app.parse(args);
    } catch (const CLI::ParseError& error) {
      return InvalidArgument("{}", error.what());
    }
    return Prepare(flags);
  }

  std::string dir_;
};

TEST_F(BuildFlagsTest, MeansWhatBuildxMeans) {
  auto build = Parse({dir_,         "-t",
                      "me/app:1",   "-t",
                      "me/app:2",   "--target",
                      "prod",       "--build-arg",
                      "A=b,c=d",    "--label",
                      "x=y",        "--no-cache",
                      "--platform", "linux/amd64,linux/arm64",
                      "--add-host", "h:1.2.3.4",
                      "--network",  "none",
                      "--shm-size", "64m",
                      "-o",         dir_ + "/out",
                      "-o",         "type=oci,dest=/tmp/x.tar"});
  ASSERT_TRUE(build.ok()) << build.error().ToString();
  const auto& request = build->request;
  std::map<std::string, std::string> want = {
      {"filename", "Dockerfile"}, {"target", "prod"},
      {"build-arg:A", "b,c=d"},   {"label:x", "y"},
      {"no-cache", ""},           {"platform", "linux/amd64,linux/arm64"},
      {"add-hosts", "h=1.2.3.4"}, {"force-network-mode", "none"},
      {"shm-size", "67108864"}};
  EXPECT_EQ(request.frontend_attrs, want);
  EXPECT_EQ(request.local_dirs.at("context"), dir_);
  EXPECT_EQ(request.local_dirs.at("dockerfile"), dir_);
  ASSERT_EQ(request.outputs.size(), 2U);
  EXPECT_EQ(request.outputs[0].type, "local");
  EXPECT_EQ(request.outputs[1].attrs.at("name"), "me/app:1,me/app:2");
  EXPECT_EQ(request.outputs[1].dest, "/tmp/x.tar");
}

TEST_F(BuildFlagsTest, PushAndHostNetwork) {
  auto build = Parse({dir_, "-t", "localhost:1/a", "--push", "--network", "host"});
  ASSERT_TRUE(build.ok());
  EXPECT_EQ(build->request.outputs.at(0).attrs.at("push"), "true");
  EXPECT_EQ(build->request.entitlements, std::vector<std::string>{"network.host"});
}

TEST_F(BuildFlagsTest, PushAndLoadAddOutputsUnlessOneIsMeant) {
  auto build = Parse({dir_, "-t", "a", "--push", "--load", "-o", dir_ + "/out"});
  ASSERT_TRUE(build.ok()) << build.error().ToString();
  const auto& outputs = build->request.outputs;
  ASSERT_EQ(outputs.size(), 3U);
  EXPECT_EQ(outputs[1].attrs.at("push"), "true");
  EXPECT_EQ(outputs[2].type, "docker");
  EXPECT_EQ(outputs[2].sink, build->docker);
  EXPECT_NE(build->docker, nullptr);
  auto meant =
      Parse({dir_, "-t", "a", "--load", "-o", "type=docker", "-o", "type=docker,dest=x.tar"});
  ASSERT_TRUE(meant.ok()) << meant.error().ToString();
  EXPECT_EQ(meant->request.outputs.size(), 2U);
}

TEST_F(BuildFlagsTest, AnnotationsNameTheirObjects) {
  auto build = Parse({dir_, "-t", "a", "--annotation", "k=v", "--annotation",
                      "index,manifest[linux/amd64]:x=y:z"});
  ASSERT_TRUE(build.ok()) << build.error().ToString();
  const auto& attrs = build->request.outputs.at(0).attrs;
  EXPECT_EQ(attrs.at("annotation.k"), "v");
  EXPECT_EQ(attrs.at("annotation-index.x"), "y:z");
  EXPECT_EQ(attrs.at("annotation-manifest[linux/amd64].x"), "y:z");
}

TEST_F(BuildFlagsTest, LayoutsAreFolders) {
  auto build = Parse({dir_, "-o", "type=oci,tar=false,dest=" + dir_ + "/layout"});
  ASSERT_TRUE(build.ok()) << build.error().ToString();
  const auto& output = build->request.outputs.at(0);
  EXPECT_TRUE(output.layout);
  EXPECT_FALSE(output.IsStream());
  EXPECT_EQ(output.attrs.at("tar"), "false");
}

TEST_F(BuildFlagsTest, RefusesByName) {
  const std::pair<std::vector<std::string>, std::string> kCases[] = {
      {{}, "context"},
      {{"-", "-f", "-"}, "standard input"},
      {{dir_ + "/missing"}, "missing"},
      {{dir_, "--sbom", "true"}, "--sbom"},
      {{dir_, "--call", "outline,form=json"}, "--call"},
      {{dir_, "--build-context", "x"}, "--build-context"},
      {{dir_, "--network", "bridge"}, "--network"},
      {{dir_, "-o", "type=oci,dest"}, "--output"},
      {{dir_, "-o", "type=nope,dest=x"}, "nope"},
      {{dir_, "-o", "dest=x"}, "type is required"},
      {{dir_, "-t", "UPPER"}, "UPPER"},
      {{dir_, "--shm-size", "lots"}, "--shm-size"},
      {{dir_, "--secret", "src=x"}, "id"},
      {{dir_, "-o", "type=oci,tar=false"}, "tar=false"},
      {{dir_, "-o", "type=oci,tar=false,dest=a", "-o", "type=oci,tar=false,dest=b"}, "tar=false"},
      {{dir_, "-o", "type=docker", "-o", "type=docker"}, "only one output"},
      {{dir_, "-t", "a", "--annotation", "config[linux]:a=b"}, "config"},
      {{dir_, "--no-such-flag"}, "no-such-flag"},
  };
  for (const auto& [args, word] : kCases) {
    auto build = Parse(args);
    ASSERT_FALSE(build.ok()) << word;
    EXPECT_NE(build.error().ToString().find(word), std::string::npos) << build.error().ToString();
  }
}

TEST_F(BuildFlagsTest, NamesLayoutsByDigest) {
  std::string layout = dir_ + "/base";
  ASSERT_EQ(::mkdir(layout.c_str(), 0755), 0);
  std::string digest = Sha256Of("manifest").ToString();
  ASSERT_TRUE(
      WriteFileAtomically(
          layout + "/index.json",
          R"({"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",)"
          R"("digest":")" +
              digest + R"(","size":8,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]})")
          .ok());
  for (const std::string& suffix : std::vector<std::string>{":v1", "", "@" + digest}) {
    auto build = Parse({dir_, "--build-context", "base=oci-layout://" + layout + suffix});
    ASSERT_TRUE(build.ok()) << build.error().ToString();
    const auto& [store, folder] = *build->request.oci_layouts.begin();
    EXPECT_EQ(folder, layout);
    EXPECT_EQ(build->request.frontend_attrs.at("context:base"),
              "oci-layout://" + store + (suffix == ":v1" ? ":v1" : "") + "@" + digest);
  }
  EXPECT_FALSE(Parse({dir_, "--build-context", "base=oci-layout://" + layout + ":v2"}).ok());
}

TEST(CsvTest, KnowsQuotes) {
  EXPECT_EQ(*ParseCsv(R"(a=1,"b=x,y",c="")"), (std::vector<std::string>{"a=1", "b=x,y", "c=\"\""}));
  EXPECT_EQ(*ParseCsv(R"("a ""q""")"), std::vector<std::string>{R"(a "q")"});
  EXPECT_FALSE(ParseCsv("\"open").ok());
}

}  // namespace
}  // namespace kiln::cmd
