#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "frontend/bridge_calls.h"
#include "frontend/testing/test_build.h"
#include "llb/caps.h"
#include "llb/marshal.h"
#include "llb/source_map.h"

namespace kiln::frontend {
namespace {

using testing::Contains;
using testing::HasSubstr;

pb::Definition FileDefinition(const std::string& path, const std::string& data) {
  llb::MkfileAction file;
  file.path = path;
  file.data = data;
  return *llb::Marshal(llb::File({}, {std::move(file)}));
}

class BridgeTest : public testing::Test {
 protected:
  BridgeCall call() { return {*bridge, build.activity()}; }

  // The id of a reference that holds one file.
  std::string SolveFile(const std::string& path, const std::string& data) {
    wire::SolveRequest request;
    *request.mutable_definition() = FileDefinition(path, data);
    request.set_allowresultreturn(true);
    request.set_allowresultarrayref(true);
    wire::SolveResponse response;
    const Status status = Solve(call(), request, &response);
    EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().ToString());
    return response.result().ref().id();
  }

  Status SolveDockerfile(std::map<std::string, std::string> opts, wire::SolveResponse* response,
                         const std::string& frontend = "dockerfile.v0") {
    wire::SolveRequest request;
    request.set_frontend(frontend);
    for (auto& [key, value] : opts) (*request.mutable_frontendopt())[key] = value;
    request.set_allowresultreturn(true);
    request.set_allowresultarrayref(true);
    return Solve(call(), request, response);
  }

