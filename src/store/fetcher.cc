#include "store/fetcher.h"

#include <algorithm>

namespace kiln::store {

bool IsLost(const Error& error) { return error.FindDetail(kLostDetailType) != nullptr; }

Error LostError(const std::string& record_id, std::string message) {
  Error error(Code::kNotFound, std::move(message));
  error.AddDetail({std::string(kLostDetailType), record_id});
  return error;
}

namespace {

std::vector<Locator> Joined(std::vector<Locator> first, std::span<const Locator> more) {
  for (const Locator& locator : more) {
    if (std::find(first.begin(), first.end(), locator) == first.end()) first.push_back(locator);
  }
  return first;
}

}  // namespace

Result<BlobRef> Fetcher::Fetch(const progress::Activity& activity, const oci::Descriptor& blob,
                               const std::string& record_id, std::span<const Locator> also) {
  if (auto local = blobs_->Get(blob.digest); local.ok()) return local;
  TRY_ASSIGN(const KeyedGate::Ticket ticket, gate_.Enter(activity, blob.digest.ToString()));
  if (auto local = blobs_->Get(blob.digest); local.ok()) return local;
  TRY_ASSIGN(std::vector<Locator> known, rows_->LocatorsOf(blob.digest));
  const std::vector<Locator> locators = Joined(std::move(known), also);
  // Lost is only what no place has any more: where nobody of this build may read, somebody else
  // may.
  std::optional<Error> failed;
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
    if (failed && failed->code() != Code::kNotFound) continue;
    failed = std::move(fetched.error().AddContext(
        fmt::format("fetching layer {} from {}", blob.digest, locator.value)));
  }
  if (!failed)
    return LostError(
        record_id,
        fmt::format("layer {} is not here and no place to fetch it from is known", blob.digest));
  if (failed->code() == Code::kNotFound)
    failed->AddDetail({std::string(kLostDetailType), record_id});
  return std::move(*failed);
}

}  // namespace kiln::store
