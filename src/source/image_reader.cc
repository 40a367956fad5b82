#include "source/image_reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "oci/media_type.h"
#include "registry/registry.h"
#include "store/store.h"

namespace kiln::source {
namespace {

constexpr int kMaxDepth = 4;
constexpr size_t kMaxCandidates = 16;
// Indexes of indexes that name no platform would lead to a million.
constexpr int kMaxManifests = 256;
constexpr char kPinOwner[] = "image-documents";
constexpr std::chrono::hours kPinTime{30 * 24};

// Of artifacts (charts, signatures, modules) that are kept as manifests too.
Status CheckIsImage(const oci::Manifest& manifest, const std::string& name, const Digest& digest) {
  // Old registries know no better type than the second; attestations have the third.
  const std::string_view type = oci::BareMediaType(manifest.config.media_type);
  if (type.empty() || oci::IsImageConfig(type) || type == "application/octet-stream" ||
      type == oci::kInTotoLayer) {
    return OkStatus();
  }
  return FailedPrecondition("{}: {} is no image: its configuration has media type {}", name, digest,
                            Quoted(manifest.config.media_type, 200));
}

}  // namespace

std::vector<oci::Descriptor> CandidatesOf(const oci::Index& index,
                                          const oci::PlatformMatcher& matcher) {
  std::vector<oci::Descriptor> candidates;
  std::optional<oci::Descriptor> best;
  for (const oci::Descriptor& entry : index.manifests) {
    if (!oci::IsManifest(entry.media_type) && !oci::IsIndex(entry.media_type)) continue;
    if (!entry.platform) {
      if (candidates.size() < kMaxCandidates) candidates.push_back(entry);
    } else if (matcher.Match(*entry.platform)) {
      if (!best || matcher.Less(*entry.platform, *best->platform)) best = entry;
    }
  }
  if (best) candidates.insert(candidates.begin(), *std::move(best));
  return candidates;
}

Status ImageReader::Keep(const std::string& text, const Digest& digest) {
  TRY_ASSIGN(const store::BlobRef blob, store_.PutBlob(text, digest));
  TRY(store_.PinBlob(digest, kPinOwner, clock_.Now() + kPinTime));
  return origin_.Remember(store_, digest);
}

Result<oci::Descriptor> ImageReader::ResolveTop(const progress::Activity& activity) {
  if (const auto digest = origin_.digest()) {
    TRY_ASSIGN(const bool known, origin_.IsKnown(store_, *digest));
    if (known) {
      auto blob = store_.GetBlob(*digest);
      if (blob.ok() && blob->size() <= oci::kMaxManifestBytes) {
        TRY_ASSIGN(const std::string text, blob->ReadAll(oci::kMaxManifestBytes));
        auto type = oci::DetectManifestMediaType(text);
        if (type.ok()) {
          oci::Descriptor descriptor;
          descriptor.media_type = *std::move(type);
          descriptor.digest = *digest;
          descriptor.size = static_cast<int64_t>(text.size());
          return descriptor;
        }
      }
    }
  }
  const progress::StatusScope status(activity, clock_, Digest(), "resolve " + origin_.name());
  TRY_ASSIGN(registry::Resolved resolved, origin_.Resolve(activity));
  if (resolved.content) {
    TRY(Keep(*resolved.content, resolved.descriptor.digest));
  } else if (store_.GetBlob(resolved.descriptor.digest).ok()) {
    // Here from another place: known from this one as well from now on.
    TRY(origin_.Remember(store_, resolved.descriptor.digest));
  }
  return std::move(resolved.descriptor);
}

Result<std::string> ImageReader::Manifest(const progress::Activity& activity,
                                          const oci::Descriptor& descriptor) {
  auto blob = store_.GetBlob(descriptor.digest);
  if (blob.ok()) {
    auto text = blob->ReadAll(oci::kMaxManifestBytes);
    if (text.ok()) return text;
  }
  TRY_ASSIGN(std::string text, origin_.ReadManifest(activity, descriptor));
  TRY(Keep(text, descriptor.digest));
  return text;
}

Result<std::string> ImageReader::Config(const progress::Activity& activity,
                                        const oci::Descriptor& descriptor) {
  auto blob = store_.GetBlob(descriptor.digest);
  if (blob.ok()) {
    auto text = blob->ReadAll(oci::kMaxImageConfigBytes);
    if (text.ok()) return text;
  }
  TRY_ASSIGN(std::string text, origin_.ReadConfig(activity, descriptor));
  TRY(Keep(text, descriptor.digest));
  return text;
}

Result<ImageDocuments> ImageReader::ReadImage(const progress::Activity& activity,
                                              const oci::Descriptor& descriptor,
                                              const std::string& manifest_text) {
  ImageDocuments documents;
  documents.descriptor = descriptor;
  TRY_ASSIGN_CTX(documents.manifest, oci::DecodeManifest(manifest_text), "{}", origin_.name());
  TRY(CheckIsImage(documents.manifest, origin_.name(), descriptor.digest));
  TRY_ASSIGN(documents.config_json, Config(activity, documents.manifest.config));
  TRY_ASSIGN_CTX(documents.config, oci::DecodeImageConfig(documents.config_json), "{}",
                 origin_.name());
  const size_t layers = documents.manifest.layers.size();
  const size_t diff_ids = documents.config.rootfs.diff_ids.size();
  // A configuration without any would stand for an image without files.
  if (diff_ids == 0 && layers > 0) {
    return FailedPrecondition(
        "{}: mismatched image rootfs and manifest layers: the configuration ({}) lists no layer, "
        "the manifest {}, the first of type {}",
        origin_.name(), documents.manifest.config.media_type, layers,
        documents.manifest.layers.front().media_type);
  }
  return documents;
}

// Recurses into nested indexes, to a bounded depth.
// NOLINTNEXTLINE(misc-no-recursion)
Result<std::optional<ImageDocuments>> ImageReader::ReadAt(const progress::Activity& activity,
                                                          const oci::Descriptor& descriptor,
                                                          const oci::PlatformMatcher& matcher,
                                                          bool check_config, int depth) {
  if (depth > kMaxDepth) {
    return FailedPrecondition("{}: indexes are nested more than {} deep", origin_.name(),
                              kMaxDepth);
  }
  if (++manifests_read_ > kMaxManifests) {
    return ResourceExhausted("{}: too many descriptors (limit {})", origin_.name(), kMaxManifests);
  }
  TRY_ASSIGN(const std::string text, Manifest(activity, descriptor));
  TRY_ASSIGN_CTX(const std::string type, oci::DetectManifestMediaType(text), "{}", origin_.name());
  if (!oci::IsIndex(type)) {
    TRY_ASSIGN(ImageDocuments documents, ReadImage(activity, descriptor, text));
    if (check_config && !matcher.Match(documents.config.platform)) {
      return std::optional<ImageDocuments>();
    }
    return std::optional(std::move(documents));
  }
  TRY_ASSIGN_CTX(const oci::Index index, oci::DecodeIndex(text), "{}", origin_.name());
  for (const oci::Descriptor& candidate : CandidatesOf(index, matcher)) {
    const bool check = !candidate.platform.has_value();
    TRY_ASSIGN(std::optional<ImageDocuments> found,
               ReadAt(activity, candidate, matcher, check, depth + 1));
    if (found) return found;
  }
  return std::optional<ImageDocuments>();
}

Result<ImageDocuments> ImageReader::Read(const progress::Activity& activity,
                                         const oci::Descriptor& top,
                                         const oci::Platform& platform) {
  const oci::PlatformMatcher matcher(platform);
  manifests_read_ = 0;
  TRY_ASSIGN(std::optional<ImageDocuments> found,
             ReadAt(activity, top, matcher, /*check_config=*/false, 0));
  if (!found) return NotFound("no match for platform in manifest: not found");
  return *std::move(found);
}

}  // namespace kiln::source