  TestBuild build;
  BridgePtr bridge = build.MakeBridge();
};

TEST_F(BridgeTest, Ping) {
  ::moby::buildkit::v1::types::WorkerRecord worker;
  worker.set_id("w");
  (*worker.mutable_labels())["a"] = "b";
  wire::PongResponse response;
  Ping(worker, &response);
  ASSERT_EQ(response.llbcaps_size(), static_cast<int>(llb::LlbCaps().size()));
  ASSERT_EQ(response.frontendapicaps_size(), static_cast<int>(llb::FrontendCaps().size()));
  for (int i = 0; i < response.llbcaps_size(); ++i) {
    EXPECT_TRUE(response.llbcaps(i).enabled());
    if (i > 0) {
      EXPECT_LT(response.llbcaps(i - 1).id(), response.llbcaps(i).id());
    }
  }
  ASSERT_EQ(response.workers_size(), 1);
  EXPECT_EQ(response.workers(0).labels().at("a"), "b");
}

TEST_F(BridgeTest, Solve) {
  wire::SolveRequest request;
  *request.mutable_definition() = FileDefinition("/f", "text");
  wire::SolveResponse old;
  ASSERT_TRUE(Solve(call(), request, &old).ok());
  EXPECT_EQ(old.result().result_case(), wire::Result::kRefDeprecated);
  EXPECT_FALSE(old.ref().empty());

  request.set_allowresultreturn(true);
  request.set_allowresultarrayref(true);
  wire::SolveResponse response;
  ASSERT_TRUE(Solve(call(), request, &response).ok());
  EXPECT_TRUE(response.ref().empty());
  EXPECT_EQ(response.result().ref().def().def_size(), 2);
  EXPECT_NE(response.result().ref().id(), old.ref());

  wire::SolveResponse nothing;
  wire::SolveRequest empty;
  empty.set_allowresultreturn(true);
  empty.set_allowresultarrayref(true);
  ASSERT_TRUE(Solve(call(), empty, &nothing).ok());
  EXPECT_EQ(nothing.result().result_case(), wire::Result::kRef);
  EXPECT_EQ(nothing.result().ref().id(), "");

  request.set_frontend("dockerfile.v0");
  EXPECT_FALSE(Solve(call(), request, &response).ok());
  wire::SolveRequest unknown;
  unknown.set_frontend("nope.v0");
  EXPECT_EQ(Solve(call(), unknown, &response).error().ToString(), "invalid frontend: nope.v0");
}

TEST_F(BridgeTest, Files) {
  const std::string id = SolveFile("/f", "0123456789");
  wire::ReadFileRequest read;
  read.set_ref(id);
  read.set_filepath("/f");
  wire::ReadFileResponse data;
  ASSERT_TRUE(ReadFile(call(), read, &data).ok());
  EXPECT_EQ(data.data(), "0123456789");
  read.mutable_range()->set_offset(2);
  read.mutable_range()->set_length(3);
  ASSERT_TRUE(ReadFile(call(), read, &data).ok());
  EXPECT_EQ(data.data(), "234");
  read.set_filepath("/missing");
  EXPECT_THAT(ReadFile(call(), read, &data).error().ToString(),
              HasSubstr("open /missing: no such file or directory"));

  read.set_filepath("/f");
  read.mutable_range()->set_offset(-1);
  EXPECT_EQ(ReadFile(call(), read, &data).error().ToString(), "invalid range for /f");
  read.mutable_range()->set_offset(0);
  read.mutable_range()->set_length(-1);
  EXPECT_EQ(ReadFile(call(), read, &data).error().ToString(), "invalid range for /f");

  wire::ReadDirRequest dir;
  dir.set_ref(id);
  dir.set_dirpath("/");
  wire::ReadDirResponse entries;
  ASSERT_TRUE(ReadDir(call(), dir, &entries).ok());
  ASSERT_EQ(entries.entries_size(), 1);
  EXPECT_EQ(entries.entries(0).path(), "f");

  wire::StatFileRequest stat;
  stat.set_ref(id);
  stat.set_path("/f");
  wire::StatFileResponse found;
  ASSERT_TRUE(StatFile(call(), stat, &found).ok());
  EXPECT_EQ(found.stat().size(), 10);
  EXPECT_EQ(found.stat().mode() & 0777U, 0644U);

  stat.set_ref("unknown");
  EXPECT_THAT(StatFile(call(), stat, &found).error().ToString(), HasSubstr("no such ref: unknown"));
}

TEST_F(BridgeTest, FilesThatAreTooLargeOrNone) {
  constexpr size_t kMost = 16 << 20;
  const std::string data(kMost + 1, 'x');
  wire::ReadFileRequest read;
  wire::ReadFileResponse response;
  read.set_ref(SolveFile("/large", data));
  read.set_filepath("/large");
  EXPECT_EQ(ReadFile(call(), read, &response).error().ToString(),
            "/large exceeds maximum allowed size of 16777216 bytes");
  read.mutable_range()->set_length(kMost + 2);
  EXPECT_EQ(ReadFile(call(), read, &response).error().ToString(),
            "/large exceeds maximum allowed size of 16777216 bytes");
  // A piece of such a file is no larger than it is.
  read.mutable_range()->set_length(kMost);
  ASSERT_TRUE(ReadFile(call(), read, &response).ok());
  EXPECT_EQ(response.data().size(), kMost);
  read.mutable_range()->set_offset(kMost);
  read.mutable_range()->set_length(kMost + 2);
  ASSERT_TRUE(ReadFile(call(), read, &response).ok());
  EXPECT_EQ(response.data(), "x");

  read.clear_range();
  read.set_filepath("/");
  EXPECT_EQ(ReadFile(call(), read, &response).error().ToString(), "open /: not a regular file");
}

TEST_F(BridgeTest, Evaluate) {
  wire::EvaluateRequest request;
  wire::EvaluateResponse response;
  request.set_ref(SolveFile("/f", "x"));
  EXPECT_TRUE(Evaluate(call(), request, &response).ok());

  // A step that fails: the error says which, and Evaluate in Solve brings it at once.
  llb::CopyAction copy;
  copy.from = *llb::FromDefinition(FileDefinition("/f", "x"));
  copy.src = "/missing";
  copy.dest = "/";
  wire::SolveRequest solve;
  *solve.mutable_definition() = *llb::Marshal(llb::File({}, {std::move(copy)}));
  solve.set_evaluate(true);
  wire::SolveResponse solved;
  const Status failed = Solve(call(), solve, &solved);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().FindDetail(llb::kVertexDetailType), nullptr);
}

TEST_F(BridgeTest, Inputs) {
  Request request;
  request.inputs["base"] = std::make_shared<pb::Definition>(FileDefinition("/f", "x"));
  const BridgePtr with_inputs = build.MakeBridge(std::move(request));
  wire::InputsResponse response;
  ASSERT_TRUE(Inputs(*with_inputs, &response).ok());
  EXPECT_EQ(response.definitions().at("base").def_size(), 2);
}

TEST_F(BridgeTest, Warn) {
  wire::WarnRequest request;
  request.set_digest(Sha256Of("v").ToString());
  request.set_short_("look here");
  request.add_detail("why");
  request.mutable_info()->set_filename("Dockerfile");
  auto* range = request.add_ranges();
  range->mutable_start()->set_line(3);
  range->mutable_end()->set_line(4);
  ASSERT_TRUE(Warn(*bridge, request).ok());
  const auto warnings = build.sink().warnings();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].level, 1);
  EXPECT_EQ(warnings[0].short_text, "look here");
  EXPECT_EQ(warnings[0].ranges[0].end.line, 4);
  request.add_ranges();
  EXPECT_EQ(Warn(*bridge, request).error().ToString(), "invalid source range");
  request.set_digest("x");
  EXPECT_FALSE(Warn(*bridge, request).ok());
}

