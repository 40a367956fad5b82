#include "store/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "archive/compression.h"
#include "archive/tar.h"
#include "oci/media_type.h"
#include "store/sqlite.h"
#include "store/testing/files.h"
#include "sys/mounts.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

using progress::Activity;
using sys::TempDir;

// Serves blobs from memory and counts.
class FakeSource final : public BlobSource {
 public:
  Status Fetch(const Activity&, const oci::Descriptor& blob, const Locator&,
               BlobWriter& writer) override {
    ++fetches;
    const auto found = blobs.find(blob.digest);
    if (found == blobs.end()) return NotFound("no such blob");
    return writer.Write(found->second);
  }
  std::map<Digest, std::string> blobs;
  std::atomic<int> fetches = 0;
};

class StoreTest : public testing::Test {
 protected:
  StoreTest() { Open(); }

  void Open() {
    StoreOptions options;
    options.root = temp_ / "root";
    options.clock = &clock_;
    options.max_mount_layers = max_layers_;
    options.sync_delay = std::chrono::hours(1);
    store_ = Must(Store::Open(options));
    store_->AddBlobSource("fake", &source_);
  }
  void Reopen() {
    store_.reset();
    Open();
  }
  // Goes on with what kill -9 at this moment would leave.
  void Crash() {
    std::filesystem::copy(
        temp_ / "root", temp_ / "copy",
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
    store_.reset();
    std::filesystem::remove_all(temp_ / "root");
    std::filesystem::rename(temp_ / "copy", temp_ / "root");
    Open();
  }

  LazyLayer MakeLazy(const std::vector<std::pair<std::string, std::string>>& files) {
    archive::StringSink sink;
    archive::TarWriter tar(sink);
    for (const auto& [path, data] : files) {
      archive::TarEntry entry;
      entry.path = path;
      entry.mode = 0644;
      entry.size = static_cast<int64_t>(data.size());
      Must(tar.Add(entry));
      Must(tar.WriteData(data));
    }
    Must(tar.Finish());
    LazyLayer layer;
    layer.diff_id = Sha256Of(sink.text());
    layer.blob.media_type = std::string(oci::kOciLayer);
    layer.blob.digest = layer.diff_id;
    layer.blob.size = static_cast<int64_t>(sink.text().size());
    layer.locators = {{"fake", "here"}};
    layer.description = "pulled from somewhere";
    source_.blobs[layer.blob.digest] = sink.text();
    return layer;
  }

  std::string Shown(const SnapshotRef& ref) { return Listing(Must(store_->Tree(ref))); }
  std::string Mounted(const SnapshotRef& ref) {
    const sys::Mounter mounter{sys::MounterOptions{}};
    const std::string at = temp_ / "mounted";
    (void)mkdir(at.c_str(), 0755);
    const sys::Mount mount = Must(mounter.MountAt(Must(store_->ViewMount(ref)), at));
    return Listing(at);
  }
  static PruneRule Everything() {
    PruneRule rule;
    rule.all = true;
    return rule;
  }
  std::vector<std::string> PruneAll() {
    std::vector<std::string> ids;
    const std::vector<PruneRule> rules{Everything()};
    Must(store_->Prune(Activity(), rules,
                       [&](const UsageRecord& record) { ids.push_back(record.id); }));
    return ids;
  }

  TempDir temp_;
  FakeClock clock_;
  FakeSource source_;
  size_t max_layers_ = 500;
  std::unique_ptr<Store> store_;
};

using Files = std::vector<std::pair<std::string, std::string>>;

// --- Blobs
// ---------------------------------------------------------------------------------------------------------------
TEST_F(StoreTest, BlobsAreVerifiedAndShared) {
  const BlobRef one = Must(store_->PutBlob("content"));
  EXPECT_EQ(one.digest(), Sha256Of("content"));
  EXPECT_EQ(Must(one.ReadAll()), "content");
  BlobWriter wrong = Must(store_->Ingest());
  Must(wrong.Write("other"));
  EXPECT_EQ(wrong.Commit(Sha256Of("content")).error().code(), Code::kDataLoss);
  BlobWriter again = Must(store_->Ingest());
  Must(again.Write("con"));
  Must(again.Write("tent"));
  EXPECT_EQ(Must(again.Commit(Sha256Of("content"), 7)).digest(), one.digest());
  EXPECT_EQ(store_->GetBlob(Sha256Of("none")).error().code(), Code::kNotFound);
}

TEST_F(StoreTest, BlobsGoWhenNothingNeedsThem) {
  BlobRef held = Must(store_->PutBlob("held"));
  Must(store_->PutBlob("loose"));
  Must(store_->PutBlob("pinned"));
  Must(store_->PinBlob(Sha256Of("pinned"), "history/1"));
  Must(store_->PutBlob(""));
  PruneAll();
  EXPECT_TRUE(store_->GetBlob(Sha256Of("held")).ok());
  EXPECT_FALSE(store_->GetBlob(Sha256Of("loose")).ok());
  EXPECT_FALSE(store_->GetBlob(Sha256Of("")).ok());
  held = BlobRef();
  Reopen();
  PruneAll();
  EXPECT_FALSE(store_->GetBlob(Sha256Of("held")).ok());
  EXPECT_TRUE(store_->GetBlob(Sha256Of("pinned")).ok());
  Must(store_->UnpinBlobs("history/1"));
  PruneAll();
  EXPECT_FALSE(store_->GetBlob(Sha256Of("pinned")).ok());
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/blobs/sha256"));
}

TEST_F(StoreTest, DistributionSourcesAddUp) {
  Must(store_->PutBlob("x"));
  const Digest digest = Sha256Of("x");
  Must(store_->AddDistributionSource(digest, "registry.test", "a/b"));
  Must(store_->AddDistributionSource(digest, "registry.test", "c"));
  Must(store_->AddDistributionSource(digest, "registry.test", "a/b"));
  EXPECT_EQ(
      Must(store_->StatBlob(digest)).labels.at("containerd.io/distribution.source.registry.test"),
      "a/b,c");
}

// --- Snapshots
// -------------------------------------------------------------------------------------------------------------
TEST_F(StoreTest, CommittedSnapshotsSurvive) {
  SnapshotRef base = CommitFiles(*store_, {}, Files{{"/a/f", "1"}, {"/b", "2"}});
  SnapshotRef top = CommitFiles(*store_, base, Files{{"/c", "3"}}, {"/b"});
  const std::string id = top.id();
  const std::string shown = Shown(top);
  EXPECT_EQ(Mounted(top), shown);
  EXPECT_EQ(shown.find("/b "), std::string::npos);
  base = top = SnapshotRef();
  Reopen();
  top = Must(store_->Claim(id));
  EXPECT_EQ(Shown(top), shown);
  EXPECT_EQ(Must(Must(store_->Tree(top)).ReadFile("/a/f")), "1");
}

TEST_F(StoreTest, ACrashKeepsWhatWasCommittedAndNothingElse) {
  SnapshotRef done = CommitFiles(*store_, {}, Files{{"/a", "1"}});
  BlobRef blob = Must(store_->PutBlob("blob"));
  ActiveSnapshot active = Must(store_->Prepare(Activity(), done));
  MakeFile(active.upper_dir() + "/unfinished", "x");
  BlobWriter writer = Must(store_->Ingest());
  Must(writer.Write("half"));
  const std::string id = done.id();
  // Holds of the old store go before it does.
  std::filesystem::copy(temp_ / "root", temp_ / "copy", std::filesystem::copy_options::recursive);
  active = ActiveSnapshot();
  done = SnapshotRef();
  blob = BlobRef();
  {
    BlobWriter dropped = std::move(writer);
  }
  store_.reset();
  std::filesystem::remove_all(temp_ / "root");
  std::filesystem::rename(temp_ / "copy", temp_ / "root");
  Open();
  EXPECT_EQ(Must(Must(store_->Tree(Must(store_->Claim(id)))).ReadFile("/a")), "1");
  EXPECT_TRUE(store_->GetBlob(Sha256Of("blob")).ok());
  PruneAll();
  store_->WaitForDeletions();
  size_t left = 0;
  for (const char* folder : {"root/snapshots", "root/ingest", "root/trash"}) {
    left +=
        static_cast<size_t>(std::distance(std::filesystem::directory_iterator(temp_ / folder), {}));
  }
  EXPECT_EQ(left, 0U);
}

// The power goes: only what was synced may be trusted. A layer that can be fetched again is lazy
// again.
TEST_F(StoreTest, APowerCutDropsWhatWasNotSynced) {
  const std::string synced_id = CommitFiles(*store_, {}, Files{{"/a", "1"}}).id();
  const std::vector<LazyLayer> layers{MakeLazy({{"l", "1"}})};
  std::string lazy_id = Must(store_->ImportChain(layers)).id();
  store_.reset();
  {
    auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
    Must(
        db->Exec("INSERT OR REPLACE INTO meta VALUES('synced',(SELECT max(seq) FROM records));"
                 "UPDATE meta SET value='another boot' WHERE key='boot'"));
  }
  // Until here everything had reached the disk; what follows did not.
  Open();
  const std::string lost_id =
      CommitFiles(*store_, Must(store_->Claim(synced_id)), Files{{"/b", "1"}}).id();
  Must(store_->EnsureLocal(Activity(), Must(store_->Claim(lazy_id))));
  Must(store_->PutBlob("lost"));
  store_.reset();
  {
    auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
    Must(db->Exec("UPDATE meta SET value='yet another boot' WHERE key='boot'"));
  }
  Open();
  EXPECT_EQ(Must(Must(store_->Tree(Must(store_->Claim(synced_id)))).ReadFile("/a")), "1");
  EXPECT_FALSE(store_->Claim(lost_id).ok());
  EXPECT_FALSE(store_->GetBlob(Sha256Of("lost")).ok());
  const SnapshotRef lazy = Must(store_->Claim(lazy_id));
  EXPECT_FALSE(Must(store_->IsLocal(lazy)));
  Must(store_->EnsureLocal(Activity(), lazy));
  EXPECT_EQ(Shown(lazy), Mounted(lazy));
}

TEST_F(StoreTest, NewerStoresAreRefused) {
  store_.reset();
  {
    auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
    Must(db->Exec("PRAGMA user_version=1000"));
  }
  StoreOptions options;
  options.root = temp_ / "root";
  EXPECT_EQ(Store::Open(options).error().code(), Code::kFailedPrecondition);
}

TEST_F(StoreTest, OneProcessAtATime) {
  StoreOptions options;
  options.root = temp_ / "root";
  const auto second = Store::Open(options);
  EXPECT_EQ(second.error().code(), Code::kUnavailable);
}

TEST_F(StoreTest, StepsMayBeMountedAndCommitted) {
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/d/one", "1"}, {"/d/two", "2"}});
  ActiveSnapshot active = Must(store_->Prepare(Activity(), base));
  {
    const sys::Mounter mounter{sys::MounterOptions{}};
    MakeDirectory(temp_ / "at");
    const sys::Mount mount = Must(mounter.MountAt(active.Mount(), temp_ / "at"));
    std::filesystem::remove_all(temp_ / "at/d");  // the kernel makes the new one opaque
    MakeDirectory(temp_ / "at/d");
    MakeFile(temp_ / "at/d/two", "changed");
  }
  const SnapshotRef done = Must(store_->Commit(std::move(active), CommitOptions()));
  EXPECT_EQ(Shown(done), Mounted(done));
  EXPECT_FALSE(Must(store_->Tree(done)).Lookup("/d/one").ok());
  // The layer says what it removes, name by name.
  const std::string dir = Must(store_->LayerDirs(done)).back();
  struct stat st;
  ASSERT_EQ(lstat((dir + "/d/one").c_str(), &st), 0);
  EXPECT_TRUE(S_ISCHR(st.st_mode));
}

TEST_F(StoreTest, LongChainsAreFlattened) {
  store_.reset();
  max_layers_ = 10;
  Open();
  SnapshotRef top;
  for (int i = 0; i < 35; ++i) {
    top = CommitFiles(
        *store_, top,
        Files{{"/f" + std::to_string(i % 7), std::to_string(i)}, {"/d/" + std::to_string(i), "x"}},
        i % 5 == 4 ? std::vector<std::string>{"/d/" + std::to_string(i - 2)}
                   : std::vector<std::string>{});
  }
  EXPECT_LE(Must(store_->LayerDirs(top)).size(), 10U);
  EXPECT_EQ(Mounted(top), Shown(top));
}

TEST_F(StoreTest, ManyLayersDoNotHoldManyFilesOpen) {
  const auto open_files = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = open_files();
  std::vector<SnapshotRef> layers;
  for (int i = 0; i < 600; ++i) {
    layers.push_back(CommitFiles(*store_, {}, Files{{"/f", std::to_string(i)}}, {}));
    Shown(layers.back());
  }
  EXPECT_LT(open_files() - before, 1100);
  // What was dropped is read again.
  EXPECT_EQ(Shown(layers.front()), Shown(layers.front()));
}

TEST_F(StoreTest, LabelsFindRecords) {
  ActiveSnapshot active = Must(store_->Prepare(Activity(), {}));
  CommitOptions options;
  options.labels = {{"http.url", "http://x"}};
  const SnapshotRef ref = Must(store_->Commit(std::move(active), options));
  EXPECT_EQ(Must(store_->FindByLabel("http.url", "http://x")), std::vector<SnapshotRef>{ref});
  Must(store_->SetLabel(ref, "etag", "1"));
  EXPECT_EQ(Must(store_->Label(ref, "etag")), "1");
  EXPECT_TRUE(Must(store_->FindByLabel("http.url", "http://y")).empty());
}

// --- Lazy layers
// -----------------------------------------------------------------------------------------------------------
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

// --- Layer blobs
// -----------------------------------------------------------------------------------------------------------
TEST_F(StoreTest, AnEmptyLayerIsAThousandZeroBytes) {
  const SnapshotRef empty = CommitFiles(*store_, {}, Files{});
  LayerBlobOptions options;
  options.compression.type = archive::Compression::kNone;
  const auto layers = Must(store_->LayerBlobs(Activity(), empty, options));
  ASSERT_EQ(layers.size(), 1U);
  EXPECT_EQ(layers[0].diff_id.ToString(),
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
  EXPECT_EQ(layers[0].descriptor.digest, layers[0].diff_id);
}

TEST_F(StoreTest, LayerBlobsAreMadeOnceAndAlike) {
  const auto build = [&] {
    const SnapshotRef base =
        CommitFiles(*store_, {}, Files{{"/d/keep", "1"}, {"/d/change", "2"}, {"/d/go", "3"}});
    return CommitFiles(*store_, base, Files{{"/d/change", "changed"}, {"/new/x", "4"}},
                       {"/d/go", "/never"});
  };
  const SnapshotRef one = build();
  const SnapshotRef two = build();
  for (const SnapshotRef& ref : {one, two}) {
    const RecordInfo info = Must(store_->Info(ref));
    EXPECT_FALSE(info.chain_id);
  }
  const auto first = Must(store_->LayerBlobs(Activity(), one, {}));
  const auto second = Must(store_->LayerBlobs(Activity(), two, {}));
  ASSERT_EQ(first.size(), 2U);
  // The upper layers' directories have the times of the moment they were changed; the base is equal
  // in every byte.
  EXPECT_EQ(first[0].descriptor.digest, second[0].descriptor.digest);
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), one, {}))[1].descriptor.digest,
            first[1].descriptor.digest);
  EXPECT_TRUE(Must(store_->Info(one)).chain_id);

  // Unpacked elsewhere it is the same tree.
  std::vector<LazyLayer> layers;
  for (const LayerBlob& blob : first)
    layers.push_back({blob.descriptor, blob.diff_id, {{"fake", "x"}}, {}, {}});
  std::vector<std::string> names;
  const BlobRef blob = Must(store_->GetBlob(first[1].descriptor.digest));
  const Fd fd = Must(blob.Open());
  archive::FdSource file(fd.get());
  const auto tar = Must(archive::Decompress(file));
  archive::TarReader reader(*tar);
  archive::TarEntry entry;
  while (Must(reader.Next(&entry))) names.push_back(entry.path);
  EXPECT_EQ(names, (std::vector<std::string>{"d", "d/change", "d/.wh.go", "new", "new/x"}));
}

