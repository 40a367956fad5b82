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
      {{dir_, "-o", "type=nope,dest=x"}, "unknown output type \"nope\": want image"},
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

TEST_F(BuildFlagsTest, ListsOfKeysAreReadAsBuildxReadsThem) {
  const std::string out = dir_ + "/out";
  for (const std::string& text :
       {"type=local, dest=" + out, "TYPE=local,DEST=" + out, "\"dest=" + out + "\",type=local"}) {
    const auto output = ParseOutput(text);
    ASSERT_TRUE(output.ok()) << output.error().ToString();
    EXPECT_EQ(output->type, "local");
    EXPECT_EQ(output->dest, out) << text;
    EXPECT_TRUE(output->attrs.empty()) << text;
  }
  EXPECT_EQ(ParseOutput("type=image,name=a,\"Annotation.b=c,d\"")->attrs.at("annotation.b"), "c,d");
  EXPECT_EQ(ParseOutput("out=1")->dest, "out=1");  // a folder's name
  const auto build = Parse({dir_, "--secret", "ID=a, SRC=" + dir_ + "/s", "--cache-from", "x,y:1",
                            "--cache-to", "Type=local, Dest=z"});
  ASSERT_FALSE(build.ok());  // for want of the file, which was found in the list
  EXPECT_NE(build.error().ToString().find(dir_ + "/s"), std::string::npos);
  const auto caches = Parse({dir_, "--cache-from", "x,y:1", "--cache-to", "Type=local, Dest=z"});
  ASSERT_TRUE(caches.ok()) << caches.error().ToString();
  ASSERT_EQ(caches->request.cache_imports.size(), 2U);
  EXPECT_EQ(caches->request.cache_imports[1].attrs.at("ref"), "y:1");
  EXPECT_EQ(caches->request.cache_exports.at(0).type, "local");
  EXPECT_EQ(caches->request.cache_exports.at(0).attrs.at("dest"), "z");
}

TEST_F(BuildFlagsTest, LimitsAreWhatBuildxSends) {
  const auto build =
      Parse({dir_, "-m", "1g", "--memory-swap", "-1", "-c", "512", "--cpu-period", "100000",
             "--cpu-quota", "50000", "--cpuset-cpus", "0-1", "--cpuset-mems", "0", "--resource",
             " memory = 1.5g ", "--resource", "cpu-quota=0"});
  ASSERT_TRUE(build.ok()) << build.error().ToString();
  const std::map<std::string, std::string> want = {
      {"filename", "Dockerfile"}, {"memory", "1610612736"}, {"memswap", "-1"},
      {"cpushares", "512"},       {"cpuperiod", "100000"},  {"cpusetcpus", "0-1"},
      {"cpusetmems", "0"}};
  EXPECT_EQ(build->request.frontend_attrs, want);
  for (const char* bad : {"memory", "memory=lots", "cpu-shares=1g", "gpu=1", "memory=-1"}) {
    const auto refused = Parse({dir_, "--resource", bad});
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_NE(refused.error().ToString().find("resource"), std::string::npos);
  }
}

TEST_F(BuildFlagsTest, SaysWhetherThereIsAnOutput) {
  EXPECT_TRUE(Parse({dir_, "-t", "a"})->without_output);
  EXPECT_TRUE(Parse({dir_})->without_output);
  EXPECT_FALSE(Parse({dir_, "-t", "a", "--push"})->without_output);
  const auto cache_only = Parse({dir_, "-t", "a", "-o", "type=cacheonly"});
  ASSERT_TRUE(cache_only.ok()) << cache_only.error().ToString();
  EXPECT_TRUE(cache_only->request.outputs.empty());
  EXPECT_FALSE(cache_only->without_output);
}

TEST_F(BuildFlagsTest, AttestationsMayOnlyBeDisabled) {
  EXPECT_TRUE(
      Parse({dir_, "--provenance", "false", "--sbom=0", "--attest", "type=sbom,disabled=true"})
          .ok());
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"--provenance", "mode=max"}, {"--sbom", "true"}, {"--attest", "type=provenance"}}) {
    const auto build = Parse({dir_, words[0], words[1]});
    ASSERT_FALSE(build.ok());
    EXPECT_NE(build.error().ToString().find(words[0] + ": attestations"), std::string::npos)
        << build.error().ToString();
  }
}

TEST_F(BuildFlagsTest, SourcePoliciesAreJsonOrProtobuf) {
  const std::string file = dir_ + "/policy";
  const auto parse = [&](const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(file, text).ok());
    return Parse({dir_, "--source-policy-file", file});
  };
  const auto json = parse(
      R"({"version":1,"rules":[{"action":"CONVERT","selector":{"identifier":"a","match_type":"EXACT"},)"
      R"("updates":{"identifier":"b"}}]})");
  ASSERT_TRUE(json.ok()) << json.error().ToString();
  ASSERT_FALSE(json->request.source_policy.empty());
  EXPECT_EQ(parse(json->request.source_policy)->request.source_policy, json->request.source_policy);
  for (const char* bad : {"{", R"({"rules":[{"acton":"DENY"}]})", "no policy"}) {
    const auto refused = parse(bad);
    ASSERT_FALSE(refused.ok()) << bad;
    EXPECT_NE(refused.error().ToString().find(file), std::string::npos);
  }
  EXPECT_FALSE(Parse({dir_, "--source-policy-file", dir_ + "/none"}).ok());
}

}  // namespace
}  // namespace kiln::cmd
