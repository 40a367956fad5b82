#include "store/named_dirs.h"

#include <future>
#include <map>
#include <thread>

#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

TEST_F(StoreTest, CacheMountsKeepTheirContent) {
  {
    NamedDir dir = Must(store_->OpenNamedDir(Activity(), Named("cache:go", Sharing::kShared)));
    EXPECT_TRUE(dir.is_new());
    MakeFile(dir.path() + "/f", "kept");
    const NamedDir same =
        Must(store_->OpenNamedDir(Activity(), Named("cache:go", Sharing::kShared)));
    EXPECT_EQ(same.path(), dir.path());
  }
  Crash();
  const NamedDir dir = Must(store_->OpenNamedDir(Activity(), Named("cache:go", Sharing::kShared)));
  EXPECT_FALSE(dir.is_new());
  EXPECT_EQ(Must(ReadFile(dir.path() + "/f")), "kept");
}

TEST_F(StoreTest, PrivateDirectoriesMultiplyAndLockedOnesWait) {
  const NamedDir one = Must(store_->OpenNamedDir(Activity(), Named("p", Sharing::kPrivate)));
  const NamedDir two = Must(store_->OpenNamedDir(Activity(), Named("p", Sharing::kPrivate)));
  EXPECT_NE(one.path(), two.path());

  std::optional<NamedDir> holder =
      Must(store_->OpenNamedDir(Activity(), Named("l", Sharing::kLocked)));
  const std::string path = holder->path();
  std::thread waiter([&] {
    const NamedDir mine = Must(store_->OpenNamedDir(Activity(), Named("l", Sharing::kLocked)));
    EXPECT_EQ(mine.path(), path);
  });
  holder.reset();
  waiter.join();

  holder = Must(store_->OpenNamedDir(Activity(), Named("l", Sharing::kLocked)));
  CancelSource cancel;
  Activity activity;
  activity.cancel = cancel.token();
  std::thread cancelled([&] {
    EXPECT_EQ(store_->OpenNamedDir(activity, Named("l", Sharing::kLocked)).error().code(),
              Code::kCancelled);
  });
  cancel.Cancel();
  cancelled.join();
}

TEST_F(StoreTest, RetiringLeavesTheOldOneToItsUsers) {
  std::optional<NamedDir> old =
      Must(store_->OpenNamedDir(Activity(), Named("c", Sharing::kShared)));
  Must(store_->RetireNamedDirs("c", /*for_any_initial=*/false));
  const NamedDir fresh = Must(store_->OpenNamedDir(Activity(), Named("c", Sharing::kShared)));
  EXPECT_NE(fresh.path(), old->path());
  const std::string path = old->path();
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  old.reset();
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  const NamedDir again = Must(store_->OpenNamedDir(Activity(), Named("c", Sharing::kShared)));
  EXPECT_EQ(again.path(), fresh.path());
}

TEST_F(StoreTest, RetiringForAnyInitialContent) {
  const std::string id(25, 'a');
  std::map<std::string, std::string> before;
  const auto path_of = [&](const std::string& key) {
    return Must(store_->OpenNamedDir(Activity(), Named(key, Sharing::kShared))).path();
  };
  const std::vector<std::string> keys = {"c", "c:" + id, "c:other:" + id, "c:short", "cc:" + id};
  for (const std::string& key : keys) before[key] = path_of(key);
  Must(store_->RetireNamedDirs("c", /*for_any_initial=*/true));
  std::vector<std::string> renewed;
  for (const std::string& key : keys)
    if (path_of(key) != before[key]) renewed.push_back(key);
  EXPECT_EQ(renewed, (std::vector<std::string>{"c", "c:" + id}));
}