TEST_F(StoreTest, LostLayerBlobsAreMadeAgain) {
  const SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/a", "1"}});
  const Digest digest = Must(store_->LayerBlobs(Activity(), ref, {}))[0].descriptor.digest;
  unlink((temp_ / ("root/blobs/sha256/" + digest.hex())).c_str());
  const LayerBlob again = Must(store_->LayerBlobs(Activity(), ref, {}))[0];
  EXPECT_EQ(again.descriptor.digest, digest);
  EXPECT_TRUE(again.local);
  EXPECT_TRUE(Must(store_->GetBlob(digest)).Open().ok());
}

TEST_F(StoreTest, ForcedCompressionConverts) {
  const std::vector<LazyLayer> layers{MakeLazy({{"a", std::string(100'000, 'a')}})};
  const SnapshotRef ref = Must(store_->ImportChain(layers));
  LayerBlobOptions options;
  options.compression.type = archive::Compression::kZstd;
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), ref, options))[0].descriptor.digest,
            layers[0].blob.digest);
  EXPECT_EQ(source_.fetches, 0);
  options.force = true;
  const LayerBlob zstd = Must(store_->LayerBlobs(Activity(), ref, options))[0];
  EXPECT_EQ(zstd.descriptor.media_type, oci::kOciLayerZstd);
  EXPECT_LT(zstd.descriptor.size, 1000);
  EXPECT_EQ(zstd.diff_id, layers[0].diff_id);
}

TEST_F(StoreTest, ClampedLayersHaveNoLaterTimes) {
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/base", "1"}});
  const SnapshotRef top = CommitFiles(*store_, base, Files{{"/d/a", "2"}, {"/b", "3"}}, {"/base"});
  LayerBlobOptions options;
  options.compression.type = archive::Compression::kZstd;
  options.clamp = LayerBlobOptions::Clamp{.epoch_seconds = 1'000'000'000, .kept = {}};
  const auto fresh = Must(store_->LayerBlobs(Activity(), top, options));  // from the snapshot
  ASSERT_EQ(fresh.size(), 2U);
  const auto plain = Must(store_->LayerBlobs(Activity(), top, {}));
  EXPECT_NE(fresh[1].diff_id, plain[1].diff_id);
  EXPECT_EQ(fresh[1].descriptor.annotations.at(std::string(kRewrittenAnnotation)), "1000000000");
  const BlobRef blob = Must(store_->GetBlob(fresh[1].descriptor.digest));
  const Fd fd = Must(blob.Open());
  archive::FdSource file(fd.get());
  const auto tar = Must(archive::Decompress(file));
  archive::TarReader reader(*tar);
  archive::TarEntry entry;
  while (Must(reader.Next(&entry))) {
    EXPECT_LE(entry.mtime, WallTime(std::chrono::seconds(1'000'000'000))) << entry.path;
  }
  // Found again, and the same when made from a blob.
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), top, options))[1].descriptor, fresh[1].descriptor);
  options.compression.type = archive::Compression::kNone;
  const auto rewritten = Must(store_->LayerBlobs(Activity(), top, options));
  EXPECT_EQ(rewritten[1].diff_id, fresh[1].diff_id);
  // What the base image has stays, and the copies are nobody's layer.
  options.clamp->kept = {plain[0].diff_id};
  const auto kept = Must(store_->LayerBlobs(Activity(), top, options));
  EXPECT_EQ(kept[0].descriptor.digest, plain[0].descriptor.digest);
  EXPECT_EQ(kept[1].diff_id, fresh[1].diff_id);
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), top, {}))[1].descriptor.digest,
            plain[1].descriptor.digest);
}

