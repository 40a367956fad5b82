#include "llb/build.h"

#include <gtest/gtest.h>

#include "llb/definition.h"
#include "llb/marshal.h"
#include "llb/source_map.h"

namespace kiln::llb {
namespace {

pb::Op LastOp(const Output& output) {
  auto definition = Marshal(output);
  EXPECT_TRUE(definition.ok()) << definition.error().ToString();
  pb::Op op;
  EXPECT_TRUE(op.ParseFromString(definition->def(definition->def_size() - 2)));
  return op;
}

TEST(BuildTest, ScratchIsTheEmptyDefinition) {
  auto definition = Marshal({});
  ASSERT_TRUE(definition.ok());
  EXPECT_EQ(definition->def_size(), 0);
}

TEST(BuildTest, ExecOutputsAreNumberedInMountOrder) {
  Output base = Source({"docker-image://a", {}});
  Output data = Source({"local://context", {}});
  ExecOutputs run = Exec({.root = base,
                          .args = {"x"},
                          .mounts = {{.dest = "/z", .source = data},
                                     {.dest = "/c", .cache = CacheMount{.id = "c"}},
                                     {.dest = "/ro", .source = data, .readonly = true},
                                     {.dest = "/a", .source = base}},
                          .secrets = {{.id = "s", .target = "/run/secrets/s", .env = "S"}},
                          .ssh = {{.id = "default"}}});
  EXPECT_EQ(run.root.index(), 0);
  EXPECT_EQ(run.mounts[3]->index(), 1);
  EXPECT_EQ(run.mounts[0]->index(), 2);
  EXPECT_FALSE(run.mounts[1].has_value());
  EXPECT_EQ(*run.mounts[2], data);
  pb::Op op = LastOp(run.root);
  ASSERT_EQ(op.inputs_size(), 2);
  ASSERT_EQ(op.exec().mounts_size(), 7);
  EXPECT_EQ(op.exec().mounts(1).dest(), "/a");
  EXPECT_EQ(op.exec().mounts(1).input(), 0);
  EXPECT_EQ(op.exec().mounts(1).output(), 1);
  EXPECT_EQ(op.exec().mounts(2).output(), -1);
  EXPECT_EQ(op.exec().mounts(5).mounttype(), pb::SECRET);
  EXPECT_EQ(op.exec().mounts(6).dest(), "/run/buildkit/ssh_agent.0");
  EXPECT_EQ(op.exec().meta().env(0), "SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0");
  EXPECT_EQ(op.exec().secretenv(0).name(), "S");
  EXPECT_EQ(OutputCount(op), 3U);
}

TEST(BuildTest, FileActionsChain) {
  Output base = Source({"docker-image://a", {}});
  Output context = Source({"local://context", {}});
  pb::Op op = LastOp(File(
      base, {MkdirAction{.path = "/d", .owner = Owner{.user = "bob", .group = 7U}},
             CopyAction{.from = context, .src = "/s", .dest = "/d/"}, RmAction{.path = "/x"}}));
  const pb::FileOp& file = op.file();
  EXPECT_EQ(file.actions(0).input(), 0);
  EXPECT_EQ(file.actions(1).input(), 2);
  EXPECT_EQ(file.actions(2).input(), 3);
  EXPECT_EQ(file.actions(0).output(), -1);
  EXPECT_EQ(file.actions(2).output(), 0);
  EXPECT_EQ(file.actions(0).secondaryinput(), -1);
  EXPECT_EQ(file.actions(1).secondaryinput(), 1);
  EXPECT_EQ(file.actions(0).mkdir().owner().user().byname().name(), "bob");
  EXPECT_EQ(file.actions(0).mkdir().owner().group().byid(), 7U);
  EXPECT_EQ(file.actions(1).copy().mode(), -1);
  EXPECT_EQ(file.actions(1).copy().timestamp(), -1);
}

TEST(BuildTest, MergeAndDiffCollapse) {
  Output a = Source({"local://a", {}});
  Output b = Source({"local://b", {}});
  EXPECT_TRUE(Merge({}).scratch());
  EXPECT_EQ(Merge({Output(), a}), a);
  EXPECT_EQ(Diff({}, a), a);
  EXPECT_EQ(LastOp(Merge({a, b, a})).inputs_size(), 3);
  EXPECT_EQ(LastOp(Diff(a, {})).diff().upper().input(), -1);
}

TEST(BuildTest, DeferredSourcesAreSetLater) {
  DeferredSource context("context");
  Output out = File({}, {CopyAction{.from = context.output(), .src = "/", .dest = "/"}});
  EXPECT_EQ(Marshal(out).error().message(), "source \"context\" was never set");
  context.Set({"local://context", {{"local.followpaths", "[\"a\"]"}}}, {.name = "load"});
  auto definition = Marshal(out);
  ASSERT_TRUE(definition.ok());
  auto graph = Load(*definition);
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(graph->vertices[0].name, "load");
}

TEST(BuildTest, WritesMetadataCapsAndLocations) {
  auto file = std::make_shared<SourceFile>(
      SourceFile{.filename = "Dockerfile", .data = "FROM a\nRUN x\n", .language = "Dockerfile"});
  ExecOutputs run =
      Exec({.root = Source({"docker-image://a", {{"image.resolvemode", "pull"}}}), .args = {"x"}},
           {.name = "run",
            .export_cache = true,
            .progress_group = ProgressGroup{.id = "1", .name = "g"},
            .locations = {{file, {{{2, 0}, {2, 5}}}}}});
  auto definition = Marshal(run.root);
  ASSERT_TRUE(definition.ok());
  auto graph = Load(*definition);
  ASSERT_TRUE(graph.ok());
  const pb::OpMetadata& metadata = graph->vertices[1].metadata;
  EXPECT_TRUE(metadata.export_cache().value());
  EXPECT_EQ(metadata.progress_group().name(), "g");
  EXPECT_TRUE(metadata.caps().contains("exec.meta.base"));
  EXPECT_TRUE(graph->vertices[0].metadata.caps().contains("source.image.resolvemode"));
  const pb::OpMetadata& terminal =
      definition->metadata().at(Sha256Of(definition->def(2)).ToString());
  EXPECT_TRUE(terminal.caps().contains("constraints"));
  EXPECT_TRUE(terminal.caps().contains("meta.exportcache"));
  auto details = SourceDetails(definition->source(), graph->vertices[1].original.ToString());
  ASSERT_EQ(details.size(), 1U);
  EXPECT_EQ(
      details[0].value,
      R"({"info":{"filename":"Dockerfile","data":"RlJPTSBhClJVTiB4Cg==","language":"Dockerfile"},)"
      R"("ranges":[{"start":{"line":2},"end":{"line":2,"character":5}}]})");
  EXPECT_TRUE(SourceDetails(definition->source(), "sha256:other").empty());
  // Of several locations the one given last comes first.
  pb::Source source;
  for (const char* name : {"first", "last"}) source.add_infos()->set_filename(name);
  for (int i = 0; i < 2; ++i) {
    pb::Location& location = *(*source.mutable_locations())["x"].add_locations();
    location.set_sourceindex(i);
    location.add_ranges();
  }
  details = SourceDetails(source, "x");
  ASSERT_EQ(details.size(), 2U);
  EXPECT_NE(details[0].value.find("last"), std::string::npos);
}

}  // namespace
}  // namespace kiln::llb