TEST_F(BridgeTest, Return) {
  wire::ReturnRequest request;
  EXPECT_EQ(Return(*bridge, request).error().ToString(), "result is required");
  (*request.mutable_result()->mutable_refs()->mutable_refs())["linux/amd64"].set_id("unknown");
  EXPECT_THAT(Return(*bridge, request).error().ToString(),
              HasSubstr("return reference unknown not found"));
  const std::string id = SolveFile("/f", "x");
  (*request.mutable_result()->mutable_refs()->mutable_refs())["linux/amd64"].set_id(id);
  (*request.mutable_result()->mutable_refs()->mutable_refs())["linux/arm64"].set_id("");
  (*request.mutable_result()->mutable_metadata())["k"] = "v";
  auto* attestation =
      (*request.mutable_result()->mutable_attestations())["linux/amd64"].add_attestation();
  attestation->set_kind(wire::Bundle);
  attestation->mutable_ref()->set_id(id);
  attestation->set_path("/sbom");
  ASSERT_TRUE(Return(*bridge, request).ok());
  EXPECT_THAT(Return(*bridge, request).error().ToString(),
              HasSubstr("gateway result is already set"));
  const auto result = bridge->Wait({});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->is_map);
  EXPECT_EQ(build.Read(result->refs.at("linux/amd64"), "/f"), "x");
  EXPECT_EQ(result->refs.at("linux/arm64"), nullptr);
  EXPECT_EQ(result->metadata.at("k"), "v");
  EXPECT_EQ(result->attestations.at("linux/amd64").at(0).path, "/sbom");
}

TEST_F(BridgeTest, ReturnedErrorsComeOutUnchanged) {
  wire::ReturnRequest request;
  request.mutable_error()->set_code(2);
  request.mutable_error()->set_message("it broke");
  auto* detail = request.mutable_error()->add_details();
  detail->set_type_url("example.com/unknown");
  detail->set_value("bytes");
  ASSERT_TRUE(Return(*bridge, request).ok());
  const auto result = bridge->Wait({});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().ToString(), "it broke");
  EXPECT_EQ(result.error().code(), Code::kUnknown);
  ASSERT_EQ(result.error().details().size(), 1U);
  EXPECT_EQ(result.error().details()[0].value, "bytes");
}

TEST_F(BridgeTest, ResolveSourceMeta) {
  wire::ResolveSourceMetaRequest request;
  wire::ResolveSourceMetaResponse response;
  EXPECT_EQ(ResolveSourceMeta(call(), request, &response).error().ToString(), "source is required");
  request.mutable_source()->set_identifier("local://context");
  ASSERT_TRUE(ResolveSourceMeta(call(), request, &response).ok());
  EXPECT_EQ(response.source().identifier(), "local://context");
  request.mutable_source()->set_identifier("docker-image://docker.io/library/x:latest");
  request.mutable_image()->set_attestationchain(true);
  EXPECT_EQ(ResolveSourceMeta(call(), request, &response).error().code(), Code::kUnimplemented);
}

TEST(BridgePolicyTest, SourcePoliciesDecideAboutMetadataToo) {
  TestBuild build([](pb::SourceOp& source) -> Result<bool> {
    if (source.identifier().find("denied") != std::string::npos) return Unknown("denied by policy");
    source.set_identifier("git://github.com/a/b.git");
    source.clear_attrs();
    return true;
  });
  const BridgePtr bridge = build.MakeBridge();
  const BridgeCall call{*bridge, build.activity()};
  wire::ResolveSourceMetaRequest request;
  wire::ResolveSourceMetaResponse response;
  request.mutable_source()->set_identifier("docker-image://docker.io/library/denied:latest");
  EXPECT_THAT(ResolveSourceMeta(call, request, &response).error().ToString(),
              HasSubstr("denied by policy"));
  request.mutable_source()->set_identifier("docker-image://docker.io/library/other:latest");
  ASSERT_TRUE(ResolveSourceMeta(call, request, &response).ok());
  EXPECT_FALSE(response.has_image());
  EXPECT_THAT(response.source().identifier(), HasSubstr("git://github.com/a/b.git"));
}

// --- the built-in frontend ---

TEST_F(BridgeTest, DockerfileIsSolvedAndItsFilesRead) {
  build.files["local://dockerfile"]["Dockerfile"] =
      "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY a /b\nCOPY <<EOF /c\ntext\nEOF\nLABEL "
      "l=1\n";
  build.files["local://context"]["a"] = "from context";
  wire::SolveResponse response;
  const Status status = SolveDockerfile({}, &response);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  const auto reference = bridge->Find(response.result().ref().id());
  ASSERT_TRUE(reference.ok());
  EXPECT_EQ(build.Read(*reference, "/b"), "from context");
  EXPECT_EQ(build.Read(*reference, "/c"), "text\n");
  const auto config =
      nlohmann::json::parse(response.result().metadata().at("containerimage.config"));
  EXPECT_EQ(config["config"]["Labels"]["l"], "1");
  EXPECT_TRUE(response.result().metadata().contains("refs.platforms"));
  EXPECT_THAT(build.sink().names(), Contains("[internal] load build definition from Dockerfile"));
  EXPECT_THAT(build.sink().names(), Contains("[internal] load .dockerignore"));
}

