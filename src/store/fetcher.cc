#include "store/fetcher.h"

namespace kiln::store {

bool IsLost(const Error& error) { return error.FindDetail(kLostDetailType) != nullptr; }

Error LostError(const std::string& record_id, std::string message) {
  Error error(Code::kNotFound, std::move(message));
  error.AddDetail({std::string(kLostDetailType), record_id});
  return error;
}

namespace {

// The place does not have it, or nobody here may read there: another place may do.
bool IsGone(const Error& error) {
  switch (error.code()) {
    case Code::kNotFound:
    case Code::kFailedPrecondition:
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<BlobRef> Fetcher::Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
                               const std::string& record_id) {
  if (auto local = blobs_->Get(blob.digest); local.ok()) return local;
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate_.Enter(activity, blob.digest.ToString()));
  if (auto local = blobs_->Get(blob.digest); local.ok()) return local;
  TRY_ASSIGN(const std::vector<Locator> locators, rows_->LocatorsOf(blob.digest));
  std::optional<Error> last;
  bool all_gone = true;
  progress::StatusScope status(activity, root_->clock(), Digest(), blob.digest.ToString());
  for (const Locator& locator : locators) {
    const auto source = sources_.find(locator.kind);
    if (source == sources_.end()) continue;
    TRY(activity.Check());
    TRY_ASSIGN(BlobWriter writer, blobs_->Ingest());
    writer.set_observer(
        [&](uint64_t offset) { status.Update(static_cast<int64_t>(offset), blob.size); });
    Status fetched = source->second->Fetch(activity, blob, locator, writer);
    if (fetched.ok()) {
      auto ref = writer.Commit(blob.digest, static_cast<uint64_t>(blob.size));
      root_->janitor().WantSync();
      if (ref.ok()) return ref;
      fetched = std::move(ref).error();
    }
    TRY(activity.Check());
    all_gone = all_gone && IsGone(fetched.error());
    last = std::move(fetched.error().AddContext(
        fmt::format("fetching layer {} from {}", blob.digest, locator.value)));
  }
  if (!last)
    return LostError(
        record_id,
        fmt::format("layer {} is not here and no place to fetch it from is known", blob.digest));
  if (all_gone) last->AddDetail({std::string(kLostDetailType), record_id});
  return std::move(*last);
}

}  // namespace kiln::store
