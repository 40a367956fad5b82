#include "store/layer_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <random>

#include "store/copy.h"
#include "store/testing/files.h"
#include "sys/mounts.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

using sys::TempDir;

class WriterTest : public testing::Test {
 protected:
  WriterTest() {
    MakeDirectory(temp_ / "lower");
    MakeDirectory(temp_ / "upper");
    MakeDirectory(temp_ / "work");
    MakeDirectory(temp_ / "merged");
  }

  std::string Low(const std::string& path) const { return temp_ / ("lower/" + path); }
  std::string Up(const std::string& path) const { return temp_ / ("upper/" + path); }

  LayerWriter Writer() const {
    return LayerWriter(Lower(), Must(sys::RootedPath::Open(temp_ / "upper")), {});
  }
  TreeView Lower() const {
    return TreeView({std::make_shared<LayerTree>(Must(sys::RootedPath::Open(temp_ / "lower")))});
  }
  TreeView Union() const {
    return TreeView({std::make_shared<LayerTree>(Must(sys::RootedPath::Open(temp_ / "lower"))),
                     std::make_shared<LayerTree>(Must(sys::RootedPath::Open(temp_ / "upper")))});
  }
  // What the kernel makes of lower and upper.
  std::string Mounted() const {
    const sys::Mounter mounter{sys::MounterOptions{}};
    sys::OverlayMount overlay;
    overlay.lowers = {temp_ / "upper", temp_ / "lower"};
    const sys::Mount mount = Must(mounter.MountAt({overlay, {.readonly = true}}, temp_ / "merged"));
    return Listing(temp_ / "merged");
  }
  void ExpectAgreement() const { EXPECT_EQ(Listing(Union()), Mounted()); }

