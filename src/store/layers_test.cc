#include "store/layers.h"

#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "oci/descriptor.h"
#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

using testing::HasSubstr;

TEST_F(StoreTest, LazyChainsAreFetchedWhenNeeded) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}, {"gone", "x"}}),
                                      MakeLazy({{"b", "2"}, {".wh.gone", ""}})};
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  EXPECT_FALSE(Must(store_->IsLocal(ref)));
  EXPECT_EQ(Must(store_->ImportChain(layers)), ref);
  EXPECT_EQ(source_.fetches, 0);
  EXPECT_FALSE(store_->Tree(ref).ok());
  Must(store_->EnsureLocal(Activity(), ref));
  EXPECT_EQ(source_.fetches, 2);
  EXPECT_EQ(Shown(ref), Mounted(ref));
  EXPECT_EQ(Must(Must(store_->Tree(ref)).ReadFile("/b")), "2");
  EXPECT_FALSE(Must(store_->Tree(ref)).Lookup("/gone").ok());
  const auto blobs = Must(store_->LayerBlobs(Activity(), ref, {}));
  ASSERT_EQ(blobs.size(), 2U);
  EXPECT_EQ(blobs[1].descriptor.digest, layers[1].blob.digest);
  EXPECT_TRUE(blobs[1].local);
  EXPECT_EQ(Must(store_->FindByChain(*Must(store_->Info(ref)).chain_id)), ref);
}

TEST_F(StoreTest, PrefixesOfChainsAreShared) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}}), MakeLazy({{"b", "2"}}),
                                      MakeLazy({{"c", "3"}})};
  const SnapshotRef shorter = Must(store_->ImportChain(std::span(layers).first(2)));
  const SnapshotRef longer = Must(store_->ImportChain(layers));
  EXPECT_EQ(Must(store_->DiskUsage({})).size(), 3U);
  Must(store_->EnsureLocal(Activity(), shorter));
  Must(store_->EnsureLocal(Activity(), longer));
  EXPECT_EQ(source_.fetches, 3);
}

TEST_F(StoreTest, ConcurrentReadersFetchOnce) {
  std::vector<LazyLayer> layers;
  for (int i = 0; i < 12; ++i)
    layers.push_back(MakeLazy({{"deep/er/f" + std::to_string(i), std::to_string(i)}}));
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  std::vector<std::thread> readers;
  std::atomic<int> good = 0;
  for (int i = 0; i < 6; ++i)
    readers.emplace_back([&] { good += store_->EnsureLocal(Activity(), ref).ok() ? 1 : 0; });
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(good, 6);
  EXPECT_EQ(source_.fetches, 12);
  EXPECT_EQ(Shown(ref), Mounted(ref));
}

TEST_F(StoreTest, LostLayersSaySo) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}})};
  source_.blobs.clear();
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  const Status status = store_->EnsureLocal(Activity(), ref);
  ASSERT_FALSE(status.ok());
  EXPECT_TRUE(IsLost(status.error())) << status.error().ToString();
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
}

TEST_F(StoreTest, WrongDiffIdsAreRefused) {
  std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}})};
  layers[0].diff_id = Sha256Of("something else");
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  const Status status = store_->EnsureLocal(Activity(), ref);
  EXPECT_EQ(status.error().code(), Code::kDataLoss) << status.error().ToString();
  EXPECT_FALSE(Must(store_->IsLocal(ref)));
}

// An image may say of any blob that it has the diff ids of somebody else's layers.
TEST_F(StoreTest, FalseClaimsAreNobodyElses) {
  const LazyLayer honest = MakeLazy({{"good", "1"}});
  LazyLayer alien = MakeLazy({{"bad", "2"}});
  const Digest blob = honest.blob.digest;
  alien.diff_id = honest.diff_id;
  const SnapshotRef claimed = Must(store_->ImportChain(std::span(&alien, 1)));
  const SnapshotRef image = Must(store_->ImportChain(std::span(&honest, 1)));
  EXPECT_NE(claimed, image);
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), image, {}))[0].descriptor.digest, blob);
  EXPECT_EQ(store_->EnsureLocal(Activity(), claimed).error().code(), Code::kDataLoss);
  Must(store_->EnsureLocal(Activity(), image));
  EXPECT_EQ(Must(Must(store_->Tree(image)).ReadFile("/good")), "1");
  // Verified, it stands for whoever claims it, but nobody's blob becomes its own.
  EXPECT_EQ(Must(store_->ImportChain(std::span(&alien, 1))), image);
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), image, {}))[0].descriptor.digest, blob);
  EXPECT_EQ(Must(store_->KnownLayerBlobs(image)).at(0)->descriptor.digest, blob);
}

