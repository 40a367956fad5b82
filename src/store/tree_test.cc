#include "store/tree.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/ids.h"
#include "store/content_hash.h"
#include "store/testing/files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

using sys::TempDir;

TreeView ViewOf(const std::vector<std::string>& directories) {
  std::vector<std::shared_ptr<const LayerTree>> layers;
  for (const std::string& directory : directories) {
    layers.push_back(std::make_shared<LayerTree>(Must(sys::RootedPath::Open(directory))));
  }
  return TreeView(std::move(layers));
}

class TwoLayers : public testing::Test {
 protected:
  TwoLayers() {
    MakeDirectory(low());
    MakeDirectory(high());
  }
  std::string low() const { return temp_ / "low"; }
  std::string high() const { return temp_ / "high"; }
  TreeView View() const { return ViewOf({low(), high()}); }

  std::vector<std::string> Names(const std::string& path) const {
    const TreeView view = View();
    std::vector<std::string> names;
    const TreeEntry dir = Must(view.Lookup(path));
    for (const TreeEntry& entry : Must(view.Children(dir))) names.push_back(entry.node->name);
    return names;
  }

  TempDir temp_;
};

TEST_F(TwoLayers, ShowsTheUnionSorted) {
  MakeFile(low() + "/b", "old");
  MakeFile(low() + "/a", "a");
  MakeFile(high() + "/b", "newer");
  MakeFile(high() + "/c", "c");
  EXPECT_EQ(Names("/"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(Must(View().ReadFile("/b")), "newer");
  EXPECT_EQ(Must(View().ReadFile("/a")), "a");
}

TEST_F(TwoLayers, WhiteoutsHideAndAreNotShown) {
  MakeFile(low() + "/a", "a");
  MakeDirectory(low() + "/d");
  MakeFile(low() + "/d/x", "x");
  MakeWhiteout(high() + "/a");
  MakeWhiteout(high() + "/d");
  MakeWhiteout(high() + "/never");
  EXPECT_EQ(Names("/"), std::vector<std::string>{});
  EXPECT_EQ(View().Lookup("/d/x").error().code(), Code::kNotFound);
}

TEST_F(TwoLayers, OpaqueDirectoriesHideWhatLiesBelow) {
  MakeDirectory(low() + "/d");
  MakeFile(low() + "/d/old", "");
  MakeDirectory(high() + "/d");
  MakeFile(high() + "/d/new", "");
  EXPECT_EQ(Names("/d"), (std::vector<std::string>{"new", "old"}));
  MakeOpaque(high() + "/d");
  EXPECT_EQ(Names("/d"), (std::vector<std::string>{"new"}));
}

TEST_F(TwoLayers, AFileOverADirectoryHidesIt) {
  MakeDirectory(low() + "/d");
  MakeFile(low() + "/d/old", "");
  MakeFile(high() + "/d", "file");
  EXPECT_EQ(Must(View().ReadFile("/d")), "file");
  EXPECT_EQ(View().Lookup("/d/old").error().code(), Code::kNotFound);
}

TEST_F(TwoLayers, LinksStayInside) {
  MakeDirectory(low() + "/real");
  MakeFile(low() + "/real/f", "inside");
  MakeLink("/real", high() + "/abs");
  MakeLink("../../../real/f", high() + "/up");
  MakeLink("loop", high() + "/loop");
  const TreeView view = View();
  EXPECT_EQ(Must(view.ReadFile("/abs/f")), "inside");
  EXPECT_EQ(Must(view.ReadFile("up")), "inside");
  EXPECT_EQ(Must(view.Resolve("/abs/new/deep")), "/real/new/deep");
  EXPECT_EQ(Must(view.Resolve("/abs", Follow::kNo)), "/abs");
  EXPECT_EQ(view.Lookup("/loop").error().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(Must(view.Lookup("/loop", Follow::kNo)).node->IsSymlink());
}

TEST_F(TwoLayers, MissingPathsAreNamed) {
  EXPECT_EQ(View().Lookup("/x/y").error().message(), "\"/x/y\": not found");
}

TEST_F(TwoLayers, ReadsRanges) {
  MakeFile(low() + "/f", "0123456789");
  EXPECT_EQ(Must(View().ReadFile("/f", 3, 4)), "3456");
  EXPECT_EQ(Must(View().ReadFile("/f", 8)), "89");
  EXPECT_EQ(Must(View().ReadFile("/f", 20)), "");
  EXPECT_FALSE(View().ReadFile("/f", 0, 0, 5).ok());
}

TEST(TreeViewTest, ScratchIsAnEmptyRoot) {
  const TreeView view;
  const TreeEntry root = Must(view.Root());
  EXPECT_TRUE(root.node->IsDirectory());
  EXPECT_TRUE(Must(view.Children(root)).empty());
  EXPECT_FALSE(view.Lookup("/a").ok());
}

TEST(TreeViewTest, CleanAbsolute) {
  EXPECT_EQ(CleanAbsolute(""), "/");
  EXPECT_EQ(CleanAbsolute("a//b/./c/.."), "/a/b");
  EXPECT_EQ(CleanAbsolute("/../../x/"), "/x");
}

class HashTest : public testing::Test {
 protected:
  std::string Hash(const std::string& path, HashSelector selector = {}) {
    selector.path = path;
    return Must(HashPath(progress::Activity(), ViewOf({temp_.path()}), selector)).hex();
  }
  HashSelector Wildcard() {
    HashSelector selector;
    selector.wildcard = true;
    return selector;
  }
  TempDir temp_;
};

TEST_F(HashTest, EntryVectors) {
  MakeFile(temp_ / "hi", "hi");
  MakeDirectory(temp_ / "d");
  MakeLink("a", temp_ / "l");
  EXPECT_EQ(Hash("/hi"), "2422d1ec0ede58ebcfa1e7b9501ef1db829240321133847e10cf75103b0212c2");
  EXPECT_EQ(Hash("/l"), "fc5fd0791f6eb02b0a3f1de7961ca737c9ab1fa18469d9ed6491b5649c06bae6");
  const TreeView view = ViewOf({temp_.path()});
  EXPECT_EQ(Must(view.EntryDigest(Must(view.Lookup("/d")))).hex(),
            "1a2805521573cb10d73bcd51d16bfa84c8f461d68599740e35484b90b2ab1bab");
}

TEST_F(HashTest, DirectoryVector) {
  MakeDirectory(temp_ / "d");
  MakeFile(temp_ / "d/f", "x");
  MakeDirectory(temp_ / "d/g");
  MakeFile(temp_ / "d/g/z", "z");
  EXPECT_EQ(Hash("/d"), "0cbc537a1f62301eabd6a730f77b8fe8375a9d4e649c40910d9758faea47a25c");
}

TEST_F(HashTest, TimesDoNotCount) {
  MakeFile(temp_ / "f", "x");
  const std::string before = Hash("/f");
  SetMtime(temp_ / "f", 5);
  EXPECT_EQ(Hash("/f"), before);
}

TEST_F(HashTest, MissingIsNamed) {
  const auto result =
      HashPath(progress::Activity(), ViewOf({temp_.path()}), HashSelector{.path = "/x"});
  EXPECT_EQ(result.error().code(), Code::kNotFound);
  EXPECT_EQ(result.error().message(), "\"/x\": not found");
}

TEST_F(HashTest, FollowsOnlyWhenAsked) {
  MakeFile(temp_ / "hi", "hi");
  MakeLink("hi", temp_ / "l");
  EXPECT_NE(Hash("/l"), Hash("/hi"));
  EXPECT_EQ(Hash("/l", HashSelector{.follow_links = true}), Hash("/hi"));
}

TEST_F(HashTest, OneWildcardMatchOfThatNameIsTheFile) {
  MakeFile(temp_ / "hi", "hi");
  EXPECT_EQ(Hash("/hi", Wildcard()), Hash("/hi"));
  // One match of another name: a list of one.
  EXPECT_EQ(Hash("/h*", Wildcard()),
            Sha256Of(std::string("\0hi", 3) + "sha256:" + Hash("/hi")).hex());
  EXPECT_EQ(Hash("/none*", Wildcard()), Sha256Of("").hex());
}

TEST_F(HashTest, FiltersListHeadersAndFilesInKeyOrder) {
  MakeDirectory(temp_ / "d");
  MakeFile(temp_ / "d/f", "x");
  MakeFile(temp_ / "d/skip", "y");
  MakeFile(temp_ / "d.x", "z");
  HashSelector selector;
  selector.exclude = {"d/skip"};
  const TreeView view = ViewOf({temp_.path()});
  const auto digest = [&](const std::string& path) {
    return Must(view.EntryDigest(Must(view.Lookup(path)))).ToString();
  };
  std::string expected;
  for (const char* path : {"/d", "/d/f", "/d.x"}) {
    std::string key = path;
    std::replace(key.begin(), key.end(), '/', '\0');
    expected += key + digest(path);
  }
  EXPECT_EQ(Hash("/", selector), Sha256Of(expected).hex());
}

TEST_F(HashTest, IncludedFilesBringTheirParents) {
  MakeDirectory(temp_ / "a");
  MakeDirectory(temp_ / "a/b");
  MakeFile(temp_ / "a/b/want", "1");
  MakeFile(temp_ / "a/other", "2");
  HashSelector selector;
  selector.include = {"a/b/want"};
  const TreeView view = ViewOf({temp_.path()});
  const auto digest = [&](const std::string& path) {
    return Must(view.EntryDigest(Must(view.Lookup(path)))).ToString();
  };
  const std::string expected = std::string("\0a", 2) + digest("/a") + std::string("\0a\0b", 4) +
                               digest("/a/b") + std::string("\0a\0b\0want", 9) +
                               digest("/a/b/want");
  EXPECT_EQ(Hash("/", selector), Sha256Of(expected).hex());
}

TEST_F(HashTest, RequiredPathsMustBeAmongTheIncluded) {
  MakeFile(temp_ / "a", "1");
  HashSelector selector;
  selector.include = {"a"};
  selector.required_paths = {"/b"};
  const auto result = HashPath(progress::Activity(), ViewOf({temp_.path()}), selector);
  EXPECT_EQ(result.error().message(), "\"/b\": not found");
}

// As copies do: what is found below a link to a folder counts.
TEST_F(HashTest, FiltersApplyBelowALinkThatIsNamed) {
  MakeDirectory(temp_ / "real");
  MakeFile(temp_ / "real/want", "1");
  MakeFile(temp_ / "real/other", "2");
  MakeLink("real", temp_ / "soft");
  for (const bool wildcard : {false, true}) {
    HashSelector included{.wildcard = wildcard, .follow_links = true, .include = {"want"}};
    included.required_paths = {wildcard ? "/" : "/soft/want"};
    included.follows_as_copies_do = true;
    HashSelector excluded = {.wildcard = wildcard, .follow_links = true, .exclude = {"other"}};
    excluded.follows_as_copies_do = true;
    const std::string path = wildcard ? "/so*" : "/soft";
    const std::string before = Hash(path, included);
    const std::string rest = Hash(path, excluded);
    MakeFile(temp_ / "real/other", "another");
    EXPECT_EQ(Hash(path, included), before);
    EXPECT_EQ(Hash(path, excluded), rest);
    MakeFile(temp_ / "real/want", wildcard ? "3" : "4");
    EXPECT_NE(Hash(path, included), before);
    EXPECT_NE(Hash(path, excluded), rest);
    MakeFile(temp_ / "real/other", "2");
  }
}

TEST_F(HashTest, ReceivedTreesHaveAnEmptyRootHeader) {
  MakeFile(temp_ / "f", "x");
  TreeView view = ViewOf({temp_.path()});
  const Digest scanned = Must(HashPath(progress::Activity(), view, {}));
  view.set_received(true);
  const Digest received = Must(HashPath(progress::Activity(), view, {}));
  EXPECT_NE(scanned, received);
  const std::string nul(1, '\0');
  EXPECT_EQ(received, Sha256Of(nul + Sha256Of("").ToString() + nul + "f" + "sha256:" + Hash("/f")));
}

TEST(ScratchHashTest, OnlyTheRootExists) {
  const std::vector<HashSelector> root{HashSelector{}};
  EXPECT_EQ(Must(ScratchContentDigest(root)), Sha256Of(Sha256Of("").ToString()));
  const std::vector<HashSelector> other{HashSelector{.path = "/x"}};
  EXPECT_EQ(ScratchContentDigest(other).error().message(), "/x: no such file or directory");
}

TEST(LayerTreeTest, SavesWhatItLearnt) {
  const TempDir temp;
  MakeDirectory(temp / "root");
  MakeDirectory(temp / "root/d");
  MakeFile(temp / "root/d/f", "content");
  const auto root = Must(sys::RootedPath::Open(temp / "root"));
  const LayerTree tree(root);
  const TreeNode* node = Must(tree.Find("d/f"));
  const Digest digest = Must(tree.EntryDigest(*node, "d/f"));
  Must(tree.Save(temp / "index"));
  unlink((temp / "root/d/f").c_str());  // what is known is not read again
  const auto loaded = Must(LayerTree::Load(root, temp / "index"));
  const TreeNode* again = Must(loaded->Find("d/f"));
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(Must(loaded->EntryDigest(*again, "d/f")), digest);
}

TEST(LayerTreeTest, RefusesDamagedIndexes) {
  const TempDir temp;
  MakeDirectory(temp / "root");
  MakeFile(temp / "root/f", "content");
  const auto root = Must(sys::RootedPath::Open(temp / "root"));
  const LayerTree tree(root);
  Must(tree.EntryDigest(*Must(tree.Find("f")), "f"));
  Must(tree.Save(temp / "index"));
  const std::string good = Must(ReadFile(temp / "index"));
  for (size_t cut = 0; cut < good.size(); cut += 7) {
    MakeFile(temp / "index", good.substr(0, cut));
    EXPECT_FALSE(LayerTree::Load(root, temp / "index").ok()) << cut;
  }
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x41);
    MakeFile(temp / "index", bad);
    EXPECT_FALSE(LayerTree::Load(root, temp / "index").ok()) << at;
  }
}

TEST(LayerTreeTest, TakesEntriesWithoutTheDisk) {
  const TempDir temp;
  LayerTree tree(Must(sys::RootedPath::Open(temp.path())));
  tree.SetComplete();
  TreeNode dir;
  dir.mode = S_IFDIR | 0755;
  TreeNode file;
  file.mode = S_IFREG | 0644;
  Must(tree.Put("d", dir, Digest()));
  Must(tree.Put("d/z", file, Sha256Of("1")));
  Must(tree.Put("d/a", file, Sha256Of("2")));
  EXPECT_FALSE(tree.Put("no/parent", file, Digest()).ok());
  std::vector<std::string> paths;
  Must(tree.Walk([&](const std::string& path, const TreeNode&) {
    paths.push_back(path);
    return OkStatus();
  }));
  EXPECT_EQ(paths, (std::vector<std::string>{"", "d", "d/a", "d/z"}));
  EXPECT_EQ(Must(tree.EntryDigest(*Must(tree.Find("d/z")), "d/z")), Sha256Of("1"));
  Must(tree.Remove("d"));
  EXPECT_EQ(Must(tree.Find("d/z")), nullptr);
}

}  // namespace
}  // namespace kiln::store
