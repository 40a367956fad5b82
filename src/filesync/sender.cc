#include "filesync/sender.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/strings.h"
#include "base/thread.h"

namespace kiln::filesync {
namespace {

constexpr size_t kMaxChunkBytes = 1 << 20;

class Sending {
 public:
  Sending(const progress::Activity& activity, PacketStream& stream, Tree& tree,
          const SendOptions& options)
      : activity_(activity),
        stream_(stream),
        tree_(tree),
        options_(options),
        chunk_bytes_(std::clamp<size_t>(options.chunk_bytes, 4096, kMaxChunkBytes)),
        buffer_(std::make_unique_for_overwrite<char[]>(chunk_bytes_)) {}

  Result<SendReport> Run() {
    const auto on_cancel = activity_.cancel.OnCancel([this] { stream_.Cancel(); });
    auto reader = StartThread("kiln-send", [this] { ReadRequests(); });
    if (!reader.ok()) {
      stream_.Cancel();
      return std::move(reader).error();
    }
    // Files are served while the walk goes on: a receiver asks for them at any time.
    auto server = StartThread("kiln-send", [this] { ServeFiles(); });
    const Status walked = server.ok() ? ListEntries() : Status(server.error());
    if (!walked.ok() && !broken_) Fail(walked.error());
    if (server.ok()) server->join();
    reader->join();
    TRY(activity_.Check());
    MutexLock lock(mutex_);
    if (failure_) return *failure_;
    MutexLock write_lock(write_mutex_);
    report_.bytes_sent = sent_bytes_;
    if (options_.on_progress) options_.on_progress(report_.bytes_sent);
    return report_;
  }

 private:
  enum class State : uint8_t { kNotAFile, kFile, kRequested };

  Status ListEntries() {
    TRY(tree_.Walk(activity_, [this](const Entry& entry) { return SendEntry(entry); }));
    Packet end;
    end.set_type(Packet::PACKET_STAT);
    end.set_listedat(options_.listed_at_ns);
    if (!Send(end, false)) return Broken();
    return OkStatus();
  }

  Status SendEntry(const Entry& entry) {
    TRY(activity_.Check());
    {
      MutexLock lock(mutex_);
      if (failure_) return *failure_;
      const bool servable = entry.IsRegular() && !entry.IsHardLink();
      states_.push_back(servable ? State::kFile : State::kNotAFile);
      files_.emplace_back();
      if (servable) files_.back() = entry;
      ++report_.entries;
    }
    listing_.Clear();
    listing_.set_type(Packet::PACKET_STAT);
    ToStat(entry, listing_.mutable_stat());
    if (!Send(listing_, true)) return Broken();
    return OkStatus();
  }

  // Reads until the receiver has nothing more to say. Never writes, never waits for a writer.
  void ReadRequests() {
    Packet packet;
    while (stream_.Read(&packet)) {
      switch (packet.type()) {
        case Packet::PACKET_REQ:
          if (!Enqueue(packet.id())) return;
          break;
        case Packet::PACKET_FIN: {
          MutexLock lock(mutex_);
          finished_ = true;
          changed_.NotifyAll();
          return;
        }
        case Packet::PACKET_ERR:
          Fail(Unknown("error from receiver: {}", packet.data()));
          return;
        default:
          Fail(InvalidArgument("the receiver sent a packet of type {}",
                               static_cast<int>(packet.type())));
          return;
      }
    }
    (void)Broken();
  }

  bool Enqueue(uint32_t id) {
    {
      MutexLock lock(mutex_);
      if (id < states_.size() && states_[id] == State::kFile) {
        states_[id] = State::kRequested;
        requests_.push_back(id);
        changed_.NotifyAll();
        return true;
      }
    }
    Fail(InvalidArgument("invalid file id {}", id));
    return false;
  }