// The layer below counts too: over an alien one, an honest one is another chain.
TEST_F(StoreTest, FalseClaimsBelowAreNobodyElses) {
  std::vector<LazyLayer> honest{MakeLazy({{"a", "1"}}), MakeLazy({{"b", "2"}})};
  std::vector<LazyLayer> alien = honest;
  alien[0] = MakeLazy({{"bad", "3"}});
  alien[0].diff_id = honest[0].diff_id;
  const SnapshotRef claimed = Must(store_->ImportChain(alien));
  const SnapshotRef image = Must(store_->ImportChain(honest));
  EXPECT_NE(claimed, image);
  Must(store_->EnsureLocal(Activity(), image));
  EXPECT_EQ(Must(Must(store_->Tree(image)).ReadFile("/a")), "1");
}

// As stores of before have them: a blob that is something else in front of the right one.
TEST_F(StoreTest, AWrongBlobGivesWayToTheNext) {
  const LazyLayer layer = MakeLazy({{"a", "1"}});
  const LazyLayer wrong = MakeLazy({{"b", "2"}});
  const std::string id = Must(store_->ImportChain(std::span(&layer, 1))).id();
  store_.reset();
  {
    auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
    Must(db->Exec("UPDATE layer_blobs SET position=1"));
    auto insert = Must(db->Prepare(
        "INSERT INTO layer_blobs SELECT record,?1,0,compression,?2 FROM layer_blobs LIMIT 1"));
    Must(insert.Bind(wrong.blob.digest).Bind(oci::Encode(wrong.blob)).Run());
    auto place = Must(db->Prepare("INSERT INTO locators VALUES(?,'fake','here',0)"));
    Must(place.Bind(wrong.blob.digest).Run());
  }
  Open();
  const SnapshotRef ref = Must(store_->Claim(id));
  Must(store_->EnsureLocal(Activity(), ref));
  EXPECT_EQ(Must(Must(store_->Tree(ref)).ReadFile("/a")), "1");
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), ref, {}))[0].descriptor.digest, layer.blob.digest);
}

TEST_F(StoreTest, ABlobThatIsGoneGivesWayToTheNext) {
  const LazyLayer layer = MakeLazy({{"a", "1"}});
  const SnapshotRef ref = Must(store_->ImportChain(std::span(&layer, 1)));
  {
    auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
    Must(db->Exec("UPDATE layer_blobs SET position=1"));
    auto insert = Must(db->Prepare(
        "INSERT INTO layer_blobs SELECT record,?1,0,compression,?2 FROM layer_blobs LIMIT 1"));
    oci::Descriptor gone = layer.blob;
    gone.digest = Sha256Of("gone");
    Must(insert.Bind(gone.digest).Bind(oci::Encode(gone)).Run());
  }
  Must(store_->EnsureLocal(Activity(), ref));
}

TEST_F(StoreTest, WhatNobodyMayReadIsNotLost) {
  LazyLayer layer = MakeLazy({{"a", "1"}});
  layer.locators.push_back({"fake", "elsewhere"});
  const SnapshotRef ref = Must(store_->ImportChain(std::span(&layer, 1)));
  for (const Code code :
       {Code::kUnauthenticated, Code::kPermissionDenied, Code::kFailedPrecondition}) {
    source_.refusal = Error(code, "not you");
    const Status refused = store_->EnsureLocal(Activity(), ref);
    EXPECT_EQ(refused.error().code(), code);
    EXPECT_FALSE(IsLost(refused.error())) << refused.error().ToString();
  }
  // One place refuses, the other has it no more.
  int calls = 0;
  source_.before = [&] {
    source_.refusal =
        ++calls == 1 ? Error(Code::kUnauthenticated, "not you") : Error(Code::kNotFound, "gone");
  };
  const Status refused = store_->EnsureLocal(Activity(), ref);
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(refused.error().code(), Code::kUnauthenticated);
  EXPECT_FALSE(IsLost(refused.error()));
}

