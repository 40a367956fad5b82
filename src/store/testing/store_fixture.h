#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "archive/stream.h"
#include "archive/tar.h"
#include "base/clock.h"
#include "oci/media_type.h"
#include "store/sqlite.h"
#include "store/store.h"
#include "store/testing/files.h"
#include "sys/mounts.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {

using progress::Activity;
using sys::TempDir;
using Files = std::vector<std::pair<std::string, std::string>>;

// Serves blobs from memory and counts.
class FakeSource final : public BlobSource {
 public:
  Status Fetch(const Activity&, const oci::Descriptor& blob, const Locator&,
               BlobWriter& writer) override {
    ++fetches;
    if (before) before();
    if (refusal) return *refusal;
    const auto found = blobs.find(blob.digest);
    if (found == blobs.end()) return NotFound("no such blob");
    return writer.Write(found->second);
  }
  std::map<Digest, std::string> blobs;
  std::optional<Error> refusal;  // for everything
  std::function<void()> before;  // called first
  std::atomic<int> fetches = 0;
};

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() { Open(); }

  void Open() {
    StoreOptions options;
    options.root = temp_ / "root";
    options.clock = &clock_;
    options.max_mount_layers = max_layers_;
    options.sync_delay = std::chrono::hours(1);
    options.kept_free_bytes = kept_free_bytes_;
    if (!boot_id_file_.empty()) options.boot_id_file = boot_id_file_;
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

  LazyLayer MakeLazy(const Files& files) {
    std::vector<std::pair<archive::TarEntry, std::string>> entries;
    for (const auto& [path, data] : files) {
      archive::TarEntry entry;
      entry.path = path;
      entry.mode = 0644;
      entries.emplace_back(std::move(entry), data);
    }
    return MakeLazyOf(std::move(entries));
  }
  // The entries' sizes are those of their content.
  LazyLayer MakeLazyOf(std::vector<std::pair<archive::TarEntry, std::string>> entries) {
    archive::StringSink sink;
    archive::TarWriter tar(sink);
    for (auto& [entry, data] : entries) {
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

  // The first column of the first row, in the store's database.
  int64_t Number(const std::string& sql) {
    auto db = Must(SqliteConnection::Open(temp_ / "root/store.db"));
    auto query = Must(db->Prepare(sql));
    return Must(query.Step()) ? query.Int(0) : -1;
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
  uint64_t kept_free_bytes_ = 0;
  std::string boot_id_file_;
  std::unique_ptr<Store> store_;
};

inline NamedDirOptions Named(const std::string& key, Sharing sharing) {
  NamedDirOptions options;
  options.key = key;
  options.sharing = sharing;
  options.description = "a directory";
  options.keep_if_dirty = true;
  return options;
}

}  // namespace kiln::store