  void ServeFiles() {
    while (true) {
      Entry entry;
      uint32_t id = 0;
      bool more = false;
      {
        MutexLock lock(mutex_);
        while (!failure_ && requests_.empty() && !finished_) changed_.Wait(lock);
        if (failure_) return;
        if (requests_.empty()) break;
        id = requests_.front();
        requests_.pop_front();
        entry = std::move(files_[id]);
        more = !requests_.empty();
        ++report_.files_sent;
      }
      const Status sent = SendFile(entry, id, more);
      if (!sent.ok()) {
        if (!broken_) Fail(sent.error());
        return;
      }
    }
    Packet fin;
    fin.set_type(Packet::PACKET_FIN);
    if (!Send(fin, false)) (void)Broken();
  }

  Status SendFile(const Entry& entry, uint32_t id, bool more) {
    TRY_ASSIGN_CTX(const Content content, tree_.Open(entry), "{}", entry.path);
    Packet& packet = serving_;
    packet.set_type(Packet::PACKET_DATA);
    packet.set_id(id);
    std::string& data = *packet.mutable_data();
    for (size_t offset = 0;; offset += data.size()) {
      TRY(activity_.Check());
      if (content.fd) {
        TRY_ASSIGN_CTX(const size_t n, ReadSome(content.fd.get(), buffer_.get(), chunk_bytes_),
                       "{}", entry.path);
        data.assign(buffer_.get(), n);
      } else {
        data.assign(content.data, std::min(offset, content.data.size()), chunk_bytes_);
      }
      const bool last = data.empty();
      if (!Send(packet, last ? more : true)) return Broken();
      if (last) return OkStatus();
    }
  }

  bool Send(const Packet& packet, bool more) {
    MutexLock lock(write_mutex_);
    if (!stream_.Write(packet, more)) return false;
    sent_bytes_ += static_cast<int64_t>(packet.ByteSizeLong());
    const auto now = std::chrono::steady_clock::now();
    if (options_.on_progress && now - last_progress_ >= kProgressInterval) {
      last_progress_ = now;
      options_.on_progress(sent_bytes_);
    }
    return true;
  }

  // The call has ended: nothing can be told to the receiver, and nothing is cancelled, for the
  // call's own status says why it ended.
  Error Broken() EXCLUDES(mutex_) {
    broken_ = true;
    Error error = Unavailable("the receiver closed the stream");
    MutexLock lock(mutex_);
    if (!failure_ && !finished_) failure_ = error;
    changed_.NotifyAll();
    return error;
  }

  // The first failure counts. Tells the receiver, and makes both threads end.
  void Fail(const Error& error) EXCLUDES(mutex_, write_mutex_) {
    {
      MutexLock lock(mutex_);
      if (failure_ || finished_) return;
      failure_ = error;
      changed_.NotifyAll();
    }
    Packet packet;
    packet.set_type(Packet::PACKET_ERR);
    packet.set_data(error.ToString());
    {
      MutexLock lock(write_mutex_);
      stream_.Write(packet, false);
    }
    stream_.Cancel();
  }

  const progress::Activity& activity_;
  PacketStream& stream_;
  Tree& tree_;
  const SendOptions& options_;
  const size_t chunk_bytes_;
  // The serving thread's own: most files are far smaller than a chunk, so neither is cleared for
  // each.
  const std::unique_ptr<char[]> buffer_;
  Packet serving_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<State> states_ GUARDED_BY(mutex_);
  std::deque<Entry> files_ GUARDED_BY(mutex_);  // what is needed to open the servable ones
  std::deque<uint32_t> requests_ GUARDED_BY(mutex_);
  bool finished_ GUARDED_BY(mutex_) = false;
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  SendReport report_ GUARDED_BY(mutex_);

  std::atomic<bool> broken_ = false;
  Packet listing_;
  Mutex write_mutex_ ACQUIRED_AFTER(mutex_);
  int64_t sent_bytes_ GUARDED_BY(write_mutex_) = 0;
  std::chrono::steady_clock::time_point last_progress_ GUARDED_BY(write_mutex_){};
};

}  // namespace

Result<SendReport> SendTree(const progress::Activity& activity, PacketStream& stream, Tree& tree,
                            const SendOptions& options) {
  return Sending(activity, stream, tree, options).Run();
}

}  // namespace kiln::filesync