TEST_F(StoreTest, PlacesGoWithTheLastLayerThatNeedsThem) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", "1"}}), MakeLazy({{"b", "2"}})};
  SnapshotRef lazy = Must(store_->ImportChain(std::span(layers).first(1)));
  SnapshotRef both = Must(store_->ImportChain(layers));
  Must(store_->AddDistributionSource(layers[1].blob.digest, "registry.test", "x"));
  Must(store_->EnsureLocal(Activity(), both));
  both = SnapshotRef();
  PruneAll();
  EXPECT_EQ(Number("SELECT count(*) FROM locators"), 1);
  EXPECT_EQ(Number("SELECT count(*) FROM blob_labels"), 0);
  EXPECT_TRUE(Must(store_->LayerBlobs(Activity(), lazy, {}))[0].local);
  lazy = SnapshotRef();
  PruneAll();
  EXPECT_EQ(Number("SELECT count(*) FROM locators"), 0);
  EXPECT_EQ(Number("SELECT count(*) FROM layer_blobs"), 0);
  // Nor is anything noted of what is no layer.
  Must(store_->AddLocator(layers[0].blob.digest, {"fake", "pushed"}));
  EXPECT_EQ(Number("SELECT count(*) FROM locators"), 0);
}

TEST_F(StoreTest, PlacesOfSessionsDoNotPileUp) {
  class SessionSource final : public BlobSource {
   public:
    bool BoundToSessions() const override { return true; }
    Status Fetch(const Activity&, const oci::Descriptor&, const Locator& locator,
                 BlobWriter&) override {
      asked.push_back(locator.value);
      return NotFound("the session is over");
    }
    std::vector<std::string> asked;
  } sessions;
  store_->AddBlobSource("session", &sessions);
  LazyLayer layer = MakeLazy({{"a", "1"}});
  SnapshotRef ref;
  for (int i = 0; i < 20; ++i) {
    layer.locators = {{"session", "build " + std::to_string(i)}};
    ref = Must(store_->ImportChain(std::span(&layer, 1)));
    clock_.Advance(std::chrono::seconds(1));
  }
  EXPECT_TRUE(IsLost(store_->EnsureLocal(Activity(), ref).error()));
  EXPECT_EQ(sessions.asked,
            (std::vector<std::string>{"build 19", "build 18", "build 17", "build 16"}));
}

class HardLinkTest : public StoreTest {
 protected:
  using Entries = std::vector<std::pair<archive::TarEntry, std::string>>;

