#include "ops/file_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "archive/compression.h"
#include "archive/tar.h"
#include "ops/testing/graph_runner.h"

namespace kiln::ops {
namespace {

using llb::CopyAction;
using llb::File;
using llb::MkdirAction;
using llb::MkfileAction;
using llb::Output;
using llb::Owner;
using llb::SymlinkAction;
using testing::ElementsAre;

class FileCopyTest : public testing::Test {
 protected:
  store::SnapshotRef Copied(const Output& base, CopyAction copy) {
    auto ref = runner_.Run(File(base, {std::move(copy)}));
    EXPECT_TRUE(ref.ok()) << ref.error().ToString();
    return ref.ok() ? *ref : store::SnapshotRef();
  }
  std::vector<std::string> Paths(const Output& base, CopyAction copy) {
    return runner_.List(Copied(base, std::move(copy)));
  }
  std::string ErrorOf(const Output& base, CopyAction copy) {
    auto ref = runner_.Run(File(base, {std::move(copy)}));
    return ref.ok() ? "" : ref.error().message();
  }

  GraphRunner runner_;
};

// /d/{a.txt,b.txt,sub/c.txt}, /l -> d, /d/l -> a.txt, all old
Output Tree() {
  return File(
      {}, {MkdirAction{
               .path = "/d/sub", .mode = 0711, .make_parents = true, .owner = Owner{.user = 9U}},
           MkfileAction{.path = "/d/a.txt",
                        .mode = 0640,
                        .data = "a",
                        .owner = Owner{.user = 8U},
                        .timestamp_ns = 5},
           MkfileAction{.path = "/d/b.txt", .data = "b"},
           MkfileAction{.path = "/d/sub/c.txt", .data = "c"},
           SymlinkAction{.old_path = "d", .new_path = "/l"},
           SymlinkAction{.old_path = "a.txt", .new_path = "/d/l"}});
}

Output WithDir() { return File({}, {MkdirAction{.path = "/dst", .mode = 0700}}); }

TEST_F(FileCopyTest, Targets) {
  auto copy = [](const char* src, const char* dest, bool contents) {
    return CopyAction{.from = Tree(),
                      .src = src,
                      .dest = dest,
                      .dir_copy_contents = contents,
                      .create_dest_path = true};
  };
  // A file to a name, into a directory that is there, into one that the destination says it is.
  EXPECT_THAT(Paths({}, copy("/d/a.txt", "/x", false)), ElementsAre("/x"));
  EXPECT_THAT(Paths(WithDir(), copy("/d/a.txt", "/dst", false)),
              ElementsAre("/dst/", "/dst/a.txt"));
  EXPECT_THAT(Paths({}, copy("/d/a.txt", "/n/m/", false)),
              ElementsAre("/n/", "/n/m/", "/n/m/a.txt"));
  EXPECT_THAT(Paths({}, copy("/d/a.txt", "/n/.", false)), ElementsAre("/n/", "/n/a.txt"));
  // A directory to a name, into one that is there, and its content alone.
  EXPECT_THAT(Paths({}, copy("/d/sub", "/x", false)), ElementsAre("/x/", "/x/c.txt"));
  EXPECT_THAT(Paths(WithDir(), copy("/d/sub", "/dst", false)),
              ElementsAre("/dst/", "/dst/sub/", "/dst/sub/c.txt"));
  EXPECT_THAT(Paths(WithDir(), copy("/d/sub", "/dst", true)), ElementsAre("/dst/", "/dst/c.txt"));
  EXPECT_THAT(Paths({}, copy("/d/sub", "/x/", true)), ElementsAre("/x/", "/x/c.txt"));
}

TEST_F(FileCopyTest, ParentsMustExistUnlessMade) {
  CopyAction copy{.from = Tree(), .src = "/d/a.txt", .dest = "/n/x"};
  EXPECT_EQ(ErrorOf({}, copy), "failed to stat /n/x: no such file or directory");
  EXPECT_EQ(ErrorOf({}, {.from = Tree(), .src = "/none", .dest = "/x"}),
            "lstat /none: no such file or directory");
}

TEST_F(FileCopyTest, MetadataIsTheSourcesUnlessSaid) {
  auto ref = Copied({}, {.from = Tree(), .src = "/d", .dest = "/x"});
  EXPECT_EQ(runner_.Describe(ref, "/x/a.txt"), "0640 8:8");
  EXPECT_EQ(runner_.MtimeNs(ref, "/x/a.txt"), 5);
  EXPECT_EQ(runner_.Describe(ref, "/x/sub"), "0711 9:9");
  EXPECT_EQ(runner_.Describe(ref, "/x/l"), "0777 0:0 -> a.txt");
  // Content into a new directory: that one is ours, not the source's.
  ref = Copied({}, {.from = Tree(),
                    .src = "/d/sub",
                    .dest = "/x",
                    .dir_copy_contents = true,
                    .create_dest_path = true});
  EXPECT_EQ(runner_.Describe(ref, "/x"), "0755 0:0");
  ref = Copied({}, {.from = Tree(),
                    .src = "/d",
                    .dest = "/p/x",
                    .owner = Owner{.user = 4U},
                    .mode = 04711,
                    .create_dest_path = true,
                    .timestamp_ns = 77});
  for (const char* path : {"/p", "/p/x", "/p/x/a.txt", "/p/x/sub"}) {
    EXPECT_EQ(runner_.Describe(ref, path), "4711 4:4") << path;
    EXPECT_EQ(runner_.MtimeNs(ref, path), 77) << path;
  }
  ref = Copied({}, {.from = Tree(), .src = "/d", .dest = "/x", .mode_str = "a+rX"});
  EXPECT_EQ(runner_.Describe(ref, "/x/a.txt"), "0644 8:8");
  EXPECT_EQ(runner_.Describe(ref, "/x/sub"), "0755 9:9");
  EXPECT_NE(ErrorOf({}, {.from = Tree(), .src = "/d", .dest = "/x", .mode_str = "u=q"}), "");
}

TEST_F(FileCopyTest, Links) {
  CopyAction copy{.from = Tree(), .src = "/l", .dest = "/x"};
  EXPECT_EQ(runner_.Describe(Copied({}, copy), "/x"), "0777 0:0 -> d");
  copy.follow_symlinks = true;
  EXPECT_EQ(runner_.Read(Copied({}, copy), "/x/b.txt"), "b");
  // A link in the destination is followed, inside.
  Output base = File(
      {}, {MkdirAction{.path = "/real"}, SymlinkAction{.old_path = "/real", .new_path = "/dst"}});
  auto ref = Copied(base, {.from = Tree(), .src = "/d/b.txt", .dest = "/dst/"});
  EXPECT_EQ(runner_.Read(ref, "/real/b.txt"), "b");
}

TEST_F(FileCopyTest, Wildcards) {
  CopyAction copy{.from = Tree(),
                  .src = "/d/*.txt",
                  .dest = "/x/",
                  .create_dest_path = true,
                  .allow_wildcard = true};
  EXPECT_THAT(Paths({}, copy), ElementsAre("/x/", "/x/a.txt", "/x/b.txt"));
  copy.src = "/l/*.txt";
  copy.follow_symlinks = true;
  EXPECT_THAT(Paths({}, copy), ElementsAre("/x/", "/x/a.txt", "/x/b.txt"));
  copy.src = "/none*";
  EXPECT_EQ(ErrorOf({}, copy), "/none* not found");
  copy.allow_empty_wildcard = true;
  EXPECT_EQ(ErrorOf({}, copy), "");
}

TEST_F(FileCopyTest, IncludeAndExclude) {
  CopyAction copy{.from = Tree(),
                  .src = "/",
                  .dest = "/",
                  .dir_copy_contents = true,
                  .include_patterns = {"d/sub", "d/*.txt"},
                  .exclude_patterns = {"**/b.txt"}};
  auto ref = Copied({}, copy);
  EXPECT_THAT(runner_.List(ref), ElementsAre("/d/", "/d/a.txt", "/d/sub/", "/d/sub/c.txt"));
  EXPECT_EQ(runner_.Describe(ref, "/d"), "0711 9:9");
}

TEST_F(FileCopyTest, ReplacesOtherTypesOnlyIfTold) {
  Output base = File({}, {MkfileAction{.path = "/x", .data = "file"},
                          MkdirAction{.path = "/y/a.txt", .make_parents = true}});
  CopyAction dir_on_file{.from = Tree(), .src = "/d/sub", .dest = "/x", .dir_copy_contents = true};
  EXPECT_NE(ErrorOf(base, dir_on_file), "");
  CopyAction file_on_dir{.from = Tree(), .src = "/d", .dest = "/y", .dir_copy_contents = true};
  EXPECT_NE(ErrorOf(base, file_on_dir), "");
  file_on_dir.always_replace_existing_dest_paths = true;
  EXPECT_EQ(runner_.Read(Copied(base, file_on_dir), "/y/a.txt"), "a");
}

std::string TarOf(bool gzip) {
  archive::StringSink plain;
  archive::TarWriter tar(plain);
  EXPECT_TRUE(tar.Add({.path = "t",
                       .type = archive::EntryType::kDirectory,
                       .mode = 0750,
                       .uid = 3,
                       .gid = 4})
                  .ok());
  EXPECT_TRUE(tar.Add({.path = "t/f", .mode = 0600, .uid = 3, .gid = 4, .size = 2}).ok());
  EXPECT_TRUE(tar.WriteData("hi").ok());
  EXPECT_TRUE(tar.Add({.path = "t/h", .type = archive::EntryType::kHardlink, .link = "t/f"}).ok());
  EXPECT_TRUE(
      tar.Add({.path = "t/s", .type = archive::EntryType::kSymlink, .mode = 0777, .link = "/etc"})
          .ok());
  EXPECT_TRUE(tar.Add({.path = "deep/er/x", .mode = 0644}).ok());
  EXPECT_TRUE(tar.Finish().ok());
  if (!gzip) return plain.text();
  archive::StringSink out;
  WorkerPool pool("tar", 2);
  archive::LayerPipeline pipeline({}, out, pool, 1);
  EXPECT_TRUE(pipeline.Write(plain.text()).ok());
  EXPECT_TRUE(pipeline.Finish().ok());
  return out.text();
}

TEST_F(FileCopyTest, UnpacksArchivesIfTold) {
  for (bool gzip : {false, true}) {
    Output archives = File({}, {MkfileAction{.path = "/a.tar", .data = TarOf(gzip)},
                                MkfileAction{.path = "/plain", .data = "x"}});
    CopyAction copy{.from = archives,
                    .src = "/*",
                    .dest = "/out/",
                    .attempt_unpack = true,
                    .create_dest_path = true,
                    .allow_wildcard = true};
    auto ref = Copied({}, copy);
    EXPECT_THAT(runner_.List(ref),
                ElementsAre("/out/", "/out/deep/", "/out/deep/er/", "/out/deep/er/x", "/out/plain",
                            "/out/t/", "/out/t/f", "/out/t/h", "/out/t/s"));
    EXPECT_EQ(runner_.Describe(ref, "/out/t"), "0750 3:4");
    EXPECT_EQ(runner_.Read(ref, "/out/t/h"), "hi");
    EXPECT_EQ(runner_.Describe(ref, "/out/t/s"), "0777 0:0 -> /etc");
    copy.owner = Owner{.user = 6U};
    ref = Copied({}, copy);
    EXPECT_EQ(runner_.Describe(ref, "/out/t/f"), "0600 6:6");
    copy.attempt_unpack = false;
    EXPECT_THAT(Paths({}, copy), ElementsAre("/out/", "/out/a.tar", "/out/plain"));
  }
}

}  // namespace
}  // namespace kiln::ops
