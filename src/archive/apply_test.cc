#include "archive/apply.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ids.h"

namespace kiln::archive {
namespace {

class ApplyTest : public testing::Test {
 protected:
  void SetUp() override {
    base_ = testing::TempDir() + "/apply-" + NewId();
    dir_ = base_ + "/root";
    ASSERT_EQ(::mkdir(base_.c_str(), 0755), 0);
    ASSERT_EQ(::mkdir(dir_.c_str(), 0755), 0);
    root_.emplace(*sys::RootedPath::Open(dir_));
  }
  void TearDown() override {
    root_.reset();
    EXPECT_TRUE(sys::RemoveTree(base_).ok());
  }

  static TarEntry Entry(EntryType type, std::string path, uint32_t mode = 0644,
                        std::string link = {}) {
    TarEntry entry;
    entry.type = type;
    entry.path = std::move(path);
    entry.mode = mode;
    entry.link = std::move(link);
    entry.mtime = WallTime(std::chrono::seconds(1'600'000'000));
    return entry;
  }
  void Add(TarEntry entry, std::string_view data = {}) {
    entry.size = static_cast<int64_t>(data.size());
    ASSERT_TRUE(writer_.Add(entry).ok());
    ASSERT_TRUE(writer_.WriteData(data).ok());
  }
  Result<ApplyResult> Apply() {
    EXPECT_TRUE(writer_.Finish().ok());
    std::string tar = std::move(sink_.text());
    sink_.text().clear();
    StringSource source(tar);
    return ApplyLayer(source, *root_, options_, CancelToken());
  }
  std::string Xattr(const std::string& path, const std::string& name) {
    auto all = root_->GetXattrs(path);
    return all.ok() && all->contains(name) ? all->at(name) : "";
  }

  std::string base_;
  std::string dir_;
  std::optional<sys::RootedPath> root_;
  StringSink sink_;
  TarWriter writer_{sink_};
  ApplyOptions options_;
};

TEST_F(ApplyTest, UnpacksEveryKindWithItsAttributes) {
  Add(Entry(EntryType::kDirectory, "d", 01777));
  TarEntry file = Entry(EntryType::kFile, "d/f", 04755);
  file.uid = 12;
  file.gid = 34;
  file.xattrs = {{"user.x", "1"}, {"trusted.overlay.opaque", "y"}};
  Add(file, "data");
  Add(Entry(EntryType::kHardlink, "h", 0644, "d/f"));
  Add(Entry(EntryType::kSymlink, "s", 0777, "/etc/../d"));
  Add(Entry(EntryType::kFifo, "p", 0600));
  auto device = Entry(EntryType::kCharDevice, "null", 0666);
  device.device_major = 1;
  device.device_minor = 3;
  Add(device);
  Add(Entry(EntryType::kFile, "missing/parent/x"));
  std::vector<std::string> seen;
  options_.on_entry = [&](const AppliedEntry& applied) {
    seen.push_back(applied.entry.path);
    if (applied.entry.path == "d/f") {
      EXPECT_EQ(applied.content, Sha256Of("data"));
    }
    return OkStatus();
  };
  auto result = Apply();
  ASSERT_TRUE(result.ok()) << result.error().ToString();
  EXPECT_EQ(result->bytes, 4);
  EXPECT_EQ(seen.size(), 7U);
  auto info = *root_->Stat("d/f");
  EXPECT_EQ(info.mode & 07777, 0644U);
  EXPECT_EQ(info.uid, 0U);
  EXPECT_EQ(info.nlink, 2U);
  EXPECT_EQ(info.mtime, WallTime(std::chrono::seconds(1'600'000'000)));
  EXPECT_EQ(root_->Stat("d")->mtime, info.mtime);
  EXPECT_EQ(root_->Stat("d")->mode & 07777, 01777U);
  EXPECT_EQ(Xattr("d/f", "user.x"), "1");
  EXPECT_EQ(Xattr("d/f", "trusted.overlay.opaque"), "");
  EXPECT_EQ(*root_->ReadLink("s"), "/etc/../d");
  EXPECT_TRUE(root_->Stat("missing/parent")->IsDirectory());
}

TEST_F(ApplyTest, TurnsWhiteoutsIntoOverlayForm) {
  Add(Entry(EntryType::kFile, "a/.wh.gone"));
  Add(Entry(EntryType::kFile, "b/.wh..wh..opq"));
  Add(Entry(EntryType::kFile, "c"), "mine");
  Add(Entry(EntryType::kFile, ".wh.c"));  // meant for the layers below only
  Add(Entry(EntryType::kFile, ".wh.d"));
  Add(Entry(EntryType::kDirectory, "d", 0755));
  ASSERT_TRUE(Apply().ok());
  EXPECT_TRUE(root_->Stat("a/gone")->IsWhiteout());
  EXPECT_EQ(Xattr("b", "trusted.overlay.opaque"), "y");
  EXPECT_EQ(*root_->ReadFile("c", 10), "mine");
  EXPECT_EQ(Xattr("d", "trusted.overlay.opaque"), "y");
}

TEST_F(ApplyTest, DeletesWithoutOverlay) {
  options_.overlay_whiteouts = false;
  Add(Entry(EntryType::kFile, "dir/old"));
  Add(Entry(EntryType::kFile, "dir/sub/old"));
  Add(Entry(EntryType::kFile, "gone"));
  ASSERT_TRUE(Apply().ok());
  Add(Entry(EntryType::kFile, "dir/sub/new"));
  Add(Entry(EntryType::kFile, "dir/.wh..wh..opq"));
  Add(Entry(EntryType::kFile, ".wh.gone"));
  ASSERT_TRUE(Apply().ok());
  EXPECT_FALSE(*root_->Exists("dir/old"));
  EXPECT_FALSE(*root_->Exists("dir/sub/old"));
  EXPECT_TRUE(*root_->Exists("dir/sub/new"));
  EXPECT_FALSE(*root_->Exists("gone"));
}

TEST_F(ApplyTest, StaysInsideTheRoot) {
  ASSERT_TRUE(WriteFileAtomically(base_ + "/outside", "safe").ok());
  Add(Entry(EntryType::kSymlink, "up", 0777, ".."));
  Add(Entry(EntryType::kSymlink, "abs", 0777, base_));
  Add(Entry(EntryType::kFile, "up/outside"), "evil");
  ASSERT_TRUE(Apply().ok());
  EXPECT_EQ(*ReadFile(base_ + "/outside"), "safe");
  EXPECT_EQ(*root_->ReadFile("outside", 10), "evil");  // ".." of the root is the root

  Add(Entry(EntryType::kHardlink, "stolen", 0644, "up/nothing"));
  EXPECT_FALSE(Apply().ok());
  for (std::string bad : {".wh...", ".wh..", ".wh.", "x/.wh..."}) {
    Add(Entry(EntryType::kFile, bad));
    auto result = Apply();
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_NE(result.error().ToString().find("whiteout"), std::string::npos);
  }
  Add(Entry(EntryType::kSymlink, "loop", 0777, "loop"));
  Add(Entry(EntryType::kFile, "loop/x"));
  EXPECT_FALSE(Apply().ok());
  EXPECT_EQ(*ReadFile(base_ + "/outside"), "safe");
}

TEST_F(ApplyTest, StopsBombsAndForgedWhiteouts) {
  options_.max_bytes = 5;
  Add(Entry(EntryType::kFile, "big"), "123456");
  EXPECT_EQ(Apply().error().code(), Code::kResourceExhausted);
  options_.max_bytes = 100;
  Add(Entry(EntryType::kCharDevice, "forged"));
  EXPECT_EQ(Apply().error().code(), Code::kInvalidArgument);
}

TEST_F(ApplyTest, WhatWeMayNotMakeIsLeftOut) {
  options_.privileges = {.userxattr = true, .can_chown = false, .can_mknod = false};
  TarEntry file = Entry(EntryType::kFile, "f", 04755);
  file.uid = 12;
  Add(file, "data");
  TarEntry device = Entry(EntryType::kCharDevice, "null", 0666);
  device.device_major = 1;
  device.device_minor = 3;
  Add(device);
  Add(Entry(EntryType::kFile, "d/.wh..wh..opq"));
  Add(Entry(EntryType::kFile, ".wh.gone"));
  const auto result = Apply();
  ASSERT_TRUE(result.ok()) << result.error().ToString();
  EXPECT_EQ(root_->Stat("f")->uid, geteuid());
  EXPECT_EQ(root_->Stat("f")->mode & 07777, 04755U);
  EXPECT_FALSE(*root_->Exists("null"));
  EXPECT_EQ(Xattr("d", "user.overlay.opaque"), "y");
  EXPECT_EQ(Xattr("d", "trusted.overlay.opaque"), "");
  EXPECT_TRUE(root_->Stat("gone")->IsWhiteout());
}

// One right does not stand for another.
TEST_F(ApplyTest, OwnersAreKeptWhereOnlyDevicesCannotBeMade) {
  options_.privileges = {.userxattr = true, .can_mknod = false};
  TarEntry file = Entry(EntryType::kFile, "f");
  file.uid = 12;
  Add(file, "data");
  ASSERT_TRUE(Apply().ok());
  EXPECT_EQ(root_->Stat("f")->uid, 12U);
}

TEST_F(ApplyTest, ParentsTakeTheirAttributesFromBelow) {
  options_.parent_attributes = [](const std::string& path) -> std::optional<TarEntry> {
    if (path != "opt") return std::nullopt;
    TarEntry entry = Entry(EntryType::kDirectory, path, 0700);
    entry.uid = 5;
    return entry;
  };
  Add(Entry(EntryType::kFile, "opt/tool/x"));
  ASSERT_TRUE(Apply().ok());
  EXPECT_EQ(root_->Stat("opt")->mode & 07777, 0700U);
  EXPECT_EQ(root_->Stat("opt")->uid, 5U);
  EXPECT_EQ(root_->Stat("opt/tool")->mode & 07777, 0755U);
}

// One layer below, without links of directories.
class OneBelow final : public FilesBelow {
 public:
  OneBelow(sys::RootedPath below, const sys::RootedPath& layer)
      : below_(std::move(below)), layer_(layer) {}
  Result<Found> Find(const std::string& path) override {
    if (auto mine = layer_.Stat(path); mine.ok() && !mine->IsWhiteout()) return Found{path, true};
    TRY_ASSIGN(const bool hidden, layer_.Exists(path));
    if (hidden || !below_.Stat(path).ok()) return NotFound("no such file");
    return Found{path, false};
  }
  Result<Place> Copy(const std::string& path) override {
    ++copies;
    return Place{below_.fd(), path};
  }
  int copies = 0;

 private:
  sys::RootedPath below_;
  const sys::RootedPath& layer_;
};

TEST_F(ApplyTest, HardLinksReachFilesOfTheLayersBelow) {
  const std::string below = base_ + "/below";
  ASSERT_EQ(::mkdir(below.c_str(), 0755), 0);
  for (const char* name : {"/kept", "/gone", "/replaced"})
    ASSERT_TRUE(WriteFileAtomically(below + name, name).ok());
  OneBelow files(*sys::RootedPath::Open(below), *root_);
  Add(Entry(EntryType::kHardlink, "a", 0600, "kept"));
  const auto alone = Apply();
  ASSERT_FALSE(alone.ok());
  EXPECT_NE(alone.error().ToString().find("link to \"kept\""), std::string::npos);

  options_.files_below = &files;
  Add(Entry(EntryType::kHardlink, "a", 0600, "kept"));
  Add(Entry(EntryType::kHardlink, "b", 0640, "kept"));
  Add(Entry(EntryType::kHardlink, "c", 0600, "gone"));
  Add(Entry(EntryType::kFile, ".wh.gone"));
  Add(Entry(EntryType::kHardlink, "d", 0600, "replaced"));
  Add(Entry(EntryType::kFile, "replaced"), "mine");
  const auto applied = Apply();
  ASSERT_TRUE(applied.ok()) << applied.error().ToString();
  EXPECT_EQ(root_->Stat("a")->ino, root_->Stat("kept")->ino);
  EXPECT_EQ(root_->Stat("b")->ino, root_->Stat("kept")->ino);
  EXPECT_EQ(root_->Stat("kept")->mode & 07777, 0640U);
  EXPECT_EQ(*root_->ReadFile("c", 10), "/gone");
  EXPECT_TRUE(root_->Stat("gone")->IsWhiteout());
  EXPECT_EQ(*root_->ReadFile("d", 10), "/replaced");
  EXPECT_EQ(*root_->ReadFile("replaced", 10), "mine");
  // What is not below either is an error still.
  Add(Entry(EntryType::kHardlink, "e", 0600, "none"));
  EXPECT_FALSE(Apply().ok());
}

TEST_F(ApplyTest, LaterEntriesReplaceEarlierOnes) {
  Add(Entry(EntryType::kDirectory, "x", 0755));
  Add(Entry(EntryType::kFile, "x/inner"));
  Add(Entry(EntryType::kFile, "x"), "file now");
  Add(Entry(EntryType::kFile, "y"), "first");
  Add(Entry(EntryType::kFile, "y"), "second");
  ASSERT_TRUE(Apply().ok());
  EXPECT_EQ(*root_->ReadFile("x", 100), "file now");
  EXPECT_EQ(*root_->ReadFile("y", 100), "second");
}

}  // namespace
}  // namespace kiln::archive
