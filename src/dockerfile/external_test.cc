#include "dockerfile/external.h"

#include <gtest/gtest.h>

#include "dockerfile/testing/fake_host.h"
#include "llb/marshal.h"

namespace kiln::dockerfile {
namespace {

class ExternalTest : public testing::Test {
 protected:
  // The source that the tree of `external` is.
  std::string SourceOf(const External& external) {
    const auto definition = llb::Marshal(external.Tree("FROM", options_, {}, "FROM"));
    if (!definition.ok()) return definition.error().ToString();
    for (const std::string& bytes : definition->def()) {
      pb::Op op;
      if (op.ParseFromString(bytes) && op.has_source()) return op.source().identifier();
    }
    return "none";
  }
  // That of `name` once it is looked up.
  std::string Found(const std::string& name) {
    Externals externals(options_, host_, /*show_platform=*/false);
    const auto external = externals.Need(name, host_.platform);
    if (!external.ok()) return external.error().ToString();
    externals.ResolvePending();
    externals.FinishLocals();
    if ((*external)->failure) return (*external)->failure->ToString();
    EXPECT_FALSE((*external)->has_config);
    return SourceOf(**external);
  }

  Options options_;
  FakeHost host_;
};

TEST_F(ExternalTest, AnImageMayBecomeAnotherSource) {
  for (const char* other :
       {"https://example.com/root.tar", "git://example.com/root.git#main", "local://folder"}) {
    host_.became["docker.io/library/alpine:latest"] = {other, {}};
    EXPECT_EQ(Found("alpine"), other);
    // And so may that of a named context.
    options_.named_contexts["base"] = "docker-image://alpine";
    EXPECT_EQ(Found("base"), other);
    options_.named_contexts.clear();
  }
}

}  // namespace
}  // namespace kiln::dockerfile
