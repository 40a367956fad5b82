#include "source/local_source.h"

#include <unistd.h>

#include <filesystem>

#include "source/testing/shared_folders.h"
#include "source/testing/source_fixture.h"
#include "store/content_hash.h"

namespace kiln::source {
namespace {

using store::Must;

class LocalSourceTest : public SourceFixture {
 protected:
  LocalSourceTest() {
    store::MakeDirectory(folder_);
    store::MakeDirectory(folder_ + "/d");
    store::MakeFile(folder_ + "/d/f", "x");
    store::MakeDirectory(folder_ + "/d/g");
    store::MakeFile(folder_ + "/d/g/z", "z");
    store::MakeLink("d/f", folder_ + "/link");
    Share("s1", &folders_);
  }
  ~LocalSourceTest() override {
    for (const auto& id : shared_) sessions_.ShareTrees(id, nullptr);
  }

  void Share(const std::string& id, filesync::TreeSource* trees, const std::string& key = "key") {
    sessions_.ShareTrees(id, trees);
    Must(sessions_.Add({.id = id, .shared_key = key, .methods = {}}, nullptr, {}, {}));
    shared_.push_back(id);
  }
  Result<store::SnapshotRef> Fetch(const std::vector<std::string>& sessions = {"s1"}) {
    return Must(sources_->Make(spec_, oci::HostPlatform()))->Fetch(As(sessions));
  }
  std::string Hash(const store::SnapshotRef& ref, const std::string& path = "/") {
    return Must(store::HashPath({}, Must(store_->Tree(ref)), {.path = path})).ToString();
  }

  static void Own(const std::string& path, uid_t user, gid_t group) {
    ASSERT_EQ(chown(path.c_str(), user, group), 0);
  }