TEST_F(StoreTest, DirtyContextsAreThrownAway) {
  NamedDirOptions options = Named("local:x", Sharing::kPrivate);
  options.keep_if_dirty = false;
  options.type = kTypeLocalSource;
  {
    NamedDir dir = Must(store_->OpenNamedDir(Activity(), options));
    Must(dir.MarkDirty());
    MakeFile(dir.path() + "/f", "1");
    Must(dir.MarkClean());
  }
  Reopen();
  {
    NamedDir dir = Must(store_->OpenNamedDir(Activity(), options));
    EXPECT_EQ(Must(ReadFile(dir.path() + "/f")), "1");
    Must(dir.MarkDirty());
    MakeFile(dir.path() + "/half", "1");
    std::filesystem::copy(temp_ / "root", temp_ / "copy", std::filesystem::copy_options::recursive);
  }
  store_.reset();
  std::filesystem::remove_all(temp_ / "root");
  std::filesystem::rename(temp_ / "copy", temp_ / "root");
  Open();
  EXPECT_TRUE(Must(store_->OpenNamedDir(Activity(), options)).is_new());
}

TEST_F(StoreTest, FrozenContextsAreSnapshots) {
  NamedDirOptions options = Named("local:x", Sharing::kPrivate);
  NamedDir dir = Must(store_->OpenNamedDir(Activity(), options));
  const std::string path = dir.path();
  MakeFile(path + "/f", "context");
  SnapshotRef frozen = Must(store_->Freeze(std::move(dir), true));
  EXPECT_TRUE(frozen.is_ephemeral());
  EXPECT_EQ(Must(Must(store_->Tree(frozen)).ReadFile("/f")), "context");
  EXPECT_NE(Must(store_->OpenNamedDir(Activity(), options)).path(), path);
  // Building on it makes a layer of its own, sharing the inodes.
  const SnapshotRef built = CommitFiles(*store_, frozen, Files{{"/g", "more"}});
  frozen = SnapshotRef();
  EXPECT_EQ(Must(Must(store_->Tree(built)).ReadFile("/f")), "context");
  struct stat a, b;
  ASSERT_EQ(stat((path + "/f").c_str(), &a), 0);
  ASSERT_EQ(stat((Must(store_->LayerDirs(built))[0] + "/f").c_str(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
}

// What a new directory begins with may be far away. Nobody else waits for it but those of that
// name, and they may give up.
TEST_F(StoreTest, ADirectoryBeingMadeHoldsUpNobodyElse) {
  const LazyLayer layer = MakeLazy({{"f", "far"}});
  NamedDirOptions slow = Named("slow", Sharing::kShared);
  slow.initial = Must(store_->ImportChain(std::span(&layer, 1)));
  std::promise<void> begun;
  std::promise<void> go_on;
  source_.before = [&] {
    begun.set_value();
    go_on.get_future().wait();
  };
  std::thread maker([&] {
    const NamedDir made = Must(store_->OpenNamedDir(Activity(), slow));
    EXPECT_EQ(Must(ReadFile(made.path() + "/f")), "far");
  });
  begun.get_future().wait();
  Must(store_->OpenNamedDir(Activity(), Named("other", Sharing::kShared)));
  CancelSource cancel;
  Activity activity;
  activity.cancel = cancel.token();
  std::thread waiter(
      [&] { EXPECT_EQ(store_->OpenNamedDir(activity, slow).error().code(), Code::kCancelled); });
  cancel.Cancel();
  waiter.join();
  go_on.set_value();
  maker.join();
}

TEST_F(StoreTest, ADirectoryThatCannotBeMadeLeavesNothing) {
  const LazyLayer layer = MakeLazy({{"f", "far"}});
  source_.blobs.clear();
  NamedDirOptions options = Named("c", Sharing::kShared);
  options.initial = Must(store_->ImportChain(std::span(&layer, 1)));
  EXPECT_FALSE(store_->OpenNamedDir(Activity(), options).ok());
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
  options.initial = SnapshotRef();
  EXPECT_TRUE(Must(store_->OpenNamedDir(Activity(), options)).is_new());
}

}  // namespace
}  // namespace kiln::store
