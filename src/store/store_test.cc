#include "store/store.h"

#include "store/blob_store.h"
#include "store/recover.h"
#include "store/root.h"
#include "store/schema.h"
#include "store/sqlite.h"
#include "store/testing/store_fixture.h"

namespace kiln::store {
namespace {

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

TEST_F(StoreTest, BlobsThatWereUsedOnceTakeNoMemory) {
  StoreOptions options;
  options.root = temp_ / "other";
  options.clock = &clock_;
  Root root(options);
  Must(root.Open());
  Must(Recover(root));
  BlobStore blobs(&root);
  const auto put = [&](const std::string& data) {
    BlobWriter writer = Must(blobs.Ingest());
    Must(writer.Write(data));
    return Must(writer.Commit({}, {}));
  };
  const BlobRef kept = put("kept");
  for (int i = 0; i < 300; ++i) put(std::to_string(i));
  EXPECT_LE(blobs.remembered(), 100U);
  EXPECT_EQ(Must(kept.ReadAll()), "kept");
}

// As where the disk has room for a name and none for a row.
TEST_F(StoreTest, ABlobWhoseRowCannotBeWrittenLeavesNothing) {
  const std::filesystem::path blobs = temp_ / "root/blobs/sha256";
  const auto execute = [&](const char* sql) {
    Must(Must(SqliteConnection::Open(temp_ / "root/store.db"))->Exec(sql));
  };
  Must(store_->PutBlob("content"));
  // The smallest number has no positive one beside it: an error of the database itself.
  execute(
      "CREATE TRIGGER fails BEFORE INSERT ON blobs "
      "BEGIN SELECT abs(-9223372036854775807 - 1); END");
  const auto failed = store_->PutBlob("other");
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), Code::kInternal);
  EXPECT_FALSE(std::filesystem::exists(blobs / Sha256Of("other").hex()));
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "root/ingest"));
  execute("DROP TRIGGER fails");
  Must(store_->PutBlob("again"));
  // Whatever else such a failure has left goes at the end, though that is a clean one.
  MakeFile(blobs / Sha256Of("stray").hex(), "stray");
  store_.reset();
  EXPECT_FALSE(std::filesystem::exists(blobs / Sha256Of("stray").hex()));
  EXPECT_TRUE(std::filesystem::exists(blobs / Sha256Of("content").hex()));
  Open();
  Must(store_->GetBlob(Sha256Of("content")));
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

// Nobody can say then whether the power went.
TEST_F(StoreTest, WithoutABootIdOnlyCleanStopsAreTrusted) {
  store_.reset();
  boot_id_file_ = temp_ / "none";
  Open();
  const std::string closed = CommitFiles(*store_, {}, Files{{"/a", "1"}}).id();
  Reopen();
  EXPECT_TRUE(store_->Claim(closed).ok());
  const std::string open = CommitFiles(*store_, {}, Files{{"/b", "1"}}).id();
  Crash();
  EXPECT_FALSE(store_->Claim(open).ok());
}

TEST_F(StoreTest, StoresOfVersion1AreBroughtUp) {
  auto db = Must(SqliteConnection::Open(temp_ / "old.db"));
  Must(db->Migrate(std::span(kStoreMigrations).first(1)));
  Must(
      db->Exec("INSERT INTO records(num,id,kind,local,type,description,created,size,seq) VALUES"
               "(1,'lazy',0,0,'regular','',0,7,1),(2,'here',0,1,'regular','',0,7,2);"
               "INSERT INTO blobs VALUES(x'03',1,0,1),(x'05',1,0,1);"
               "INSERT INTO layer_blobs VALUES(1,x'01',0,1,''),(1,x'02',1,1,''),"
               "(2,x'03',0,1,''),(2,x'04',1,2,''),(2,x'05',2,2,''),(2,x'06',3,17,'');"
               "INSERT INTO locators VALUES(x'01','registry','a'),(x'02','registry','b'),"
               "(x'05','registry','c');"
               "INSERT INTO blob_labels VALUES(x'01','n','v'),(x'04','n','v');"));
  Must(db->Migrate(kStoreMigrations));
  const auto text = [&](std::string_view sql) {
    auto query = Must(db->Prepare(sql));
    Must(query.Step());
    return query.Text(0);
  };
  // What nobody can have verified is gone, and what was known about it.
  EXPECT_EQ(text("SELECT group_concat(hex(digest)) FROM layer_blobs"), "01,03,05,06");
  EXPECT_EQ(text("SELECT group_concat(value) FROM locators"), "a,c");
  EXPECT_EQ(text("SELECT group_concat(hex(digest)) FROM blob_labels"), "01");
  EXPECT_EQ(text("SELECT count(*) FROM records WHERE size IS NULL AND linked=0"), "2");
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

}  // namespace
}  // namespace kiln::store