// --- Merge and diff
// --------------------------------------------------------------------------------------------------------
TEST_F(StoreTest, MergesStackTheirInputs) {
  const SnapshotRef a = CommitFiles(*store_, {}, Files{{"/x", "a"}, {"/only-a", "a"}});
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/dir/y", "base"}});
  const SnapshotRef b = CommitFiles(*store_, base, Files{{"/x", "b"}}, {"/dir/y"});
  const std::vector<SnapshotRef> inputs{a, SnapshotRef(), b};
  const SnapshotRef merged = Must(store_->Merge(inputs, {}));
  const TreeView view = Must(store_->Tree(merged));
  EXPECT_EQ(Must(view.ReadFile("/x")), "b");
  EXPECT_EQ(Must(view.ReadFile("/only-a")), "a");
  EXPECT_FALSE(view.Lookup("/dir/y").ok());
  EXPECT_EQ(Mounted(merged), Shown(merged));
  EXPECT_EQ(Must(store_->LayerBlobs(Activity(), merged, {})).size(), 3U);
  const std::vector<SnapshotRef> twice{a, a};
  EXPECT_EQ(Mounted(Must(store_->Merge(twice, {}))), Shown(a));
}

TEST_F(StoreTest, MergesOfMergesCannotGrowForEver) {
  SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/x", "a"}});
  const std::string id = ref.id();
  size_t doublings = 0;
  while (true) {
    const std::vector<SnapshotRef> twice{ref, ref};
    auto merged = store_->Merge(twice, {});
    if (!merged.ok()) {
      EXPECT_EQ(merged.error().code(), Code::kResourceExhausted);
      break;
    }
    ref = std::move(*merged);
    ++doublings;
  }
  EXPECT_EQ(doublings, 13U);  // 8192 layers
  EXPECT_TRUE(store_->Claim(id).ok());
}

