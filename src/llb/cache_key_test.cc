#include "llb/cache_key.h"

#include <gtest/gtest.h>

#include "llb/build.h"
#include "llb/caps.h"
#include "llb/marshal.h"
#include "llb/source_key.h"

namespace kiln::llb {
namespace {

constexpr char kRootSelector[] = "8a5edab282632443219e051e4ade2d1d5bbc671c781051bf1437897cbdfea0f1";

Vertex LastVertex(const Output& output) {
  auto definition = Marshal(output);
  EXPECT_TRUE(definition.ok()) << definition.error().ToString();
  auto graph = Load(*definition);
  EXPECT_TRUE(graph.ok()) << graph.error().ToString();
  return graph->vertices.back();
}

Output Base() { return Source({"docker-image://a", {}}); }
Output Context() { return Source({"local://context", {}}); }

const VertexOptions kAmd64 = {.platform = oci::Platform{.os = "linux", .architecture = "amd64"}};

TEST(CacheKeyTest, Exec) {
  Vertex vertex = LastVertex(Exec({.root = Base(),
                                   .args = {"/bin/sh", "-c", "echo a >/a && b"},
                                   .env = {"PATH=/bin"},
                                   .proxy_env = ProxyEnv{.http_proxy = "http://x"}},
                                  kAmd64)
                                 .root);
  EXPECT_EQ(KeyPreimage(vertex).value(),
            R"({"Type":"buildkit.exec.v0","Exec":{"meta":{"args":["/bin/sh","-c","echo a \u003e/a )"
            R"(\u0026\u0026 b"],"env":["PATH=/bin"],"cwd":"/","removeMountStubsRecursive":true}},)"
            R"("OS":"linux","Arch":"amd64"})");
  KeyMap map = KeyMapOf(vertex).value();
  EXPECT_EQ(map.digest.hex(), "3dfc2f43e33e31f5bb0765ad8231e8b07b2d305eea51e976ab97c772e7f5c25d");
  ASSERT_EQ(map.inputs.size(), 1U);
  EXPECT_EQ(map.inputs[0].selector->hex(), kRootSelector);
  EXPECT_FALSE(map.inputs[0].content);
}

