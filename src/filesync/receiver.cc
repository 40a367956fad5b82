#include "filesync/receiver.h"

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <unordered_map>
#include <unordered_set>

#include "base/clock.h"
#include "base/pattern_matcher.h"
#include "base/strings.h"
#include "base/time.h"
#include "filesync/destination.h"
#include "filesync/file_writer.h"
#include "filesync/listing_checker.h"
#include "filesync/request_writer.h"

namespace kiln::filesync {
namespace {

constexpr size_t kWriterThreads = 2;
// A sender interleaves a handful of files; each one begun holds a descriptor.
constexpr size_t kMaxInterleavedFiles = 256;
constexpr std::string_view kMetadataFile = ".fsutil-metadata";

// The thread that reads owns all of this; the two helpers have threads and locks of their own.
class Receiving {
 public:
  Receiving(const progress::Activity& activity, PacketStream& stream, int root,
            ReceiveOptions options)
      : activity_(activity),
        stream_(stream),
        destination_(root),
        options_(std::move(options)),
        requests_(stream),
        files_(kWriterThreads, options_.make_hasher, [this] { stream_.Cancel(); }) {}

  Result<ReceiveReport> Run() {
    const auto on_cancel = activity_.cancel.OnCancel([this] { stream_.Cancel(); });
    Status done = requests_.started();
    if (const auto failure = files_.error()) done = *failure;
    if (done.ok()) done = Prepare();
    if (done.ok()) done = ReadAll();
    if (const auto failure = files_.error()) done = *failure;
    if (const Status check = activity_.Check(); !check.ok()) done = check.error();
    if (!done.ok()) {
      requests_.Abort(done.error().ToString());
      return std::move(done).error();
    }
    TRY(Complete());
    return std::move(report_);
  }

 private:
  Status Prepare() {
    if (!options_.metadata_only) return OkStatus();
    TRY_ASSIGN(content_, PatternMatcher::Create(options_.content_patterns));
    std::erase_if(options_.previous,
                  [](const Entry& entry) { return entry.path == kMetadataFile; });
    return OkStatus();
  }

  Status ReadAll() {
    Packet packet;
    bool sender_done = false;
    while (stream_.Read(&packet)) {
      Count(packet);
      TRY(activity_.Check());
      switch (packet.type()) {
        case Packet::PACKET_STAT:
          TRY(OnStat(packet));
          break;
        case Packet::PACKET_DATA:
          TRY(OnData(packet));
          break;
        case Packet::PACKET_FIN:
          if (!finishing_) return InvalidArgument("the sender ended before it had sent everything");
          sender_done = true;
          break;
        case Packet::PACKET_ERR:
          return Unknown("error from sender: {}", packet.data());
        default:
          return InvalidArgument("the sender sent a packet of type {}",
                                 static_cast<int>(packet.type()));
      }
      if (listed_ && requested_.empty() && !finishing_) {
        finishing_ = true;
        requests_.Finish();
      }
    }
    if (files_.error()) return OkStatus();  // reported by the caller
    TRY(stream_.Finish());
    if (!sender_done)
      return Unavailable("the sender closed the stream before it had sent everything");
    return OkStatus();
  }

  void Count(const Packet& packet) {
    report_.bytes_received += static_cast<int64_t>(packet.ByteSizeLong());
    if (!options_.on_progress) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_progress_ < kProgressInterval) return;
    last_progress_ = now;
    options_.on_progress(report_.bytes_received);
  }

  Status OnStat(const Packet& packet) {
    if (listed_) return InvalidArgument("the sender listed an entry after the end of its listing");
    if (!packet.has_stat()) {
      listed_ = true;
      report_.listed_at_ns = packet.listedat();
      return RemoveBefore(nullptr);
    }
    if (next_id_ >= options_.max_entries) {
      return ResourceExhausted("the folder has more than {} entries", options_.max_entries);
    }
    const uint32_t id = next_id_++;
    TRY_ASSIGN(Entry entry, FromStat(packet.stat()));
    if (options_.map_owner) TRY(options_.map_owner(entry));
    TRY(order_.Add(entry));
    if (!options_.metadata_only) return Place(std::move(entry), id);
    return PlaceIfWanted(std::move(entry), id, packet.stat());
  }

