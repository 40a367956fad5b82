#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include "llb/marshal.h"

namespace kiln::llb {
namespace {

TEST(ImportTest, WhatIsImportedKeepsItsDigestsAndMetadata) {
  VertexOptions options;
  options.name = "made before";
  auto file = std::make_shared<SourceFile>(SourceFile{"Dockerfile", "FROM x", "Dockerfile", {}});
  options.locations = {{file, {{{1, 0}, {1, 0}}}}};
  const Output base = Source({"docker-image://docker.io/library/x:latest", {}}, options);
  const Output made = File(base, {MkdirAction{"/a"}});
  const auto before = Marshal(made);
  ASSERT_TRUE(before.ok());
  const auto imported = FromDefinition(*before);
  ASSERT_TRUE(imported.ok()) << imported.error().ToString();
  const auto same = Marshal(*imported);
  ASSERT_TRUE(same.ok());
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*same, *before));

  const auto after = Marshal(File(*imported, {MkdirAction{"/b"}}));
  ASSERT_TRUE(after.ok());
  ASSERT_EQ(after->def_size(), before->def_size() + 1);
  EXPECT_EQ(after->def(0), before->def(0));
  EXPECT_EQ(after->def(1), before->def(1));
}

TEST(ImportTest, RefusesWhatIsNoGraph) {
  EXPECT_TRUE(FromDefinition(pb::Definition())->scratch());
  pb::Definition one;
  one.add_def("");
  EXPECT_FALSE(FromDefinition(one).ok());
  pb::Op op;
  op.add_inputs()->set_digest("sha256:0000");
  pb::Definition missing;
  missing.add_def(op.SerializeAsString());
  missing.add_def("");
  EXPECT_FALSE(FromDefinition(missing).ok());
}

}  // namespace
}  // namespace kiln::llb
