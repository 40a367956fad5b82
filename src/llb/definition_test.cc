#include "llb/definition.h"

#include <gtest/gtest.h>

#include "llb/build.h"
#include "llb/marshal.h"

namespace kiln::llb {
namespace {

pb::Definition Made(const Output& output) {
  auto definition = Marshal(output);
  EXPECT_TRUE(definition.ok()) << definition.error().ToString();
  return std::move(definition).value();
}

Output Alpine() {
  return Source({"docker-image://docker.io/library/alpine:latest", {}},
                {.platform = oci::Platform{.os = "linux", .architecture = "x86_64"}});
}

std::string ErrorOf(const pb::Definition& definition) {
  auto graph = Load(definition);
  return graph.ok() ? "" : graph.error().ToString();
}

pb::Definition Raw(std::initializer_list<pb::Op> ops) {
  pb::Definition definition;
  for (const pb::Op& op : ops) definition.add_def(EncodeOp(op));
  return definition;
}

pb::Op TerminalOf(const pb::Op& op, int64_t index = 0) {
  pb::Op terminal;
  terminal.add_inputs()->set_digest(Sha256Of(EncodeOp(op)).ToString());
  terminal.mutable_inputs(0)->set_index(index);
  return terminal;
}

pb::Op SourceNamed(const std::string& identifier) {
  pb::Op op;
  op.mutable_source()->set_identifier(identifier);
  return op;
}

TEST(DefinitionTest, LoadsWhatMarshalMade) {
  ExecSpec spec{.root = Alpine(), .args = {"sh", "-c", "true"}};
  ExecOutputs run = Exec(spec, {.name = "[2/3] RUN true", .ignore_cache = true});
  Output out = File(run.root, {MkdirAction{.path = "/d"},
                               CopyAction{.from = Alpine(), .src = "/a", .dest = "/b"}});
  pb::Definition definition = Made(out);
  auto graph = Load(definition);
  ASSERT_TRUE(graph.ok()) << graph.error().ToString();
  // The two images are one vertex.
  ASSERT_EQ(graph->vertices.size(), 3U);
  EXPECT_EQ(graph->vertices[0].name, "docker-image://docker.io/library/alpine:latest");
  EXPECT_EQ(graph->vertices[1].name, "[2/3] RUN true");
  EXPECT_TRUE(graph->vertices[1].metadata.ignore_cache());
  EXPECT_EQ(graph->vertices[2].name, "mkdir /d, copy /a /b");
  EXPECT_EQ(graph->root, (Edge{2, 0}));
  for (const Vertex& vertex : graph->vertices) {
    EXPECT_EQ(vertex.digest, vertex.original);
    EXPECT_TRUE(vertex.op.has_constraints());
  }
  EXPECT_EQ(Made(out).SerializeAsString().size(), definition.SerializeAsString().size());
  for (int i = 0; i < definition.def_size(); ++i) EXPECT_EQ(Made(out).def(i), definition.def(i));
}

TEST(DefinitionTest, NormalisesPlatforms) {
  auto graph = Load(Made(Alpine()));
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(graph->vertices[0].platform().architecture, "amd64");
  graph = Load(Made(File({}, {MkdirAction{.path = "/d"}})));
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(graph->vertices[0].platform(), oci::HostPlatform());
}

TEST(DefinitionTest, InputsInsideAndOutside) {
  const pb::Op image = SourceNamed("docker-image://docker.io/library/alpine:latest");
  const auto with_input = [&](pb::Op op, int count = 1) {
    for (int i = 0; i < count; ++i)
      op.add_inputs()->set_digest(Sha256Of(EncodeOp(image)).ToString());
    return op;
  };
  const auto error_of = [&](const pb::Op& op) { return ErrorOf(Raw({image, op, TerminalOf(op)})); };
  EXPECT_EQ(error_of(with_input(SourceNamed("git://example.com/a"))),
            "invalid source op with 1 inputs");
  pb::Op merge;
  merge.mutable_merge()->add_inputs()->set_input(0);
  EXPECT_EQ(error_of(with_input(merge, 2)),
            "invalid merge op with 1 inner inputs and 2 outer inputs");
  pb::Op diff;
  diff.mutable_diff()->mutable_lower()->set_input(0);
  diff.mutable_diff()->mutable_upper()->set_input(-1);
  EXPECT_EQ(error_of(with_input(diff, 2)),
            "invalid diff op with 1 inner inputs and 2 outer inputs");
  pb::Op file;
  pb::FileAction& action = *file.mutable_file()->add_actions();
  action.set_secondaryinput(-1);
  action.mutable_mkdir()->set_path("/d");
  for (const int64_t index : {-1, 2, 7}) {
    auto& named = *action.mutable_mkdir()->mutable_owner()->mutable_group()->mutable_byname();
    named.set_input(index);
    EXPECT_EQ(error_of(with_input(file)), "invalid user index: " + std::to_string(index));
  }
}

TEST(DefinitionTest, LocationsNameSourcesThatAreThere) {
  pb::Definition definition = Made(Alpine());
  definition.mutable_source()->add_infos()->set_filename("Dockerfile");
  auto& locations = (*definition.mutable_source()->mutable_locations())["sha256:x"];
  pb::Location& location = *locations.add_locations();
  EXPECT_EQ(ErrorOf(definition), "");
  for (const int index : {1, -1}) {
    location.set_sourceindex(index);
    EXPECT_EQ(ErrorOf(definition),
              "invalid source index " + std::to_string(index) + " for vertex sha256:x");
  }
}

TEST(DefinitionTest, RefusesWhatIsNoGraph) {
  EXPECT_EQ(ErrorOf({}), "invalid empty definition");
  pb::Definition garbage;
  garbage.add_def("\xff\xff\xff");
  EXPECT_EQ(ErrorOf(garbage), "failed to parse llb proto op");
  pb::Op source = SourceNamed("local://context");
  EXPECT_EQ(ErrorOf(Raw({source})), "invalid LLB with 1 vertexes");
  EXPECT_EQ(ErrorOf(Raw({source, source})), "invalid LLB with 1 vertexes");
  EXPECT_EQ(ErrorOf(Raw({TerminalOf(source), source})),
            "invalid LLB with no inputs on last vertex");
  EXPECT_EQ(ErrorOf(Raw({TerminalOf(source)})),
            "invalid missing input digest " + Sha256Of(EncodeOp(source)).ToString());
  pb::Op bad = TerminalOf(source);
  bad.mutable_inputs(0)->set_digest("sha256:xyz");
  EXPECT_EQ(ErrorOf(Raw({source, bad})), "invalid missing input digest sha256:xyz");
  EXPECT_EQ(ErrorOf(Raw({source, TerminalOf(source, -2)})), "invalid input 0 output index -2");
  EXPECT_EQ(ErrorOf(Raw({source, TerminalOf(source, 3)})),
            "invalid response from source need 3 index but 1 results received");
  pb::Op nothing;
  nothing.mutable_platform();
  EXPECT_EQ(ErrorOf(Raw({nothing, TerminalOf(nothing)})), "no support for an op without a kind");
  Limits small{.max_ops = 1};
  EXPECT_EQ(Parse(Raw({source, TerminalOf(source)}), small).error().code(),
            Code::kResourceExhausted);
}

TEST(DefinitionTest, OnlyWhatIsReachableIsValidated) {
  pb::Op source = SourceNamed("local://context");
  pb::Op broken;
  broken.mutable_exec();
  EXPECT_EQ(ErrorOf(Raw({broken, source, TerminalOf(source)})), "");
  pb::Op exec;
  exec.mutable_exec()->add_mounts()->set_dest("/");
  EXPECT_EQ(ErrorOf(Raw({exec, TerminalOf(exec)})), "invalid exec op with no meta");
}

TEST(DefinitionTest, ValidatesExec) {
  pb::Op op;
  pb::ExecOp& exec = *op.mutable_exec();
  exec.mutable_meta();
  EXPECT_EQ(Validate(op).error().message(), "invalid exec op with no args");
  exec.mutable_meta()->add_args("x");
  EXPECT_EQ(Validate(op).error().message(), "invalid exec op with no mounts");
  exec.add_mounts()->set_dest("/x");
  exec.mutable_mounts(0)->set_input(-1);
  EXPECT_EQ(Validate(op).error().message(), "invalid exec op with no rootfs");
  exec.mutable_mounts(0)->set_dest("/");
  EXPECT_TRUE(Validate(op).ok());
  exec.set_network(static_cast<pb::NetMode>(42));
  EXPECT_EQ(Validate(op).error().message(), "invalid exec op with unknown network mode 42");
  exec.clear_network();
  exec.set_security(static_cast<pb::SecurityMode>(42));
  EXPECT_EQ(Validate(op).error().message(), "invalid security mode 42");
  exec.clear_security();
  exec.mutable_meta()->add_ulimit()->set_name("NOFILE");
  EXPECT_TRUE(Validate(op).ok());
  exec.mutable_meta()->mutable_ulimit(0)->set_name("nonsense");
  EXPECT_EQ(Validate(op).error().message(), "invalid exec op with unknown ulimit \"nonsense\"");
  exec.mutable_meta()->clear_ulimit();
  exec.add_mounts()->set_dest("/m");
  exec.mutable_mounts(1)->set_mounttype(static_cast<pb::MountType>(77));
  EXPECT_EQ(Validate(op).error().message(), "invalid mount type 77 of \"/m\"");
  exec.mutable_mounts()->RemoveLast();
  exec.mutable_meta()->add_args(std::string("a\0b", 3));
  EXPECT_EQ(Validate(op).error().message(), "invalid argument \"a\\x00b\": zero byte");
  exec.mutable_meta()->mutable_args()->RemoveLast();
  exec.mutable_mounts(0)->set_input(0);
  EXPECT_FALSE(Validate(op).ok());
  exec.mutable_mounts(0)->set_mounttype(pb::CACHE);
  EXPECT_EQ(Validate(op).error().message(), "invalid mount type CACHE for /");
}

TEST(DefinitionTest, ValidatesFileIndices) {
  pb::Op op;
  op.mutable_file();
  EXPECT_EQ(Validate(op).error().message(), "invalid file op with no actions");
  pb::FileAction& action = *op.mutable_file()->add_actions();
  action.mutable_mkdir();
  action.set_input(-1);
  action.set_secondaryinput(-1);
  action.set_output(-1);
  EXPECT_EQ(Validate(op).error().message(), "no outputs specified");
  action.set_output(0);
  EXPECT_TRUE(Validate(op).ok());
  action.set_input(0);
  EXPECT_EQ(Validate(op).error().message(), "loop from index 0");
  action.set_input(7);
  EXPECT_FALSE(Validate(op).ok());
  action.set_input(-1);
  *op.mutable_file()->add_actions() = action;
  EXPECT_EQ(Validate(op).error().message(), "duplicate output 0");
  op.mutable_file()->mutable_actions(0)->set_output(1);
  op.mutable_file()->mutable_actions(1)->set_output(-1);
  EXPECT_EQ(Validate(op).error().message(), "missing output index 0");
}

TEST(DefinitionTest, ValidatesTheOthers) {
  pb::Op op;
  op.mutable_diff();
  EXPECT_EQ(Validate(op).error().message(), "invalid diff op with nil lower or upper input");
  op.mutable_merge();
  EXPECT_EQ(Validate(op).error().message(), "invalid merge op with no inputs");
  op.mutable_passthrough();
  EXPECT_EQ(Validate(op).error().message(), "invalid passthrough op with no id");
  op.mutable_passthrough()->set_id("x");
  EXPECT_EQ(Validate(op).error().message(), "invalid passthrough op with no outputs");
  op.mutable_passthrough()->add_outputs(2);
  EXPECT_EQ(Validate(op).error().message(), "invalid passthrough output input index 2");
}

TEST(DefinitionTest, ChangedSourcesChangeWhatStandsOnThem) {
  pb::Definition definition =
      Made(File(Source({"docker-image://a", {}}),
                {CopyAction{.from = Source({"docker-image://b", {}}), .src = "/", .dest = "/x"}}));
  auto raw = Parse(definition);
  ASSERT_TRUE(raw.ok());
  for (RawOp& op : raw->ops)
    if (op.op.source().identifier() == "docker-image://b") {
      op.op.mutable_source()->set_identifier("docker-image://a");
      op.changed = true;
    }
  auto graph = Link(std::move(*raw), definition);
  ASSERT_TRUE(graph.ok()) << graph.error().ToString();
  // Two sources became one.
  ASSERT_EQ(graph->vertices.size(), 2U);
  const Vertex& file = graph->vertices[1];
  EXPECT_NE(file.digest, file.original);
  EXPECT_EQ(file.inputs, (std::vector<Edge>{{0, 0}, {0, 0}}));
  EXPECT_EQ(file.op.inputs(1).digest(), graph->vertices[0].digest.ToString());
}

TEST(DefinitionTest, LongChainsAreLinear) {
  Output state = Alpine();
  for (int i = 0; i < 10'000; ++i)
    state = Exec({.root = state, .args = {"step", std::to_string(i)}}).root;
  auto graph = Load(Made(state));
  ASSERT_TRUE(graph.ok()) << graph.error().ToString();
  EXPECT_EQ(graph->vertices.size(), 10'001U);
  EXPECT_EQ(graph->vertices.back().name, "step 9999");
}

TEST(DefinitionTest, NamesOfNestedMergesStayShort) {
  Output state = Merge({Alpine(), Source({"local://context", {}})});
  for (int i = 0; i < 100; ++i) state = Merge({state, state});
  auto graph = Load(Made(state));
  ASSERT_TRUE(graph.ok());
  EXPECT_LT(graph->vertices.back().name.size(), 5000U);
}

}  // namespace
}  // namespace kiln::llb
