#include "source/sources.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "source/blob_file_source.h"
#include "source/git_source.h"
#include "source/http_source.h"
#include "source/image_source.h"
#include "source/job_views.h"
#include "source/local_source.h"

namespace kiln::source {
namespace {

std::string RecordTypeName(llb::RecordType type) {
  switch (type) {
    case llb::RecordType::kInternal:
      return std::string(store::kTypeInternal);
    case llb::RecordType::kFrontend:
      return std::string(store::kTypeFrontend);
    default:
      return std::string(store::kTypeRegular);
  }
}

Result<ImageSpec> SpecOf(const llb::SourceId& id) {
  ImageSpec spec;
  if (const auto* image = std::get_if<llb::ImageSource>(&id)) {
    spec = {.kind = Material::Kind::kImage,
            .ref = image->ref,
            .record_type = RecordTypeName(image->record_type),
            .layer_limit = image->layer_limit,
            .checksum = image->checksum};
  } else if (const auto* layout = std::get_if<llb::OciLayoutSource>(&id)) {
    spec = {.kind = Material::Kind::kOciLayout,
            .ref = layout->ref,
            .record_type = std::string(store::kTypeRegular),
            .layer_limit = layout->layer_limit};
  } else {
    return InvalidArgument("not an image source: {}", llb::CanonicalIdentifier(id));
  }
  return spec;
}

}  // namespace

Status CheckServed(const std::map<std::string, std::string>& unserved) {
  if (unserved.empty()) return OkStatus();
  return Unimplemented("attribute {} of a source is not served by this build server",
                       unserved.begin()->first);
}

Sources::Sources(const Services& services) : services_(services) {
  services_.views = std::make_shared<JobViews>();
}

std::shared_ptr<JobView> Sources::OpenView(
    std::shared_ptr<const progress::SessionGroup> sessions) const {
  return services_.views->Open(std::move(sessions));
}

std::optional<GitMeta> MetaCache::FindGit(const std::string& key) const {
  const MutexLock lock(mutex_);
  const auto it = known_git_.find(key);
  if (it == known_git_.end()) return std::nullopt;
  return it->second;
}

void MetaCache::PutGit(const std::string& key, const GitMeta& meta) {
  const MutexLock lock(mutex_);
  known_git_.insert_or_assign(key, meta);
}

std::optional<HttpMeta> MetaCache::FindHttp(const std::string& key) const {
  const MutexLock lock(mutex_);
  const auto it = known_http_.find(key);
  if (it == known_http_.end()) return std::nullopt;
  return it->second;
}

void MetaCache::PutHttp(const std::string& key, const HttpMeta& meta) {
  const MutexLock lock(mutex_);
  known_http_.insert_or_assign(key, meta);
}

std::optional<ImageMeta> MetaCache::Find(const std::string& key) const {
  const MutexLock lock(mutex_);
  const auto it = known_.find(key);
  if (it == known_.end()) return std::nullopt;
  return it->second;
}

void MetaCache::Put(const std::string& key, const ImageMeta& meta) {
  const MutexLock lock(mutex_);
  known_.insert_or_assign(key, meta);
}

Result<SourcePtr> Sources::Make(const llb::SourceId& id, const oci::Platform& platform) const {
  if (const auto* git = std::get_if<llb::GitSource>(&id)) {
    TRY(CheckServed(git->other));
    return SourcePtr(std::make_shared<GitTree>(services_, *git));
  }
  if (const auto* http = std::get_if<llb::HttpSource>(&id)) {
    TRY(CheckServed(http->other));
    return SourcePtr(std::make_shared<HttpFileSource>(services_, *http));
  }
  if (const auto* local = std::get_if<llb::LocalSource>(&id)) {
    return SourcePtr(std::make_shared<LocalFolder>(services_, *local));
  }
  if (const auto* blob = std::get_if<llb::BlobSource>(&id)) return MakeBlobFile(services_, *blob);
  TRY_ASSIGN(ImageSpec spec, SpecOf(id));
  TRY_ASSIGN(std::shared_ptr<ImageOrigin> origin, OriginOf(services_, id));
  return SourcePtr(std::make_shared<ImageSource>(services_, std::move(spec),
                                                 oci::Normalize(platform), std::move(origin)));
}

Result<ImageMeta> Sources::ResolveImage(const progress::Activity& activity, const llb::SourceId& id,
                                        const oci::Platform& platform, bool with_config,
                                        MetaCache* cache) const {
  TRY_ASSIGN(const ImageSpec spec, SpecOf(id));
  TRY_ASSIGN(const std::shared_ptr<ImageOrigin> origin, OriginOf(services_, id));
  const oci::Platform wanted = oci::Normalize(platform);
  const store::Locator locator = origin->locator();
  const std::string key =
      Join({locator.kind, locator.value, spec.ref, oci::FormatAll(wanted)}, "\n");
  // An answer with the configuration serves also those who do not need it.
  for (const char* suffix : {"\nconfig", ""}) {
    if (cache == nullptr || (with_config && *suffix == '\0')) continue;
    if (auto known = cache->Find(key + suffix)) {
      TRY(CheckDigest(spec, known->digest));
      return *std::move(known);
    }
  }
  ImageReader reader(services_.store, services_.clock, *origin);
  ImageMeta meta;
  TRY_ASSIGN(const oci::Descriptor top, TopOf(services_, activity, *origin, reader));
  TRY(CheckDigest(spec, top.digest));
  meta.digest = top.digest;
  if (with_config) {
    TRY_ASSIGN(ImageDocuments documents, reader.Read(activity, top, wanted));
    meta.config = std::move(documents.config_json);
  }
  if (cache != nullptr) cache->Put(key + (with_config ? "\nconfig" : ""), meta);
  return meta;
}

}  // namespace kiln::source