TEST(CacheKeyTest, ExecKeepsOnlyCacheIdsMadeFromTheTarget) {
  auto preimage = [](const std::string& id, CacheSharing sharing) {
    return KeyPreimage(
               LastVertex(Exec({.root = Base(),
                                .args = {"x"},
                                .mounts = {{.dest = "/c", .cache = CacheMount{id, sharing}}}})
                              .root))
        .value();
  };
  EXPECT_NE(preimage("/c", CacheSharing::kShared).find(R"("cacheOpt":{"ID":"/c"})"),
            std::string::npos);
  EXPECT_NE(preimage("ns//c", CacheSharing::kShared).find(R"("ID":"ns//c")"), std::string::npos);
  EXPECT_NE(preimage("mine", CacheSharing::kShared).find(R"("cacheOpt":{})"), std::string::npos);
  EXPECT_EQ(preimage("/c", CacheSharing::kLocked), preimage("mine", CacheSharing::kPrivate));
}

TEST(CacheKeyTest, LastMountOfAnInputDecidesContent) {
  auto inputs = [](std::vector<ExecMount> mounts) {
    return KeyMapOf(
        LastVertex(Exec({.root = Base(), .args = {"x"}, .mounts = std::move(mounts)}).root));
  };
  auto map = inputs({{.dest = "/m", .source = Context(), .selector = "src", .readonly = true}});
  ASSERT_TRUE(map.ok());
  EXPECT_TRUE(map->inputs[1].content);
  EXPECT_EQ(map->inputs[1].selectors,
            (std::vector<ContentSelector>{{.path = "/src", .follow_links = true}}));
  EXPECT_EQ(*map->inputs[1].selector, Sha256Of("/src"));

  map = inputs({{.dest = "/a", .source = Context(), .readonly = true},
                {.dest = "/b", .source = Context(), .selector = "s"}});
  EXPECT_FALSE(map->inputs[1].content);
  EXPECT_EQ(*map->inputs[1].selector, Sha256Of(std::string_view("/\0/s", 4)));

  map = inputs({{.dest = "/a", .source = Context(), .selector = "/s", .readonly = true},
                {.dest = "/b", .source = Context()}});
  EXPECT_TRUE(map->inputs[1].content);
  EXPECT_EQ(map->inputs[1].selectors, (std::vector<ContentSelector>{{.path = "/"}}));

  map = inputs(
      {{.dest = "/b", .source = Context(), .selector = "s", .content_cache = ContentCache::kOn}});
  EXPECT_TRUE(map.error().message().starts_with("invalid mount cache content"));
  map = inputs({{.dest = "/b", .source = Context(), .content_cache = ContentCache::kOff}});
  EXPECT_FALSE(map->inputs[1].content);
}

TEST(CacheKeyTest, FileFromScratch) {
  Vertex vertex = LastVertex(File({}, {MkdirAction{.path = "/d", .make_parents = true},
                                       MkfileAction{.path = "/d/f", .data = "hi"}}));
  EXPECT_EQ(KeyMapOf(vertex)->digest.hex(),
            "d2dba93998dee1591786074711dd0f020d728d3c27ad6ddd3f077779aa271537");
}

TEST(CacheKeyTest, FileCopy) {
  Vertex vertex = LastVertex(File(Base(), {CopyAction{.from = Context(),
                                                      .src = "/a/b.txt",
                                                      .dest = "/dst/",
                                                      .owner = Owner{.user = "bob", .group = 0U},
                                                      .follow_symlinks = true,
                                                      .dir_copy_contents = true,
                                                      .create_dest_path = true,
                                                      .allow_wildcard = true,
                                                      .allow_empty_wildcard = true}}));
  KeyMap map = KeyMapOf(vertex).value();
  EXPECT_EQ(map.digest.hex(), "bdc69473828800a439d06cbe6513df4b86ae8ac12292653b4f591b2d5f293dcb");
  EXPECT_FALSE(map.inputs[0].selector.has_value());
  EXPECT_FALSE(map.inputs[0].content);
  EXPECT_EQ(*map.inputs[1].selector, Sha256Of("/a/b.txt"));
  EXPECT_EQ(
      map.inputs[1].selectors,
      (std::vector<ContentSelector>{{.path = "/a/b.txt", .follow_links = true, .of_copy = true}}));
}

TEST(CacheKeyTest, FileSelectorsAreJoinedDescendingAndDeduped) {
  std::vector<FileAction> actions;
  for (const char* src : {"/a", "/c*", "/a/b"})
    actions.push_back(
        CopyAction{.from = Context(), .src = src, .dest = "/", .allow_wildcard = true});
  KeyMap map = KeyMapOf(LastVertex(File(Base(), actions))).value();
  EXPECT_EQ(*map.inputs[1].selector, Sha256Of(std::string_view("/c*\0/a/b\0/a", 11)));
  EXPECT_EQ(map.inputs[1].selectors,
            (std::vector<ContentSelector>{{.path = "/a"},
                                          {.path = "/c*", .wildcard = true, .of_copy = true}}));
}

TEST(CacheKeyTest, OwnersOfEveryActionAreLookedUp) {
  const Owner bob{.user = "bob", .group = "staff"};
  for (const FileAction& action :
       {FileAction(MkdirAction{.path = "/d", .owner = bob}),
        FileAction(MkfileAction{.path = "/f", .owner = bob}),
        FileAction(SymlinkAction{.old_path = "/f", .new_path = "/l", .owner = bob})}) {
    Vertex vertex = LastVertex(File(Base(), {action}));
    // Another input than the one that is worked on: that one counts as a whole.
    pb::FileAction& worked = *vertex.op.mutable_file()->mutable_actions(0);
    *vertex.op.add_inputs() = vertex.op.inputs(0);
    worked.set_input(1);
    const KeyMap map = KeyMapOf(vertex).value();
    EXPECT_TRUE(map.inputs[0].content);
    EXPECT_EQ(map.inputs[0].selectors,
              (std::vector<ContentSelector>{{.path = "/etc/group", .follow_links = true},
                                            {.path = "/etc/passwd", .follow_links = true}}));
  }
}

TEST(CacheKeyTest, Merge) {
  Vertex vertex = LastVertex(Merge({Base(), Context()}));
  EXPECT_EQ(KeyPreimage(vertex).value(),
            R"({"Type":"buildkit.merge.v0","Merge":{"inputs":[{},{"input":1}]}})");
  EXPECT_EQ(KeyMapOf(vertex)->digest.hex(),
            "436287a2dc2ce494f564331be9ea3a9f27ebec398567877043da2f618f33d6c8");
}

TEST(CacheKeyTest, SourceKeys) {
  EXPECT_TRUE(SourceKeyDigest("abc").starts_with("sha256:"));
  EXPECT_TRUE(SourceKeyDigest("session:context:x").starts_with("random:"));
  Digest a = Sha256Of("a");
  EXPECT_EQ(ImageManifestKey(a, {.os = "linux", .architecture = "arm", .variant = "v7"}, 2),
            Sha256Of(R"({"Digest":")" + a.ToString() +
                     R"(","OS":"linux","Arch":"arm","Variant":"v7","Limit":2})"));
  EXPECT_EQ(
      GitKey({.subdir = "d", .keep_git_dir = true, .skip_submodules = true, .mtime = "commit"},
             "c0ffee", "refs/heads/main"),
      "c0ffee.git#refs/heads/main:d(skip-submodules)(mtime=commit)");
  EXPECT_EQ(
      LocalKey({.name = "context", .exclude_patterns = {"a<b"}}, "s1"),
      "session:context:" +
          Sha256Of(R"({"SessionID":"s1","IncludePatterns":null,"ExcludePatterns":["a\u003cb"],)"
                   R"("FollowPaths":null})")
              .ToString());
  EXPECT_EQ(
      HttpKey({.filename = "f", .checksum = a, .headers = {{"user-agent", "x"}, {"accept", "y"}}}),
      Sha256Of(R"({"Filename":"f","Perm":384,"UID":0,"GID":0,"Checksum":")" + a.ToString() +
               R"(","Header":[{"Name":"Accept","Value":"y"},{"Name":"User-Agent","Value":"x"}]})"));
  EXPECT_EQ(BlobKey(a, "f", 0644, 1, 2),
            Sha256Of(R"({"Version":"v1","Digest":")" + a.ToString() +
                     R"(","Filename":"f","Perm":420,"UID":1,"GID":2})"));
}

TEST(CapsTest, TablesAreSortedAndChecked) {
  for (auto caps : {LlbCaps(), FrontendCaps()})
    for (size_t i = 1; i < caps.size(); ++i) EXPECT_LT(caps[i - 1].id, caps[i].id);
  pb::OpMetadata metadata;
  (*metadata.mutable_caps())["file.copy.modestring"] = true;
  (*metadata.mutable_caps())["file.base"] = false;
  EXPECT_TRUE(CheckCaps(metadata).ok());
  (*metadata.mutable_caps())["nonsense"] = true;
  EXPECT_EQ(CheckCaps(metadata).error().message(), "unknown API capability \"nonsense\"");
  metadata.clear_caps();
  (*metadata.mutable_caps())["source.git.bundle"] = false;
  EXPECT_EQ(CheckCaps(metadata).error().message(),
            "requested feature source.git.bundle is not supported by this build server");
}

}  // namespace
}  // namespace kiln::llb
