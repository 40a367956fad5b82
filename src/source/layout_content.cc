#include "source/layout_content.h"

#include <algorithm>

#include "archive/stream.h"
#include "base/error.h"
#include "session/content.h"

namespace kiln::source {
namespace {

// Passes on to a download's sink, no more than was announced.
class CheckedSink final : public archive::ByteSink {
 public:
  CheckedSink(registry::BlobSink& sink, uint64_t size) : sink_(sink), size_(size) {}
  Status Write(std::string_view data) override {
    if (sink_.offset() + data.size() > size_) {
      return FailedPrecondition("unexpected commit size {}, expected {}: failed precondition",
                                sink_.offset() + data.size(), size_);
    }
    return sink_.Write(data);
  }

 private:
  registry::BlobSink& sink_;
  const uint64_t size_;
};

class LimitedSink final : public archive::ByteSink {
 public:
  explicit LimitedSink(size_t limit) : limit_(limit) {}
  Status Write(std::string_view data) override {
    if (text_.size() + data.size() > limit_) {
      return FailedPrecondition("more than the {} bytes allowed", limit_);
    }
    text_ += data;
    return OkStatus();
  }
  std::string Take() { return std::move(text_); }

 private:
  const size_t limit_;
  std::string text_;
};

}  // namespace

template <typename Call>
std::invoke_result_t<Call, session::Session&> LayoutContent::AtSession(
    const progress::Activity& activity, const Call& call) const {
  if (!session_id_.empty()) {
    // That of a build long ended is not waited for: where a layer lies is remembered with it.
    const std::vector<std::string> mine = activity.sessions->SessionIds();
    session::SessionPtr pinned = sessions_.Find(session_id_);
    if (pinned == nullptr && std::find(mine.begin(), mine.end(), session_id_) != mine.end()) {
      auto awaited = sessions_.Get(activity, session_id_);
      if (awaited.ok()) pinned = std::move(*awaited);
      TRY(activity.Check());
    }
    if (pinned != nullptr) return call(*pinned);
  }
  return session::Any(sessions_, activity, call);
}

Status LayoutContent::Read(const progress::Activity& activity, const oci::Descriptor& blob,
                           registry::BlobSink& sink) const {
  const auto size = static_cast<uint64_t>(blob.size);
  const auto read = [&](session::Session& session) -> Status {
    if (sink.offset() > size) TRY(sink.Restart());
    CheckedSink checked(sink, size);
    TRY(session::ReadContent(activity, session, store_id_, blob.digest,
                             static_cast<int64_t>(sink.offset()), checked));
    if (sink.offset() != size) {
      return FailedPrecondition("unexpected commit size {}, expected {}: failed precondition",
                                sink.offset(), size);
    }
    return OkStatus();
  };
  TRY_CTX(AtSession(activity, read), "reading {} from {}", blob.digest, store_id_);
  return OkStatus();
}

Result<std::string> LayoutContent::ReadSmall(const progress::Activity& activity,
                                             const Digest& digest, size_t limit) const {
  const auto read = [&](session::Session& session) -> Result<std::string> {
    LimitedSink sink(limit);
    TRY(session::ReadContent(activity, session, store_id_, digest, 0, sink));
    std::string text = sink.Take();
    if (const Digest got = Sha256Of(text); got != digest) {
      return FailedPrecondition("unexpected commit digest {}, expected {}: failed precondition",
                                got, digest);
    }
    return text;
  };
  TRY_ASSIGN_CTX(std::string text, AtSession(activity, read), "reading {} from {}", digest,
                 store_id_);
  return text;
}

Result<int64_t> LayoutContent::Stat(const progress::Activity& activity,
                                    const Digest& digest) const {
  const auto stat = [&](session::Session& session) -> Result<int64_t> {
    TRY_ASSIGN(const session::ContentInfo info,
               session::StatContent(activity, session, store_id_, digest));
    return info.size;
  };
  TRY_ASSIGN_CTX(const int64_t size, AtSession(activity, stat), "{} in {}", digest, store_id_);
  return size;
}

}  // namespace kiln::source