  static archive::TarEntry Entry(archive::EntryType type, const std::string& path,
                                 const std::string& link = {}, uint32_t mode = 0644) {
    archive::TarEntry entry;
    entry.type = type;
    entry.path = path;
    entry.link = link;
    entry.mode = mode;
    entry.mtime = WallTime(std::chrono::seconds(1'600'000'000));
    return entry;
  }
  static archive::TarEntry File(const std::string& path) {
    return Entry(archive::EntryType::kFile, path);
  }
  static archive::TarEntry Link(const std::string& path, const std::string& to) {
    return Entry(archive::EntryType::kHardlink, path, to, 0600);
  }
  static archive::TarEntry Symlink(const std::string& path, const std::string& to) {
    return Entry(archive::EntryType::kSymlink, path, to);
  }
  // `entries` on a layer with a few files.
  Result<SnapshotRef> Over(Entries entries) {
    archive::TarEntry dir = Entry(archive::EntryType::kDirectory, "d", {}, 01750);
    dir.uid = 5;
    const LazyLayer below = MakeLazyOf({{dir, ""},
                                        {File("d/f"), "f"},
                                        {File("d/g"), "g"},
                                        {Symlink("s", "d"), ""},
                                        {Symlink("up", "../../.."), ""},
                                        {Symlink("abs", "/"), ""}});
    const SnapshotRef ref =
        Must(store_->ImportChain(std::vector<LazyLayer>{below, MakeLazyOf(std::move(entries))}));
    TRY(store_->EnsureLocal(Activity(), ref));
    EXPECT_EQ(Shown(ref), Mounted(ref));
    return ref;
  }
  // Where the files of these names lie, each inode once.
  static std::set<uint64_t> InodesOf(const TreeView& tree, const std::vector<std::string>& paths) {
    std::set<uint64_t> inodes;
    for (const std::string& path : paths) {
      const TreeEntry entry = Must(tree.Lookup(path, Follow::kNo));
      inodes.insert(entry.node->ino);
      EXPECT_EQ(entry.node->nlink, paths.size()) << path;
    }
    return inodes;
  }
};

TEST_F(HardLinkTest, AFileOfTheLayersBelowIsCopiedUpAndLinked) {
  const SnapshotRef ref =
      Must(Over({{Link("new/one", "d/f"), ""}, {Link("two", "s/f"), ""}, {Link("t", "s"), ""}}));
  const TreeView tree = Must(store_->Tree(ref));
  EXPECT_EQ(Must(tree.ReadFile("/new/one")), "f");
  EXPECT_EQ(InodesOf(tree, {"/d/f", "/new/one", "/two"}).size(), 1U);
  // The links' attributes are the file's.
  EXPECT_EQ(Must(tree.Lookup("/d/f")).node->mode & 07777, 0600U);
  EXPECT_EQ(Must(tree.Lookup("/t", Follow::kNo)).node->link_target, "d");
  // The directory that had to be made is as it is below.
  const TreeEntry dir = Must(tree.Lookup("/d"));
  EXPECT_EQ(dir.node->mode & 07777, 01750U);
  EXPECT_EQ(dir.node->uid, 5U);
  EXPECT_EQ(dir.node->mtime_ns, 1'600'000'000'000'000'000);
  EXPECT_EQ(Must(tree.ReadFile("/d/g")), "g");
  EXPECT_EQ(Must(tree.Lookup("/d/g")).layer, 0U);
}

TEST_F(HardLinkTest, WhatTheLayerHidesBehindTheLinkStaysHidden) {
  const SnapshotRef ref = Must(Over({{Link("one", "d/f"), ""},
                                     {File("d/.wh.f"), ""},
                                     {Link("two", "d/g"), ""},
                                     {Link("three", "d/g"), ""},
                                     {File("d/g"), "mine"},
                                     {File("d/h"), "h"}}));
  const TreeView tree = Must(store_->Tree(ref));
  EXPECT_EQ(Must(tree.ReadFile("/one")), "f");
  EXPECT_EQ(tree.Lookup("/d/f").error().code(), Code::kNotFound);
  EXPECT_EQ(InodesOf(tree, {"/two", "/three"}).size(), 1U);
  EXPECT_EQ(Must(tree.ReadFile("/two")), "g");
  EXPECT_EQ(Must(tree.ReadFile("/d/g")), "mine");

  const SnapshotRef opaque =
      Must(Over({{Link("one", "d/f"), ""}, {File("d/.wh..wh..opq"), ""}, {File("d/h"), "h"}}));
  const TreeView rest = Must(store_->Tree(opaque));
  EXPECT_EQ(Must(rest.ReadFile("/one")), "f");
  EXPECT_EQ(rest.Lookup("/d/f").error().code(), Code::kNotFound);
}

TEST_F(HardLinkTest, WhatTheLayerHidBeforeIsNotThere) {
  const auto refused = [&](Entries entries) {
    const auto over = Over(std::move(entries));
    EXPECT_FALSE(over.ok());
    return over.ok() ? "" : over.error().ToString();
  };
  const char* missing = "no such file or directory";
  EXPECT_THAT(refused({{File(".wh.d"), ""}, {Link("one", "d/f"), ""}}), HasSubstr("one"));
  EXPECT_THAT(refused({{File("d/.wh..wh..opq"), ""}, {Link("one", "d/f"), ""}}),
              HasSubstr(missing));
  EXPECT_THAT(refused({{Link("one", "d/none"), ""}}), HasSubstr(missing));
  EXPECT_THAT(refused({{Link("one", "d"), ""}}), HasSubstr("not a file"));
  EXPECT_THAT(refused({{Link("one", "s/none/f"), ""}}), HasSubstr(missing));
}

// Links of both layers lead no further than the root of the image.
TEST_F(HardLinkTest, NothingOutsideIsLinkedTo) {
  const std::string secret = temp_ / "secret";
  Must(WriteFileAtomically(secret, "secret"));
  for (const std::string& link :
       {"up" + secret, "abs" + secret, "mine" + secret, secret.substr(1)}) {
    const auto over = Over({{Symlink("mine", "../../../.."), ""}, {Link("stolen", link), ""}});
    EXPECT_FALSE(over.ok()) << link;
  }
  const SnapshotRef inside =
      Must(Over({{Link("one", "up/d/f"), ""}, {Link("two", "abs/d/f"), ""}}));
  EXPECT_EQ(InodesOf(Must(store_->Tree(inside)), {"/d/f", "/one", "/two"}).size(), 1U);
  EXPECT_EQ(Must(ReadFile(secret)), "secret");
  EXPECT_EQ(std::filesystem::hard_link_count(secret), 1U);
  // Nor is anything left where the copies were made.
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/ingest"));
}

// Each layer links to a file of the one below it, and all are unpacked at once.
TEST_F(HardLinkTest, LongChainsWaitForWhatIsBelow) {
  std::vector<LazyLayer> layers{MakeLazy({{"f0", "text"}})};
  for (int i = 1; i <= 24; ++i)
    layers.push_back(MakeLazyOf({{Link(fmt::format("f{}", i), fmt::format("f{}", i - 1)), ""}}));
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  std::vector<std::thread> readers;
  std::atomic<int> good = 0;
  for (int i = 0; i < 3; ++i)
    readers.emplace_back([&] { good += store_->EnsureLocal(Activity(), ref).ok() ? 1 : 0; });
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(good, 3);
  EXPECT_EQ(source_.fetches, 25);
  EXPECT_EQ(Shown(ref), Mounted(ref));
  EXPECT_EQ(Must(Must(store_->Tree(ref)).ReadFile("/f24")), "text");
}

// A merge shows layers over others than those they were made on.
TEST_F(HardLinkTest, MergedLayersLinkToWhatTheyWereMadeOn) {
  const LazyLayer base = MakeLazy({{"f", "right"}});
  const std::vector<LazyLayer> image{base, MakeLazyOf({{Link("g", "f"), ""}})};
  const LazyLayer other = MakeLazy({{"f", "wrong"}});
  const SnapshotRef first = Must(store_->ImportChain(image));
  const SnapshotRef second = Must(store_->ImportChain(std::span(&other, 1)));
  const SnapshotRef third = Must(store_->ImportChain(std::span(&base, 1)));
  // Its layers for looking: that with the link, the other one, and then the base.
  const std::vector<SnapshotRef> parts{first, second, third};
  const SnapshotRef merged = Must(store_->Merge(parts, {}));
  Must(store_->EnsureLocal(Activity(), merged));
  EXPECT_EQ(Must(Must(store_->Tree(merged)).ReadFile("/g")), "right");
}

TEST_F(StoreTest, ABlobMayNotFillTheDisk) {
  store_.reset();
  kept_free_bytes_ = UINT64_MAX / 2;
  Open();
  Must(store_->PutBlob("small"));
  BlobWriter writer = Must(store_->Ingest());
  const Status written = writer.Write(std::string(2 << 20, 'x'));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code(), Code::kResourceExhausted);
  EXPECT_NE(written.error().message().find("no space left on device"), std::string::npos);
}

// However small the blob is that holds it.
TEST_F(StoreTest, ALayerMayNotFillTheDisk) {
  const LazyLayer layer = MakeLazy({{"a", std::string(4 << 20, 'x')}});
  {
    const SnapshotRef ref = Must(store_->ImportChain(std::span(&layer, 1)));
    Must(store_->EnsureBlob(Activity(), Must(store_->KnownLayerBlobs(ref)).at(0).value()));
  }
  store_.reset();
  kept_free_bytes_ = UINT64_MAX / 2;
  Open();
  const SnapshotRef ref = Must(store_->ImportChain(std::span(&layer, 1)));
  const Status unpacked = store_->EnsureLocal(Activity(), ref);
  ASSERT_FALSE(unpacked.ok());
  EXPECT_EQ(unpacked.error().code(), Code::kResourceExhausted);
  EXPECT_FALSE(IsLost(unpacked.error()));
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
}

}  // namespace
}  // namespace kiln::store