  const std::string folder_ = temp_ / "context";
  SharedFolders folders_{{{"context", folder_}, {"prefix-context", folder_}}};
  std::vector<std::string> shared_;
  llb::LocalSource spec_{.name = "context"};
};

TEST_F(LocalSourceTest, ReceivesAFolder) {
  const store::SnapshotRef ref = Must(Fetch());
  const store::TreeView tree = Must(store_->Tree(ref));
  EXPECT_EQ(Must(tree.ReadFile("/d/f")), "x");
  EXPECT_EQ(Must(tree.ReadFile("/link")), "x");
  EXPECT_EQ(Must(tree.Lookup("/d/f")).node->uid, 0U);
  // Upstream's vector: d/{f="x", g/{z="z"}}, all root 0755/0644.
  EXPECT_EQ(Hash(ref, "/d"),
            "sha256:0cbc537a1f62301eabd6a730f77b8fe8375a9d4e649c40910d9758faea47a25c");
}

TEST_F(LocalSourceTest, FollowsEveryChange) {
  std::string last = Hash(Must(Fetch()));
  const auto step = [&](const char* what, const std::function<void()>& change) {
    change();
    const std::string incremental = Hash(Must(Fetch()));
    spec_.shared_key_hint = what;  // a directory of its own: from scratch
    const std::string fresh = Hash(Must(Fetch()));
    spec_.shared_key_hint.clear();
    EXPECT_EQ(incremental, fresh) << what;
    EXPECT_NE(incremental, last) << what;
    last = incremental;
  };
  namespace fs = std::filesystem;
  step("new file", [&] { store::MakeFile(folder_ + "/d/new", "n"); });
  step("new content", [&] { store::MakeFile(folder_ + "/d/f", "longer"); });
  step("mode", [&] { fs::permissions(folder_ + "/d/f", fs::perms(0755)); });
  step("mode of a folder", [&] { fs::permissions(folder_ + "/d", fs::perms(0700)); });
  step("mode of a folder in it", [&] { fs::permissions(folder_ + "/d/g", fs::perms(0750)); });
  if (geteuid() == 0) {
    folders_.ShowOwners();
    step("owner of a folder", [&] { Own(folder_ + "/d", 7, 0); });
    step("group of a folder in it", [&] { Own(folder_ + "/d/g", 0, 8); });
  }
  step("removed", [&] { fs::remove_all(folder_ + "/d/g"); });
  step("file for directory", [&] { store::MakeFile(folder_ + "/d/g", "now a file"); });
  step("directory for file", [&] {
    fs::remove(folder_ + "/d/g");
    store::MakeDirectory(folder_ + "/d/g");
    store::MakeFile(folder_ + "/d/g/deep", "d");
  });
  step("hard link",
       [&] { ASSERT_EQ(link((folder_ + "/d/f").c_str(), (folder_ + "/e").c_str()), 0); });
  step("link target", [&] {
    fs::remove(folder_ + "/link");
    store::MakeLink("elsewhere", folder_ + "/link");
  });
  step("linked content", [&] { store::MakeFile(folder_ + "/d/f", "changed for both"); });
  EXPECT_EQ(Hash(Must(Fetch())), last);
}

// Of what is asked for by name: each time anew, since a link, what it leads to and which files that
// needs may all have changed.
TEST_F(LocalSourceTest, WhatALinkLeadsToIsAskedForAgain) {
  spec_.follow_paths = {"link"};
  const auto read = [&] {
    const store::SnapshotRef ref = Must(Fetch());
    const store::TreeView tree = Must(store_->Tree(ref));
    std::string found = Must(tree.ReadFile("/link"));
    for (const char* path : {"/d/f", "/d/g/z"}) {
      if (tree.Lookup(path, store::Follow::kNo).ok()) found += std::string(" ") + path;
    }
    return found;
  };
  EXPECT_EQ(read(), "x /d/f");
  store::MakeFile(folder_ + "/d/f", "changed");
  EXPECT_EQ(read(), "changed /d/f");
  std::filesystem::remove(folder_ + "/link");
  store::MakeLink("d/g/z", folder_ + "/link");
  EXPECT_EQ(read(), "z /d/g/z");
  // One more link on the way.
  std::filesystem::remove(folder_ + "/d/g/z");
  store::MakeLink("../f", folder_ + "/d/g/z");
  EXPECT_EQ(read(), "changed /d/f /d/g/z");
}

TEST_F(LocalSourceTest, AnUnchangedFolderSendsNoContent) {
  class Counter final : public progress::Sink {
   public:
    void OnVertex(const progress::Vertex&) override {}
    void OnStatus(const progress::VertexStatus& status) override {
      name = status.id;
      bytes = status.current;
    }
    void OnLog(const progress::VertexLog&) override {}
    void OnWarning(const progress::VertexWarning&) override {}
    std::string name;
    int64_t bytes = 0;
  };
  store::MakeFile(folder_ + "/big", std::string(100'000, 'b'));
  const auto run = [&] {
    progress::Activity activity = As({"s1"});
    const auto counter = std::make_shared<Counter>();
    activity.sink = counter;
    Must(Must(sources_->Make(spec_, oci::HostPlatform()))->Fetch(activity));
    EXPECT_EQ(counter->name, "transferring context:");
    return counter->bytes;
  };
  EXPECT_GT(run(), 100'000);
  EXPECT_LT(run(), 2'000);
  spec_.differ = llb::Differ::kNone;
  EXPECT_GT(run(), 100'000);
}

TEST_F(LocalSourceTest, FiltersAtTheClient) {
  spec_.include_patterns = {"d/f"};
  const store::TreeView tree = Must(store_->Tree(Must(Fetch())));
  EXPECT_TRUE(tree.Lookup("/d/f").ok());
  EXPECT_FALSE(tree.Lookup("/d/g").ok());
}

TEST_F(LocalSourceTest, ABrokenTransferLeavesNothingBehind) {
  Must(Fetch());
  store::MakeFile(folder_ + "/d/f", "new content");
  folders_.BreakAfter(3);
  auto broken = Fetch();
  ASSERT_FALSE(broken.ok());
  EXPECT_EQ(broken.error().ToString(), "the stream broke");
  const store::TreeView tree = Must(store_->Tree(Must(Fetch())));
  EXPECT_EQ(Must(tree.ReadFile("/d/f")), "new content");
}

TEST_F(LocalSourceTest, TakesTheSessionThatSharesTheFolder) {
  SharedFolders nothing{{}};
  Share("s0", &nothing, "other");
  EXPECT_TRUE(Fetch({"s0", "s1"}).ok());
  auto refused = Fetch({"s0"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().ToString(), "no access allowed to dir \"context\"");
  auto none = Fetch({});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().ToString(), "could not access local files without session");
  spec_.session_id = "s1";
  EXPECT_TRUE(Fetch({}).ok());
  spec_.session_id = "prefix:s1";
  EXPECT_TRUE(Fetch({}).ok());
}

TEST_F(LocalSourceTest, KeyMeansOneSession) {
  const SourcePtr source = Must(sources_->Make(spec_, oci::HostPlatform()));
  const SourceKey one = Must(source->Key(As({"s1"}), 0));
  EXPECT_TRUE(one.last);
  EXPECT_TRUE(one.key.starts_with("session:context:sha256:")) << one.key;
  EXPECT_NE(Must(source->Key(As({"s2"}), 0)).key, one.key);
  // One that is gone means the same to all that come after.
  spec_.session_id = "s0";
  const SourcePtr gone = Must(sources_->Make(spec_, oci::HostPlatform()));
  const SourceKey key = Must(gone->Key(As({"s1"}), 0));
  EXPECT_FALSE(key.key.starts_with("session:")) << key.key;
  EXPECT_EQ(Must(gone->Key(As({"s2"}), 0)).key, key.key);
}

TEST_F(LocalSourceTest, TwoBuildsAtOnceGetDirectoriesOfTheirOwn) {
  const store::SnapshotRef one = Must(Fetch());
  store::MakeFile(folder_ + "/d/f", "second");
  const store::SnapshotRef two = Must(Fetch());
  EXPECT_EQ(Must(Must(store_->Tree(one)).ReadFile("/d/f")), "x");
  EXPECT_EQ(Must(Must(store_->Tree(two)).ReadFile("/d/f")), "second");
}

}  // namespace
}  // namespace kiln::source