TEST_F(StoreTest, DifferencesReuseLayers) {
  const SnapshotRef base = CommitFiles(*store_, {}, Files{{"/a", "1"}, {"/d/b", "1"}});
  const SnapshotRef one = CommitFiles(*store_, base, Files{{"/c", "2"}}, {"/d/b"});
  const SnapshotRef two = CommitFiles(*store_, one, Files{{"/e", "3"}});
  const SnapshotRef diff = Must(store_->Diff(Activity(), base, two, {}));
  EXPECT_EQ(Mounted(diff), Shown(diff));
  const auto diff_blobs = Must(store_->LayerBlobs(Activity(), diff, {}));
  const auto two_blobs = Must(store_->LayerBlobs(Activity(), two, {}));
  ASSERT_EQ(diff_blobs.size(), 2U);
  EXPECT_EQ(diff_blobs[0].descriptor.digest, two_blobs[1].descriptor.digest);
  EXPECT_EQ(diff_blobs[1].descriptor.digest, two_blobs[2].descriptor.digest);
  EXPECT_TRUE(Must(store_->Diff(Activity(), two, two, {})).is_scratch());
  EXPECT_EQ(Must(store_->Diff(Activity(), {}, two, {})), two);
}

TEST_F(StoreTest, DifferencesOfStrangersAreComputed) {
  const SnapshotRef a = CommitFiles(
      *store_, {}, Files{{"/same/f", "1"}, {"/gone", "1"}, {"/d/x", "1"}, {"/type", "file"}});
  const SnapshotRef b = CommitFiles(
      *store_, {}, Files{{"/same/f", "1"}, {"/d/x", "22"}, {"/d/new", "1"}, {"/type/now", "dir"}});
  const SnapshotRef diff = Must(store_->Diff(Activity(), a, b, {}));
  const std::vector<SnapshotRef> inputs{a, diff};
  const SnapshotRef rebuilt = Must(store_->Merge(inputs, {}));
  EXPECT_EQ(Shown(rebuilt), Shown(b));
  EXPECT_EQ(Mounted(rebuilt), Shown(b));
  EXPECT_FALSE(Must(store_->Tree(diff)).Lookup("/same/f").ok());
  const SnapshotRef deletions = Must(store_->Diff(Activity(), a, {}, {}));
  EXPECT_TRUE(
      Must(Must(store_->Tree(deletions)).Children(Must(Must(store_->Tree(deletions)).Root())))
          .empty());
}

