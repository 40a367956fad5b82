#include "build/load_graph.h"

#include <gtest/gtest.h>

#include "llb/build.h"
#include "llb/marshal.h"

namespace kiln::build {
namespace {

pb::Definition DefinitionOf(const llb::Output& output) {
  auto definition = llb::Marshal(output);
  EXPECT_TRUE(definition.ok()) << definition.error().ToString();
  return std::move(*definition);
}

TEST(LoadTest, PassesMetadataOn) {
  auto graph = LoadGraph(DefinitionOf(llb::Source({"docker-image://a", {}},
                                                  {.ignore_cache = true, .export_cache = false})),
                         nullptr);
  ASSERT_TRUE(graph.ok()) << graph.error().ToString();
  const pb::OpMetadata& metadata = graph->vertices[0].metadata;
  EXPECT_TRUE(metadata.ignore_cache());
  ASSERT_TRUE(metadata.has_export_cache());
  EXPECT_FALSE(metadata.export_cache().value());
}

TEST(LoadTest, PolicyRewritesSources) {
  llb::Output run = llb::Exec({.root = llb::Source({"docker-image://a", {}}), .args = {"x"}}).root;
  auto graph = LoadGraph(DefinitionOf(run), [](pb::SourceOp& source) -> Result<bool> {
    EXPECT_EQ(source.identifier(), "docker-image://a");
    source.set_identifier("docker-image://b");
    return true;
  });
  ASSERT_TRUE(graph.ok()) << graph.error().ToString();
  EXPECT_EQ(graph->vertices[0].op.source().identifier(), "docker-image://b");
  for (const llb::Vertex& vertex : graph->vertices) EXPECT_NE(vertex.digest, vertex.original);
}

TEST(LoadTest, PolicySeesCanonicalNamesAndMayRefuse) {
  pb::Definition definition =
      DefinitionOf(llb::Source({"git://git@github.com:a/b.git", {{"git.checksum", "abc"}}}));
  auto graph = LoadGraph(definition, [](pb::SourceOp& source) -> Result<bool> {
    return Unknown("source {} denied", source.identifier());
  });
  ASSERT_FALSE(graph.ok());
  EXPECT_EQ(graph.error().ToString(),
            "error evaluating the source policy: source git://github.com/a/b.git denied");
  graph = LoadGraph(DefinitionOf(llb::Source({"local://context", {}})),
                    [](pb::SourceOp&) -> Result<bool> { return false; });
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(graph->vertices[0].digest, graph->vertices[0].original);
}

TEST(LoadTest, LocationsNameSourcesThatThereAre) {
  pb::Definition definition = *llb::Marshal(llb::File({}, {llb::MkdirAction{.path = "/x"}}));
  pb::Location& location =
      *(*definition.mutable_source()->mutable_locations())["sha256:x"].add_locations();
  location.set_sourceindex(3);
  EXPECT_EQ(LoadGraph(definition, {}).error().ToString(),
            "invalid source index 3 for vertex sha256:x");
  for (int i = 0; i < 4; ++i) definition.mutable_source()->add_infos();
  EXPECT_TRUE(LoadGraph(definition, {}).ok());
}

}  // namespace
}  // namespace kiln::build