TEST_F(BridgeTest, SeveralPlatformsGiveAMap) {
  build.files["local://dockerfile"]["Dockerfile"] = "FROM scratch\nCOPY a /\n";
  build.files["local://context"]["a"] = "x";
  wire::SolveResponse response;
  const Status status = SolveDockerfile({{"platform", "linux/amd64,linux/arm64"}}, &response);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(response.result().refs().refs_size(), 2);
  EXPECT_TRUE(response.result().metadata().contains("containerimage.config/linux/arm64"));
}

TEST_F(BridgeTest, ErrorsOfTheFilePointIntoIt) {
  build.files["local://dockerfile"]["Dockerfile"] = "FROM scratch\nCOPPY a b\n";
  wire::SolveResponse response;
  const Status status = SolveDockerfile({}, &response);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code(), Code::kUnknown);
  EXPECT_EQ(status.error().ToString(),
            "dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)");
  ASSERT_NE(status.error().FindDetail(llb::kSourceDetailType), nullptr);
}

TEST_F(BridgeTest, ErrorsOfStepsPointIntoTheFile) {
  build.files["local://dockerfile"]["Dockerfile"] = "FROM scratch\nCOPY missing /\n";
  build.files["local://context"]["a"] = "x";
  wire::SolveResponse response;
  ASSERT_TRUE(SolveDockerfile({}, &response).ok());
  wire::EvaluateRequest request;
  request.set_ref(response.result().ref().id());
  wire::EvaluateResponse evaluated;
  const Status status = Evaluate(call(), request, &evaluated);
  ASSERT_FALSE(status.ok());
  const ErrorDetail* detail = status.error().FindDetail(llb::kSourceDetailType);
  ASSERT_NE(detail, nullptr);
  EXPECT_EQ(nlohmann::json::parse(detail->value)["ranges"][0]["start"]["line"], 2);
}

TEST_F(BridgeTest, OtherFrontendImagesAreRefusedByName) {
  build.files["local://dockerfile"]["Dockerfile"] = "# syntax=example.com/own:2\nFROM scratch\n";
  wire::SolveResponse response;
  const Status status = SolveDockerfile({}, &response);
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().ToString(), HasSubstr("example.com/own:2"));
  EXPECT_NE(status.error().FindDetail(llb::kSourceDetailType), nullptr);
  EXPECT_THAT(SolveDockerfile({{"source", "example.com/own:2"}}, &response, "gateway.v0")
                  .error()
                  .ToString(),
              HasSubstr("example.com/own:2"));
}

TEST_F(BridgeTest, GatewayServesTheOfficialNames) {
  build.files["local://dockerfile"]["Dockerfile"] = "# syntax=example.com/ignored\nFROM scratch\n";
  for (const std::string source :
       {"dockerfile.v0", "docker/dockerfile:1", "docker.io/docker/dockerfile:1.7",
        "docker/dockerfile-upstream:master"}) {
    wire::SolveResponse response;
    const Status status =
        SolveDockerfile({{"source", source}, {"cmdline", source}}, &response, "gateway.v0");
    EXPECT_TRUE(status.ok()) << source << ": " << status.error().ToString();
  }
}

TEST_F(BridgeTest, UnknownSubrequestsAreRefusedWithTheirName) {
  build.files["local://dockerfile"]["Dockerfile"] = "FROM scratch\n";
  wire::SolveResponse response;
  const Status status = SolveDockerfile({{"requestid", "frontend.horoscope"}}, &response);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().ToString(), "unsupported request frontend.horoscope");
  EXPECT_NE(status.error().FindDetail("github.com/moby/buildkit/errdefs.Subrequest+json"), nullptr);
}

TEST_F(BridgeTest, InputsBecomeNamedContexts) {
  build.files["local://dockerfile"]["Dockerfile"] = "FROM base\nCOPY a /\n";
  build.files["local://context"]["a"] = "x";
  wire::SolveRequest request;
  request.set_frontend("dockerfile.v0");
  (*request.mutable_frontendopt())["context:base"] = "input:first";
  (*request.mutable_frontendinputs())["first"] = FileDefinition("/f", "of the input");
  request.set_allowresultreturn(true);
  request.set_allowresultarrayref(true);
  wire::SolveResponse response;
  const Status status = Solve(call(), request, &response);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(build.Read(*bridge->Find(response.result().ref().id()), "/f"), "of the input");
}

}  // namespace
}  // namespace kiln::frontend
