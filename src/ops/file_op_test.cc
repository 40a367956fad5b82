#include "ops/file_op.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ops/testing/graph_runner.h"

namespace kiln::ops {
namespace {

using llb::CopyAction;
using llb::File;
using llb::FileAction;
using llb::MkdirAction;
using llb::MkfileAction;
using llb::Output;
using llb::Owner;
using llb::RmAction;
using llb::SymlinkAction;
using testing::ElementsAre;

class FileOpTest : public testing::Test {
 protected:
  store::SnapshotRef Run(const Output& output) {
    auto ref = runner_.Run(output);
    EXPECT_TRUE(ref.ok()) << ref.error().ToString();
    return ref.ok() ? *ref : store::SnapshotRef();
  }
  std::string ErrorOf(const Output& output) {
    auto ref = runner_.Run(output);
    return ref.ok() ? "" : ref.error().message();
  }

  GraphRunner runner_;
};

// /d/{f,sub/g}, /l -> d, /etc/{passwd,group}
Output Base() {
  return File(
      {}, {MkdirAction{.path = "/d/sub", .make_parents = true},
           MkfileAction{.path = "/d/f", .data = "f"}, MkfileAction{.path = "/d/sub/g", .data = "g"},
           SymlinkAction{.old_path = "d", .new_path = "/l"}, MkdirAction{.path = "/etc"},
           MkfileAction{.path = "/etc/passwd", .data = "bob:x:1000:1001::/:/bin/sh\n"},
           MkfileAction{.path = "/etc/group", .data = "staff:x:50:\n"}});
}

TEST_F(FileOpTest, MakesDirectoriesAndFiles) {
  auto ref = Run(
      File(Base(), {MkdirAction{.path = "/a/b",
                                .mode = 0700,
                                .make_parents = true,
                                .owner = Owner{.user = 7U},
                                .timestamp_ns = 1'500'000'000},
                    MkfileAction{.path = "/a/b/f", .mode = 0640, .data = "hi", .timestamp_ns = 0},
                    MkfileAction{.path = "/l/f", .data = "through the link"}}));
  EXPECT_EQ(runner_.Describe(ref, "/a"), "0700 7:7");
  EXPECT_EQ(runner_.Describe(ref, "/a/b"), "0700 7:7");
  EXPECT_EQ(runner_.MtimeNs(ref, "/a"), 1'500'000'000);
  EXPECT_EQ(runner_.Describe(ref, "/a/b/f"), "0640 0:0");
  EXPECT_EQ(runner_.MtimeNs(ref, "/a/b/f"), 0);
  EXPECT_EQ(runner_.Read(ref, "/d/f"), "through the link");
  // Existing ones are left alone.
  ref = Run(File(Base(), {MkdirAction{.path = "/d", .mode = 0700, .owner = Owner{.user = 7U}}}));
  EXPECT_EQ(runner_.Describe(ref, "/d"), "0755 0:0");
  EXPECT_NE(ErrorOf(File(Base(), {MkdirAction{.path = "/x/y"}})), "");
  EXPECT_NE(ErrorOf(File(Base(), {MkdirAction{.path = "/d/f", .make_parents = true}})), "");
  EXPECT_NE(ErrorOf(File(Base(), {MkfileAction{.path = "/d"}})), "");
}

TEST_F(FileOpTest, FilesAreReplacedNotWrittenTo) {
  auto ref = Run(File(
      File({}, {MkfileAction{.path = "/f", .mode = 0755, .data = "a", .owner = Owner{.user = 5U}}}),
      {MkfileAction{.path = "/f", .mode = 0600, .data = "b"}}));
  EXPECT_EQ(runner_.Describe(ref, "/f"), "0600 0:0");
  EXPECT_EQ(runner_.Read(ref, "/f"), "b");
}

TEST_F(FileOpTest, OwnersByName) {
  auto ref =
      Run(File(Base(), {MkfileAction{.path = "/a", .owner = Owner{.user = "bob"}},
                        MkfileAction{.path = "/b", .owner = Owner{.user = "bob", .group = "staff"}},
                        MkfileAction{.path = "/c", .owner = Owner{.user = "nobody"}}}));
  EXPECT_EQ(runner_.Describe(ref, "/a"), "0644 1000:1001");
  EXPECT_EQ(runner_.Describe(ref, "/b"), "0644 1000:50");
  EXPECT_EQ(runner_.Describe(ref, "/c"), "0644 0:0");
  EXPECT_EQ(ErrorOf(File({}, {MkfileAction{.path = "/a", .owner = Owner{.user = "bob"}}})),
            "invalid user index: -1");
}

TEST_F(FileOpTest, MakesSymlinks) {
  auto ref = Run(
      File(Base(),
           {SymlinkAction{.old_path = "/nowhere", .new_path = "/s", .owner = Owner{.user = 3U}}}));
  EXPECT_EQ(runner_.Describe(ref, "/s"), "0777 3:3 -> /nowhere");
  EXPECT_NE(ErrorOf(File(Base(), {SymlinkAction{.old_path = "x", .new_path = "/d"}})), "");
}

TEST_F(FileOpTest, RemovesByWildcard) {
  auto ref = Run(File(
      Base(), {MkfileAction{.path = "/d/x1"}, MkfileAction{.path = "/d/x2"},
               RmAction{.path = "/d/x*", .allow_wildcard = true},
               RmAction{.path = "/d/none*", .allow_wildcard = true}, RmAction{.path = "/etc"}}));
  EXPECT_THAT(runner_.List(ref), ElementsAre("/d/", "/d/f", "/d/sub/", "/d/sub/g", "/l"));
  EXPECT_EQ(ErrorOf(File(Base(), {RmAction{.path = "/none"}})),
            "stat /none: no such file or directory");
  EXPECT_EQ(ErrorOf(File(Base(), {RmAction{.path = "/none", .allow_not_found = true}})), "");
  EXPECT_NE(ErrorOf(File(Base(), {RmAction{.path = "/"}})), "");
}

TEST_F(FileOpTest, RemovesLinksNotTargets) {
  auto ref = Run(File(
      Base(), {SymlinkAction{.old_path = "/nowhere", .new_path = "/dangling"},
               RmAction{.path = "/l"}, RmAction{.path = "/dangling", .allow_not_found = true}}));
  EXPECT_EQ(runner_.Describe(ref, "/l"), "<missing>");
  EXPECT_EQ(runner_.Describe(ref, "/dangling"), "<missing>");
  EXPECT_EQ(runner_.Read(ref, "/d/f"), "f");
  EXPECT_EQ(ErrorOf(File(Base(), {SymlinkAction{.old_path = "/nowhere", .new_path = "/dangling"},
                                  RmAction{.path = "/dangling"}})),
            "stat /dangling: no such file or directory");
}

TEST_F(FileOpTest, PathsStayInside) {
  auto ref = Run(File(Base(), {SymlinkAction{.old_path = "/../../..", .new_path = "/up"},
                               MkfileAction{.path = "/up/../../inside", .data = "x"},
                               MkdirAction{.path = "../../etc/new"}}));
  EXPECT_EQ(runner_.Read(ref, "/inside"), "x");
  EXPECT_EQ(runner_.Describe(ref, "/etc/new"), "0755 0:0");
}

TEST_F(FileOpTest, SeveralOutputsAndUnusedActions) {
  pb::Op op;
  auto add = [&](int64_t input, int64_t output, const std::string& path) {
    pb::FileAction& action = *op.mutable_file()->add_actions();
    action.set_input(input);
    action.set_secondaryinput(-1);
    action.set_output(output);
    action.mutable_mkdir()->set_path(path);
    action.mutable_mkdir()->set_mode(0755);
    action.mutable_mkdir()->set_timestamp(-1);
  };
  add(-1, 1, "/a");
  add(0, 0, "/b");
  add(0, -1, "/none/c");  // fails, but nobody wants it
  llb::Graph graph{.vertices = {{.op = op}}};
  auto made = runner_.factory().Make(graph, 0);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ((*made)->output_count(), 2);
  auto output = runner_.RunOp(**made, {});
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  ASSERT_EQ(output->results.size(), 2U);
}

TEST_F(FileOpTest, FailuresNameTheAction) {
  auto ref = runner_.Run(File(Base(), {MkdirAction{.path = "/ok"}, RmAction{.path = "/none"}}));
  ASSERT_FALSE(ref.ok());
  EXPECT_EQ(ref.error().code(), Code::kUnknown);
  EXPECT_EQ(ref.error().FindDetail(kFileActionDetailType)->value, "1");
}

TEST_F(FileOpTest, RequiredPathsAreChecked) {
  CopyAction copy{.from = Base(),
                  .src = "/",
                  .dest = "/",
                  .dir_copy_contents = true,
                  .include_patterns = {"d/f"},
                  .required_paths = {"/d/f"}};
  auto digest = runner_.ContentDigest(File(File({}, {MkdirAction{.path = "/x"}}), {copy}), 1);
  EXPECT_TRUE(digest.ok()) << digest.error().ToString();
  copy.include_patterns = {"d/none"};
  copy.required_paths = {"/d/none"};
  digest = runner_.ContentDigest(File(File({}, {MkdirAction{.path = "/x"}}), {copy}), 1);
  ASSERT_FALSE(digest.ok());
  EXPECT_EQ(digest.error().code(), Code::kUnknown);
  EXPECT_EQ(digest.error().message(), "\"/d/none\": not found");
}

TEST_F(FileOpTest, MissingSourcesFailInTheKey) {
  CopyAction copy{.from = Base(), .src = "/none", .dest = "/"};
  auto digest = runner_.ContentDigest(File(File({}, {MkdirAction{.path = "/x"}}), {copy}), 1);
  ASSERT_FALSE(digest.ok());
  EXPECT_THAT(
      digest.error().ToString(),
      testing::MatchesRegex("failed to calculate checksum of ref .*: \"/none\": not found"));
}

}  // namespace
}  // namespace kiln::ops