// --- Named directories
// -------------------------------------------------------------------------------------------------------
NamedDirOptions Named(const std::string& key, Sharing sharing) {
  NamedDirOptions options;
  options.key = key;
  options.sharing = sharing;
  options.description = "a directory";
  options.keep_if_dirty = true;
  return options;
}

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

TEST_F(StoreTest, RenewingLeavesTheOldOneToItsUsers) {
  std::optional<NamedDir> old =
      Must(store_->OpenNamedDir(Activity(), Named("c", Sharing::kShared)));
  NamedDirOptions options = Named("c", Sharing::kShared);
  options.renew = true;
  const NamedDir fresh = Must(store_->OpenNamedDir(Activity(), options));
  EXPECT_NE(fresh.path(), old->path());
  const std::string path = old->path();
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
  old.reset();
  EXPECT_NE(access(path.c_str(), F_OK), 0);
  const NamedDir again = Must(store_->OpenNamedDir(Activity(), Named("c", Sharing::kShared)));
  EXPECT_EQ(again.path(), fresh.path());
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

// --- Usage and collection
// ----------------------------------------------------------------------------------------------------
TEST_F(StoreTest, HeldRecordsAndTheirParentsStay) {
  SnapshotRef base = CommitFiles(*store_, {}, Files{{"/a", "1"}});
  SnapshotRef top = CommitFiles(*store_, base, Files{{"/b", "1"}});
  SnapshotRef other = CommitFiles(*store_, base, Files{{"/c", "1"}});
  const std::string other_id = other.id();
  std::vector<std::string> told;
  store_->OnCollected(
      [&](std::span<const std::string> ids) { told.insert(told.end(), ids.begin(), ids.end()); });
  other = base = SnapshotRef();
  EXPECT_EQ(PruneAll(), std::vector<std::string>{other_id});
  EXPECT_EQ(told, std::vector<std::string>{other_id});
  EXPECT_EQ(store_->Claim(other_id).error().code(), Code::kNotFound);
  top = SnapshotRef();
  EXPECT_EQ(PruneAll().size(), 2U);
  EXPECT_TRUE(Must(store_->DiskUsage({})).empty());
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/snapshots"));
}

TEST_F(StoreTest, UsageAddsUpAndFilters) {
  SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/a", std::string(100'000, 'x')}});
  Must(store_->LayerBlobs(Activity(), ref, {}));
  NamedDir dir = Must(store_->OpenNamedDir(Activity(), Named("cache:a", Sharing::kShared)));
  const auto all = Must(store_->DiskUsage({""}));
  EXPECT_EQ(Must(store_->DiskUsage({}, std::chrono::nanoseconds(INT64_MIN))).size(), all.size());
  ASSERT_EQ(all.size(), 2U);
  EXPECT_GE(all[0].size_bytes, 100'000U);
  EXPECT_TRUE(all[0].in_use);
  EXPECT_TRUE(all[1].is_mutable);
  EXPECT_EQ(all[1].type, "exec.cachemount");
  EXPECT_EQ(all[1].size_bytes, 0U);
  EXPECT_EQ(Must(store_->DiskUsage({"type==exec.cachemount"})).size(), 1U);
  EXPECT_EQ(Must(store_->DiskUsage({"immutable"})).size(), 1U);
  EXPECT_EQ(Must(store_->DiskUsage({"id==" + all[0].id, "mutable"})).size(), 2U);
}

TEST_F(StoreTest, LimitsTakeTheLeastUsedFirst) {
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(std::chrono::hours(1));
    const SnapshotRef ref = CommitFiles(*store_, {}, Files{{"/f", std::string(1 << 20, 'x')}});
    ids.push_back(ref.id());
  }
  clock_.Advance(std::chrono::hours(1));
  Must(store_->Claim(ids[0]));
  PruneRule rule;
  rule.max_used_bytes = 2'200'000;
  std::vector<std::string> gone;
  const std::vector<PruneRule> rules{rule};
  Must(store_->Prune(Activity(), rules,
                     [&](const UsageRecord& record) { gone.push_back(record.id); }));
  EXPECT_EQ(gone, (std::vector<std::string>{ids[1], ids[2]}));

  clock_.Advance(std::chrono::hours(47));
  Must(store_->Claim(ids[0]));
  clock_.Advance(std::chrono::hours(2));
  PruneRule young;
  young.keep_duration = std::chrono::hours(48);
  young.all = true;
  gone.clear();
  const std::vector<PruneRule> young_rules{young};
  Must(store_->Prune(Activity(), young_rules,
                     [&](const UsageRecord& record) { gone.push_back(record.id); }));
  EXPECT_EQ(gone, std::vector<std::string>{ids[3]});
}

TEST_F(StoreTest, InternalRecordsNeedAll) {
  ActiveSnapshot active = Must(store_->Prepare(Activity(), {}));
  CommitOptions options;
  options.type = kTypeInternal;
  Must(store_->Commit(std::move(active), options));
  const std::vector<PruneRule> rules{PruneRule{}};
  Must(store_->Prune(Activity(), rules, nullptr));
  EXPECT_EQ(Must(store_->DiskUsage({})).size(), 1U);
  EXPECT_EQ(PruneAll().size(), 1U);
}

// Claims against collection: whoever gets a handle can read it.
TEST_F(StoreTest, ClaimsAndCollectionRace) {
  for (int round = 0; round < 30; ++round) {
    const std::string id = CommitFiles(*store_, {}, Files{{"/f", "x"}}).id();
    std::thread pruner([&] { PruneAll(); });
    auto claimed = store_->Claim(id);
    pruner.join();
    if (claimed.ok()) {
      EXPECT_EQ(Must(Must(store_->Tree(*claimed)).ReadFile("/f")), "x");
    } else {
      EXPECT_EQ(claimed.error().code(), Code::kNotFound);
    }
  }
}

}  // namespace
}  // namespace kiln::store