  static NodeMeta Meta(mode_t mode, uint32_t uid = 0) {
    NodeMeta meta;
    meta.mode = mode;
    meta.uid = uid;
    meta.mtime = FromUnixNanos(1'000'000'000);
    return meta;
  }

  TempDir temp_;
};

TEST_F(WriterTest, CopiesUpParentsAsTheyAre) {
  MakeDirectory(Low("a"), 0711);
  MakeDirectory(Low("a/b"), 01777);
  SetMtime(Low("a"), 42'000'000'000);
  LayerWriter writer = Writer();
  Must(writer.WriteFile("/a/b/f", "data", Meta(0640, 7)));
  struct stat st;
  ASSERT_EQ(stat(Up("a").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0711U);
  EXPECT_EQ(st.st_mtime, 42);
  ASSERT_EQ(stat(Up("a/b/f").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640U);
  EXPECT_EQ(st.st_uid, 7U);
  EXPECT_EQ(st.st_mtime, 1);
  ExpectAgreement();
}

TEST_F(WriterTest, RemovingLeavesAWhiteoutOnlyWhereNeeded) {
  MakeFile(Low("below"), "x");
  LayerWriter writer = Writer();
  Must(writer.WriteFile("/mine", "y", Meta(0644)));
  Must(writer.RemoveTree("/mine"));
  Must(writer.RemoveTree("/below"));
  Must(writer.RemoveTree("/never"));
  EXPECT_NE(access(Up("mine").c_str(), F_OK), 0);
  struct stat st;
  ASSERT_EQ(lstat(Up("below").c_str(), &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  ExpectAgreement();
}

TEST_F(WriterTest, ADirectoryMadeAnewHidesTheOldContent) {
  MakeDirectory(Low("d"));
  MakeFile(Low("d/old"), "x");
  LayerWriter writer = Writer();
  Must(writer.RemoveTree("/d"));
  Must(writer.MakeDir("/d", Meta(0755)));
  Must(writer.WriteFile("/d/new", "", Meta(0644)));
  EXPECT_EQ(Must(writer.List("/d")), std::vector<std::string>{"new"});
  ExpectAgreement();
}

TEST_F(WriterTest, ReplacesFilesByNewInodes) {
  MakeFile(Up("f"), "old");
  ASSERT_EQ(link(Up("f").c_str(), (temp_ / "other").c_str()), 0);
  LayerWriter writer = Writer();
  Must(writer.WriteFile("/f", "new", Meta(0644)));
  Must(writer.SetMeta("/f", Meta(0600)));
  EXPECT_EQ(Must(ReadFile(temp_ / "other")), "old");
  EXPECT_EQ(Must(writer.ReadFile("/f")), "new");
}

TEST_F(WriterTest, FollowsLinksInsideTheUnion) {
  MakeDirectory(Low("real"));
  MakeLink("/real", Low("link"));
  MakeLink("/nowhere/deep", Low("dangling"));
  LayerWriter writer = Writer();
  Must(writer.WriteFile("/link/f", "x", Meta(0644)));
  EXPECT_EQ(Must(ReadFile(Up("real/f"))), "x");
  EXPECT_EQ(Must(writer.MakeDirs("/dangling/more", Meta(0755))),
            (std::vector<std::string>{"/nowhere", "/nowhere/deep", "/nowhere/deep/more"}));
  EXPECT_EQ(Must(writer.Resolve("/link/../link/g")), "/real/g");
  ExpectAgreement();
}

TEST_F(WriterTest, SaysWhatIsWrong) {
  MakeFile(Low("f"), "x");
  MakeDirectory(Low("d"));
  LayerWriter writer = Writer();
  EXPECT_EQ(writer.MakeDir("/d", Meta(0755)).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(writer.MakeDirs("/f/x", Meta(0755)).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(writer.WriteFile("/no/f", "", Meta(0644)).error().code(), Code::kNotFound);
  EXPECT_EQ(writer.WriteFile("/d", "", Meta(0644)).error().message(),
            "cannot replace to directory /d with file");
}

TEST_F(WriterTest, EmptiesTheRoot) {
  MakeFile(Low("a"), "");
  MakeDirectory(Low("b"));
  LayerWriter writer = Writer();
  Must(writer.WriteFile("/c", "", Meta(0644)));
  Must(writer.RemoveTree("/"));
  EXPECT_TRUE(Must(writer.List("/")).empty());
  ExpectAgreement();
}

// --- Copies
// ------------------------------------------------------------------------------------------------------------------
class CopyTest : public WriterTest {
 protected:
  CopyTest() { MakeDirectory(temp_ / "src"); }
  std::string Src(const std::string& path) const { return temp_ / ("src/" + path); }
  TreeView Source() const {
    return TreeView({std::make_shared<LayerTree>(Must(sys::RootedPath::Open(temp_ / "src")))});
  }
  CopyStats Copy(const std::string& from, const std::string& to, const CopyOptions& options = {}) {
    const TreeView source = Source();
    LayerWriter writer(Lower(), Must(sys::RootedPath::Open(temp_ / "upper")), {{}, links_});
    return Must(CopyTree(progress::Activity(), source, Must(source.Lookup(from, Follow::kNo)),
                         writer, to, options));
  }
  std::shared_ptr<LinkedInodes> links_ = std::make_shared<LinkedInodes>();
};

TEST_F(CopyTest, CopiesATreeWithItsMetadata) {
  MakeDirectory(Src("d"), 0750);
  MakeFile(Src("d/f"), std::string(300'000, 'x'), 04755);
  MakeLink("f", Src("d/l"));
  ASSERT_EQ(link(Src("d/f").c_str(), Src("d/g").c_str()), 0);
  ASSERT_EQ(mkfifo(Src("d/p").c_str(), 0600), 0);
  SetMtime(Src("d"), 9'000'000'000);
  const CopyStats stats = Copy("/d", "/to");
  EXPECT_EQ(stats.files, 4U);
  EXPECT_EQ(stats.bytes, 300'000U);
  struct stat f, g, d;
  ASSERT_EQ(stat(Up("to/f").c_str(), &f), 0);
  ASSERT_EQ(stat(Up("to/g").c_str(), &g), 0);
  ASSERT_EQ(stat(Up("to").c_str(), &d), 0);
  EXPECT_EQ(f.st_ino, g.st_ino);
  EXPECT_EQ(f.st_mode & 07777, 04755U);
  EXPECT_EQ(d.st_mode & 07777, 0750U);
  EXPECT_EQ(d.st_mtime, 9);
  ExpectAgreement();
}

TEST_F(CopyTest, FiltersAndMakesParentsLazily) {
  MakeDirectory(Src("a"));
  MakeDirectory(Src("a/b"), 0700);
  MakeFile(Src("a/b/keep.go"), "");
  MakeFile(Src("a/b/drop.txt"), "");
  MakeDirectory(Src("empty"));
  MakeFile(Src("skip.go"), "");
  CopyOptions options;
  options.include = {"**/*.go"};
  options.exclude = {"skip.go"};
  Copy("/", "/to", options);
  EXPECT_EQ(access(Up("to/a/b/keep.go").c_str(), F_OK), 0);
  EXPECT_NE(access(Up("to/a/b/drop.txt").c_str(), F_OK), 0);
  EXPECT_NE(access(Up("to/empty").c_str(), F_OK), 0);
  EXPECT_NE(access(Up("to/skip.go").c_str(), F_OK), 0);
  struct stat st;
  ASSERT_EQ(stat(Up("to/a/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
}

TEST_F(CopyTest, OverridesOwnerModeAndTime) {
  MakeFile(Src("f"), "x", 0600);
  CopyOptions options;
  options.uid = 12;
  options.gid = 13;
  options.change_mode = [](mode_t mode) { return mode | 0111; };
  options.mtime = FromUnixNanos(77'000'000'000);
  options.allow_links = true;
  const CopyStats stats = Copy("/f", "/g", options);
  EXPECT_EQ(stats.linked, 0U);
  struct stat st;
  ASSERT_EQ(stat(Up("g").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 12U);
  EXPECT_EQ(st.st_gid, 13U);
  EXPECT_EQ(st.st_mode & 07777, 0711U);
  EXPECT_EQ(st.st_mtime, 77);
}

TEST_F(CopyTest, LinksAnInodeOncePerDestination) {
  MakeFile(Src("f"), "x");
  CopyOptions options;
  options.allow_links = true;
  EXPECT_EQ(Copy("/f", "/one", options).linked, 1U);
  EXPECT_EQ(Copy("/f", "/two", options).linked, 0U);
  struct stat source, one, two;
  ASSERT_EQ(stat(Src("f").c_str(), &source), 0);
  ASSERT_EQ(stat(Up("one").c_str(), &one), 0);
  ASSERT_EQ(stat(Up("two").c_str(), &two), 0);
  EXPECT_EQ(source.st_ino, one.st_ino);
  EXPECT_NE(source.st_ino, two.st_ino);
}

TEST_F(CopyTest, TypesInTheWayAreErrorsOrGo) {
  MakeDirectory(Src("d"));
  MakeFile(Src("d/f"), "x");
  MakeFile(Low("to"), "file");
  MakeDirectory(Low("over"));
  MakeDirectory(Low("over/f"));
  const TreeView source = Source();
  LayerWriter writer = Writer();
  const TreeEntry d = Must(source.Lookup("/d"));
  EXPECT_EQ(CopyTree({}, source, d, writer, "/to", {}).error().message(),
            "cannot copy to non-directory: /to");
  EXPECT_EQ(CopyTree({}, source, d, writer, "/over", {}).error().message(),
            "cannot replace to directory /over/f with file");
  CopyOptions replace;
  replace.replace_existing = true;
  Must(CopyTree({}, source, d, writer, "/to", replace));
  Must(CopyTree({}, source, d, writer, "/over", replace));
  EXPECT_EQ(Must(Union().ReadFile("/to/f")), "x");
  EXPECT_EQ(Must(Union().ReadFile("/over/f")), "x");
  ExpectAgreement();
}

TEST_F(CopyTest, WildcardsMatchWholeRelativePaths) {
  MakeDirectory(Src("a"));
  MakeFile(Src("a/x.c"), "");
  MakeFile(Src("a/y.h"), "");
  MakeDirectory(Src("b.c"));
  MakeFile(Src("b.c/z.c"), "");
  const auto matches = [&](const std::string& pattern) {
    std::vector<std::string> paths;
    for (const TreeEntry& entry : Must(MatchWildcard(Source(), pattern, Follow::kNo)))
      paths.push_back(entry.path);
    return paths;
  };
  EXPECT_EQ(matches("/*.c"), std::vector<std::string>{"/b.c"});
  EXPECT_EQ(matches("/*/*.c"), (std::vector<std::string>{"/a/x.c", "/b.c/z.c"}));
  EXPECT_EQ(matches("/a/?.h"), std::vector<std::string>{"/a/y.h"});
  EXPECT_TRUE(matches("/nothing/*").empty());
  EXPECT_EQ(MatchWildcard(Source(), "/nothing", Follow::kNo).error().code(), Code::kNotFound);
}

// Random changes: the delta always means to the kernel what it means to us.
TEST_F(CopyTest, AgreesWithTheKernelAfterRandomChanges) {
  for (unsigned seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    for (const char* name : {"lower", "upper", "src"}) {
      Must(sys::RemoveTree(temp_ / name));
      MakeDirectory(temp_ / name);
    }
    const auto path = [&] {
      std::string text;
      const unsigned depth = 1 + random() % 3;
      for (unsigned i = 0; i < depth; ++i)
        text += std::string("/") + static_cast<char>('a' + random() % 3);
      return text;
    };
    const auto fill = [&](const std::string& root) {
      for (int i = 0; i < 12; ++i) {
        const std::string at = root + path();
        if (random() % 2 == 0) {
          (void)mkdir(at.c_str(), 0755);
        } else if (access(at.c_str(), F_OK) != 0) {
          const int fd = open(at.c_str(), O_WRONLY | O_CREAT, 0644);
          if (fd >= 0) close(fd);
        }
      }
    };
    fill(temp_ / "lower");
    fill(temp_ / "src");
    LayerWriter writer = Writer();
    const TreeView source = Source();
    for (int step = 0; step < 25; ++step) {
      switch (random() % 5) {
        case 0:
          (void)writer.MakeDirs(path(), Meta(0755));
          break;
        case 1:
          (void)writer.WriteFile(path(), "data", Meta(0600));
          break;
        case 2:
          (void)writer.RemoveTree(path());
          break;
        case 3:
          (void)writer.Symlink("a/b", path(), Meta(0777));
          break;
        default: {
          CopyOptions options;
          options.replace_existing = random() % 2 == 0;
          (void)CopyTree({}, source, Must(source.Root()), writer, path(), options);
        }
      }
    }
    ExpectAgreement();
  }
}

}  // namespace
}  // namespace kiln::store
