#include "sys/rooted_path.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/mounts.h"
#include "sys/testing/test_spawner.h"

namespace kiln::sys {
namespace {

class RootedPathTest : public testing::Test {
 protected:
  RootedPathTest() {
    EXPECT_EQ(mkdir((dir_ / "root").c_str(), 0755), 0);
    EXPECT_TRUE(WriteFileAtomically(dir_ / "secret", "outside").ok());
    root_.emplace(RootedPath::Open(dir_ / "root").value());
  }
  const RootedPath& root() { return *root_; }
  std::string Read(const std::string& path) {
    auto data = root().ReadFile(path, 1000);
    return data.ok() ? *data : data.error().ToString();
  }
  std::string Outside() { return ReadFile(dir_ / "secret").value(); }

  TempDir dir_;
  std::optional<RootedPath> root_;
};

TEST_F(RootedPathTest, AbsoluteLinksAndDotsStayInside) {
  ASSERT_TRUE(root().WriteFile("secret", "inside").ok());
  ASSERT_TRUE(root().Symlink("/secret", "absolute").ok());
  ASSERT_TRUE(root().Symlink("../../../secret", "dots").ok());
  ASSERT_TRUE(root().MakeDir("d").ok());
  ASSERT_TRUE(root().Symlink("..", "d/up").ok());
  EXPECT_EQ(Read("absolute"), "inside");
  EXPECT_EQ(Read("dots"), "inside");
  EXPECT_EQ(Read("d/up/secret"), "inside");
  EXPECT_EQ(Read("/../../secret"), "inside");
  ASSERT_TRUE(root().WriteFile("dots", "changed").ok());
  EXPECT_EQ(Read("secret"), "changed");
  EXPECT_EQ(Outside(), "outside");
}

TEST_F(RootedPathTest, MagicLinksAndZeroBytesAreRefused) {
  ASSERT_TRUE(root().MakeDir("proc").ok());
  if (::mount("proc", (dir_ / "root/proc").c_str(), "proc", 0, nullptr) != 0)
    GTEST_SKIP() << "needs root";
  EXPECT_FALSE(root().OpenFile("proc/self/root/etc/passwd", O_RDONLY).ok());
  EXPECT_EQ(root().Stat(std::string_view("a\0b", 3)).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(root().Resolve(std::string_view("a\0b", 3)).error().code(), Code::kInvalidArgument);
}

TEST_F(RootedPathTest, ReadFileRefusesWhatBlocksOrIsLarge) {
  ASSERT_EQ(mkfifo((dir_ / "root/fifo").c_str(), 0600), 0);
  EXPECT_EQ(root().ReadFile("fifo", 10).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(root().ReadFile("/", 10).error().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(root().WriteFile("large", "12345678901").ok());
  EXPECT_EQ(root().ReadFile("large", 10).error().code(), Code::kResourceExhausted);
  EXPECT_EQ(root().ReadFile("missing", 10).error().code(), Code::kNotFound);
}

TEST_F(RootedPathTest, ResolveFollowsWhatExistsAndKeepsTheRest) {
  ASSERT_TRUE(root().MakeDirs("a/b").ok());
  ASSERT_TRUE(root().Symlink("/a/b", "l").ok());
  ASSERT_TRUE(root().Symlink("../new/place", "a/dangling").ok());
  ASSERT_TRUE(root().Symlink("loop", "loop").ok());
  EXPECT_EQ(root().Resolve("l/c/../d").value(), "/a/b/d");
  EXPECT_EQ(root().Resolve("a/dangling/x").value(), "/new/place/x");
  EXPECT_EQ(root().Resolve("l", Follow::kNo).value(), "/l");
  EXPECT_EQ(root().Resolve("l/", Follow::kNo).value(), "/l");
  EXPECT_EQ(root().Resolve("l").value(), "/a/b");
  EXPECT_EQ(root().Resolve("../..").value(), "/");
  EXPECT_EQ(root().Resolve("loop").error().code(), Code::kFailedPrecondition);
}

TEST_F(RootedPathTest, MakeDirsFollowsDanglingLinksAndSaysWhatItMade) {
  ASSERT_TRUE(root().Symlink("/target/deep", "link").ok());
  EXPECT_EQ(root().MakeDirs("link/x", 0711, RootedPath::Owner{7, 8}).value(),
            (std::vector<std::string>{"/target", "/target/deep", "/target/deep/x"}));
  FileInfo info = root().Stat("target/deep").value();
  EXPECT_EQ(info.mode & 07777, 0711u);
  EXPECT_EQ(info.uid, 7u);
  EXPECT_EQ(info.gid, 8u);
  EXPECT_TRUE(root().MakeDirs("link/x").value().empty());
  ASSERT_TRUE(root().WriteFile("file", "").ok());
  EXPECT_FALSE(root().MakeDirs("file/x").ok());
  EXPECT_TRUE(root().MakeDirs("/").value().empty());
}

TEST_F(RootedPathTest, ModesDoNotDependOnTheUmask) {
  mode_t before = umask(077);
  EXPECT_TRUE(root().MakeDir("d", 01777).ok());
  EXPECT_TRUE(root().WriteFile("f", "", 0666).ok());
  umask(before);
  EXPECT_EQ(root().Stat("d").value().mode & 07777, 01777u);
  EXPECT_EQ(root().Stat("f").value().mode & 07777, 0666u);
}

TEST_F(RootedPathTest, RemovalNeverFollowsLinks) {
  ASSERT_EQ(mkdir((dir_ / "kept").c_str(), 0755), 0);
  ASSERT_TRUE(WriteFileAtomically(dir_ / "kept/file", "x").ok());
  ASSERT_TRUE(root().MakeDirs("d/e/f").ok());
  ASSERT_EQ(symlink((dir_ / "kept").c_str(), (dir_ / "root/d/e/away").c_str()), 0);
  ASSERT_TRUE(root().RemoveTree("d").ok());
  EXPECT_FALSE(root().Exists("d").value());
  EXPECT_TRUE(ReadFile(dir_ / "kept/file").ok());
  EXPECT_TRUE(root().RemoveTree("d").ok());
  EXPECT_TRUE(root().RemoveTree("no/such/thing").ok());
  EXPECT_EQ(root().Unlink("..").error().code(), Code::kInvalidArgument);
}

TEST_F(RootedPathTest, RemovalStopsAtMounts) {
  ASSERT_TRUE(root().MakeDirs("d/mounted").ok());
  auto mount = Mounter({}).MountAt({.what = TmpfsMount{}}, dir_ / "root/d/mounted");
  if (!mount.ok()) GTEST_SKIP() << mount.error().ToString();
  ASSERT_TRUE(root().WriteFile("d/mounted/precious", "x").ok());
  EXPECT_FALSE(root().RemoveTree("d").ok());
  EXPECT_EQ(Read("d/mounted/precious"), "x");
}

TEST_F(RootedPathTest, RemovesWhatLiesOnAnotherFileSystem) {
  const std::string top = dir_ / "root/mounted";
  ASSERT_EQ(mkdir(top.c_str(), 0755), 0);
  auto mount = Mounter({}).MountAt({.what = TmpfsMount{}}, top);
  if (!mount.ok()) GTEST_SKIP() << mount.error().ToString();
  ASSERT_TRUE(root().MakeDirs("mounted/d/e").ok());
  const Status removed = RemoveTree(top + "/d");
  EXPECT_TRUE(removed.ok()) << removed.error().ToString();
  EXPECT_FALSE(root().Exists("mounted/d").value());
  EXPECT_TRUE(RemoveTree(top + "/no/such/thing").ok());
}

TEST_F(RootedPathTest, RemovesTreesDeeperThanPathsMayBe) {
  Fd at = root().OpenDir("/").value();
  const std::string name(100, 'd');
  for (int depth = 0; depth < 450; ++depth) {
    ASSERT_EQ(mkdirat(at.get(), name.c_str(), 0755), 0);
    at = OpenDirAt(at.get(), name).value();
  }
  at.Reset();
  ASSERT_TRUE(root().RemoveTree("/").ok());
  EXPECT_TRUE(ReadDir(root().OpenDir("/")->get()).value().empty());
}

TEST_F(RootedPathTest, WalkIsSortedAndFollowsNothing) {
  ASSERT_TRUE(root().MakeDirs("b/c").ok());
  ASSERT_TRUE(root().WriteFile("b/a", "").ok());
  ASSERT_TRUE(root().WriteFile("b.x", "").ok());
  ASSERT_TRUE(root().MakeDirs("skip/inner").ok());
  ASSERT_TRUE(root().Symlink("b", "z").ok());
  std::string seen;
  ASSERT_TRUE(Walk(root(), "/", [&](const WalkEntry& entry) -> Result<WalkNext> {
                seen += entry.path + ",";
                return entry.name == "skip" ? WalkNext::kSkipDirectory : WalkNext::kContinue;
              }).ok());
  EXPECT_EQ(seen, ",b,b/a,b/c,b.x,skip,z,");
}

TEST_F(RootedPathTest, WalkGoesAsDeepAsItIsAllowedTo) {
  constexpr int kLevels = 20'000;
  MakeChain(dir_ / "root", "d", kLevels);
  int seen = 0;
  const WalkVisitor count = [&](const WalkEntry& entry) -> Result<WalkNext> {
    seen += entry.name == "d" ? 1 : 0;
    return WalkNext::kContinue;
  };
  ASSERT_TRUE(Walk(root(), "/", count, {.max_depth = kAnyDepth}).ok());
  EXPECT_EQ(seen, kLevels);
  const Status limited = Walk(root(), "/", count);
  ASSERT_FALSE(limited.ok());
  EXPECT_NE(limited.error().message().find("more than 4000 levels deep"), std::string::npos);
  ASSERT_TRUE(root().RemoveTree("/").ok());
}

TEST_F(RootedPathTest, WalkOfDirectoriesComesBackToEachOfThem) {
  MakeChain(dir_ / "root", "d", 300);  // more than it keeps open
  ASSERT_TRUE(root().MakeDir("d/z").ok());
  ASSERT_TRUE(root().MakeDir("d/d/z").ok());
  ASSERT_TRUE(root().WriteFile("d/y", "").ok());
  std::string seen;
  ASSERT_TRUE(Walk(root(), "/",
                   [&](const WalkEntry& entry) -> Result<WalkNext> {
                     if (entry.name != "d") seen += entry.path + ",";
                     return WalkNext::kContinue;
                   },
                   {.directories_only = true})
                  .ok());
  EXPECT_EQ(seen, ",d/d/z,d/z,");
}

TEST_F(RootedPathTest, WalkStopsWhenItsDirectoriesAreMoved) {
  MakeChain(dir_ / "root", "d", 200);
  ASSERT_TRUE(root().MakeDir("elsewhere").ok());
  std::string deep = "d";
  for (int level = 1; level < 50; ++level) deep += "/d";
  const Status walked = Walk(root(), "/", [&](const WalkEntry& entry) -> Result<WalkNext> {
    // From below the directories that are still open to beside those that are not.
    if (entry.path.size() == 399) (void)root().Rename(deep, "elsewhere/d").ok();
    return WalkNext::kContinue;
  });
  ASSERT_FALSE(walked.ok());
  EXPECT_EQ(walked.error().code(), Code::kAborted);
}

TEST_F(RootedPathTest, XattrsTimesOwners) {
  ASSERT_TRUE(root().WriteFile("f", "").ok());
  ASSERT_TRUE(root().Symlink("f", "l").ok());
  if (auto set = root().SetXattr("f", "trusted.kiln", std::string(5000, 'v').substr(0, 2000));
      !set.ok()) {
    GTEST_SKIP() << set.error().ToString();
  }
  EXPECT_EQ(root().GetXattrs("f").value().at("trusted.kiln").size(), 2000u);
  EXPECT_TRUE(root().GetXattrs("l").value().empty());
  ASSERT_TRUE(root().RemoveXattr("f", "trusted.kiln").ok());
  EXPECT_TRUE(root().GetXattrs("f").value().empty());
  WallTime time = FromUnixNanos(-1'500'000'000);
  ASSERT_TRUE(root().SetTimes("l", time, time).ok());
  EXPECT_EQ(root().Stat("l").value().mtime, time);
  EXPECT_NE(root().Stat("f").value().mtime, time);
  ASSERT_TRUE(root().Chown("l", 5, 6).ok());
  EXPECT_EQ(root().Stat("l").value().uid, 5u);
  EXPECT_EQ(root().Stat("f").value().uid, 0u);
  ASSERT_TRUE(root().Chmod("f", 04711).ok());
  ASSERT_TRUE(root().Chmod("l", 0).ok());
  EXPECT_EQ(root().Stat("f").value().mode & 07777, 04711u);
  Fd dir = root().OpenDir("/").value();
  ASSERT_TRUE(ChmodAt(dir.get(), "f", 0600).ok());
  ASSERT_TRUE(ChmodAt(dir.get(), "l", 0111).ok());
  EXPECT_EQ(root().Stat("f").value().mode & 07777, 0600u);
}

TEST_F(RootedPathTest, SubIsARootOfItsOwn) {
  ASSERT_TRUE(root().MakeDirs("sub/dir").ok());
  ASSERT_TRUE(root().WriteFile("sub/f", "sub").ok());
  ASSERT_TRUE(root().WriteFile("f", "top").ok());
  ASSERT_TRUE(root().Symlink("/f", "sub/dir/l").ok());
  RootedPath sub = root().Sub("sub").value();
  EXPECT_EQ(sub.ReadFile("dir/l", 10).value(), "sub");
  EXPECT_EQ(sub.ReadFile("../f", 10).value(), "sub");
  EXPECT_EQ(Read("sub/dir/l"), "top");
}

}  // namespace
}  // namespace kiln::sys