  // Metadata-only transfers: note the stat; only what matches, and the way to it, comes to the
  // disk.
  Status PlaceIfWanted(Entry entry, uint32_t id, const fsutil::types::Stat& stat) {
    if (entry.path == kMetadataFile) return OkStatus();  // has an id all the same
    fsutil::types::Stat kept = stat;
    kept.clear_changetime();  // not of the folder's content
    const auto size = static_cast<uint32_t>(kept.ByteSizeLong());
    for (int shift = 0; shift < 32; shift += 8)
      metadata_.push_back(static_cast<char>(size >> shift));
    kept.AppendToString(&metadata_);
    while (!waiting_dirs_.empty() &&
           !entry.path.starts_with(waiting_dirs_.back().first.path + "/")) {
      waiting_dirs_.pop_back();
    }
    if (content_.MatchesOrParentMatches(entry.path)) {
      for (auto& [dir, dir_id] : waiting_dirs_) {
        if (dir_id) TRY(Place(dir, *dir_id));
        dir_id.reset();
      }
      if (entry.IsDirectory()) waiting_dirs_.emplace_back(entry, std::nullopt);
      return Place(std::move(entry), id);
    }
    if (entry.IsDirectory()) waiting_dirs_.emplace_back(std::move(entry), id);
    return OkStatus();
  }

  // Merges one entry with the previous listing and brings it to the disk if it differs.
  Status Place(Entry entry, uint32_t id) {
    TRY(RemoveBefore(&entry));
    const Entry* old = nullptr;
    if (next_previous_ < options_.previous.size() &&
        options_.previous[next_previous_].path == entry.path) {
      old = &options_.previous[next_previous_++];
    }
    TRY_ASSIGN(const Entry* target, LinkTarget(entry));
    const bool same = old != nullptr && !options_.differ_none && SameEntry(*old, entry) &&
                      !ChangedSince(entry) && (target == nullptr || !IsChanged(target));
    const auto index = static_cast<uint32_t>(report_.entries.size());
    report_.entries.push_back(std::move(entry));
    Entry& now = report_.entries.back();
    if (same) {
      now.digest = old->digest;
      if (now.IsDirectory() && now.mtime_ns != old->mtime_ns) dirs_to_set_.insert(now.path);
      return OkStatus();
    }
    report_.changed.push_back(index);
    TouchParent(now.path);
    if (old != nullptr && old->IsDirectory() != now.IsDirectory()) {
      TRY(destination_.Remove(now.path));
      if (old->IsDirectory()) removed_prefix_ = now.path + "/";
      old = nullptr;
    }
    if (options_.merge) TRY(destination_.ClearWay(now));
    return Create(now, index, id, old != nullptr || options_.merge);
  }

  Status Create(const Entry& entry, uint32_t index, uint32_t id, bool replaces) {
    if (entry.IsDirectory()) {
      dirs_to_set_.insert(entry.path);
      return destination_.MakeDir(entry);
    }
    if (entry.IsHardLink()) {
      links_.push_back(index);
      return OkStatus();
    }
    if (!entry.IsRegular()) return destination_.MakeSpecial(entry);
    if (entry.size > 0) {
      requested_.emplace(id, Request{index, replaces, false});
      ++report_.files_requested;
      requests_.Request(id);
      return OkStatus();
    }
    TRY_ASSIGN(Destination::Place place, destination_.PlaceOf(entry.path));
    files_.Open(index, entry, std::move(place), replaces);
    files_.Close(index);
    return OkStatus();
  }

  // The entry that a hard link names; null for anything else.
  Result<const Entry*> LinkTarget(const Entry& entry) const {
    if (!entry.IsHardLink()) return static_cast<const Entry*>(nullptr);
    const Entry* target = FindEntry(report_.entries, entry.linkname);
    if (target == nullptr || !target->IsRegular() || target->IsHardLink()) {
      return InvalidArgument("{} is a hard link to {}, which was not listed before as a file",
                             Quoted(entry.path), Quoted(entry.linkname));
    }
    return target;
  }

  // Whether the file was changed after the previous listing was begun, or may have been. Times of
  // files come from a clock that ticks more slowly than the one that a listing is dated by.
  bool ChangedSince(const Entry& entry) const {
    constexpr int64_t kTickNs = 20'000'000;
    return entry.ctime_ns != 0 && entry.ctime_ns + kTickNs >= options_.previous_listed_at_ns;
  }

  bool IsChanged(const Entry* entry) const {
    const auto index = static_cast<uint32_t>(entry - report_.entries.data());
    return std::binary_search(report_.changed.begin(), report_.changed.end(), index);
  }

  // Removes what the previous listing has before `entry` (null: all the rest).
  Status RemoveBefore(const Entry* entry) {
    for (; next_previous_ < options_.previous.size(); ++next_previous_) {
      const Entry& old = options_.previous[next_previous_];
      if (entry != nullptr && ComparePaths(old.path, entry->path) >= 0) break;
      if (!removed_prefix_.empty() && old.path.starts_with(removed_prefix_)) continue;
      TRY(destination_.Remove(old.path));
      report_.removed.push_back(old.path);
      TouchParent(old.path);
      if (old.IsDirectory()) removed_prefix_ = old.path + "/";
    }
    return OkStatus();
  }

  void TouchParent(const std::string& path) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return;
    const std::string_view parent = std::string_view(path).substr(0, slash);
    if (parent == last_touched_) return;
    last_touched_ = parent;
    dirs_to_set_.insert(last_touched_);
  }

  Status OnData(Packet& packet) {
    const auto it = requested_.find(packet.id());
    if (it == requested_.end())
      return InvalidArgument("the sender sent data of file {} unasked", packet.id());
    Request& request = it->second;
    if (!request.begun) {
      if (++begun_files_ > kMaxInterleavedFiles) {
        return ResourceExhausted("the sender interleaves more than {} files", kMaxInterleavedFiles);
      }
      const Entry& entry = report_.entries[request.index];
      TRY_ASSIGN(Destination::Place place, destination_.PlaceOf(entry.path));
      files_.Open(request.index, entry, std::move(place), request.replaces);
      request.begun = true;
    }
    if (!packet.data().empty()) {
      files_.Append(request.index, std::move(*packet.mutable_data()));
      return OkStatus();
    }
    files_.Close(request.index);
    --begun_files_;
    requested_.erase(it);
    return OkStatus();
  }

  // Everything has arrived: wait for the disk, then do what needs the files to be there.
  Status Complete() {
    TRY_ASSIGN(const auto digests, files_.Finish());
    for (const auto& [index, digest] : digests) report_.entries[index].digest = digest;
    for (const uint32_t index : links_) {
      Entry& entry = report_.entries[index];
      TRY(destination_.MakeLink(entry, entry.linkname));
    }
    for (Entry& entry : report_.entries) {
      if (entry.IsHardLink()) entry.digest = FindEntry(report_.entries, entry.linkname)->digest;
    }
    // Children before parents: setting a mode may bar the way down for an unprivileged owner.
    for (auto entry = report_.entries.rbegin(); entry != report_.entries.rend(); ++entry) {
      if (entry->IsDirectory() && dirs_to_set_.contains(entry->path))
        TRY(destination_.SetDirMetadata(*entry));
    }
    if (options_.metadata_only) TRY(WriteMetadataFile());
    if (options_.on_progress) options_.on_progress(report_.bytes_received);
    return OkStatus();
  }

  Status WriteMetadataFile() {
    Entry entry;
    entry.path = kMetadataFile;
    entry.mode = S_IFREG | 0644;
    entry.size = static_cast<int64_t>(metadata_.size());
    entry.mtime_ns = UnixNanos(SystemClock().Now());
    FileWriter writer(1, options_.make_hasher, [] {});
    TRY_ASSIGN(Destination::Place place, destination_.PlaceOf(entry.path));
    writer.Open(0, entry, std::move(place), true);
    writer.Append(0, std::move(metadata_));
    writer.Close(0);
    TRY_ASSIGN(const auto digests, writer.Finish());
    entry.digest = digests.front().second;
    auto& entries = report_.entries;
    const auto at = std::lower_bound(
        entries.begin(), entries.end(), entry,
        [](const Entry& a, const Entry& b) { return ComparePaths(a.path, b.path) < 0; });
    const auto index = static_cast<uint32_t>(at - entries.begin());
    entries.insert(at, std::move(entry));
    for (uint32_t& changed : report_.changed) changed += changed >= index ? 1 : 0;
    report_.changed.insert(std::lower_bound(report_.changed.begin(), report_.changed.end(), index),
                           index);
    return OkStatus();
  }

  struct Request {
    uint32_t index = 0;
    bool replaces = false;
    bool begun = false;
  };

  const progress::Activity& activity_;
  PacketStream& stream_;
  Destination destination_;
  ReceiveOptions options_;
  RequestWriter requests_;
  FileWriter files_;
  ReceiveReport report_;
  ListingChecker order_;
  uint32_t next_id_ = 0;
  size_t next_previous_ = 0;
  std::string removed_prefix_;
  std::string last_touched_;
  std::unordered_set<std::string> dirs_to_set_;
  std::unordered_map<uint32_t, Request> requested_;
  size_t begun_files_ = 0;
  std::vector<uint32_t> links_;
  bool listed_ = false;
  bool finishing_ = false;
  std::chrono::steady_clock::time_point last_progress_{};

  PatternMatcher content_;
  std::string metadata_;
  std::vector<std::pair<Entry, std::optional<uint32_t>>> waiting_dirs_;
};

}  // namespace

Result<ReceiveReport> ReceiveTree(const progress::Activity& activity, PacketStream& stream,
                                  int root, ReceiveOptions options) {
  return Receiving(activity, stream, root, std::move(options)).Run();
}

}  // namespace kiln::filesync
