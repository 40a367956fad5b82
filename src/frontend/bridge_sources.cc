// Calls of the bridge that look at sources and files.
#include <sys/sysmacros.h>

#include <map>
#include <utility>

#include "api/timestamp.h"
#include "base/strings.h"
#include "build/files.h"
#include "filesync/entry.h"
#include "frontend/bridge_calls.h"
#include "frontend/image_sources.h"
#include "fsutil/types/stat.pb.h"
#include "llb/definition.h"
#include "llb/source_id.h"

namespace kiln::frontend {
namespace {

constexpr std::string_view kImagePrefix = "docker-image://";
constexpr std::string_view kLayoutPrefix = "oci-layout://";

oci::Platform PlatformOf(const BridgeCall& call, bool has, const pb::Platform& platform) {
  if (has && !platform.os().empty()) return oci::Normalize(llb::PlatformFromPb(platform));
  const auto& platforms = call.bridge.gateway()->services().platforms;
  return platforms.empty() ? oci::HostPlatform() : platforms.front();
}

Status SetResolveMode(const std::string& mode, std::map<std::string, std::string>& attrs) {
  if (!mode.empty()) attrs["image.resolvemode"] = mode;
  return OkStatus();
}

Result<build::ReferencePtr> FindRef(const BridgeCall& call, const std::string& id, int mount) {
  if (mount != 0) return InvalidArgument("mount index {} without a container", mount);
  return call.bridge.Find(id);
}

void StatToProto(const build::FileStat& stat, fsutil::types::Stat* out) {
  filesync::Entry entry;
  entry.path = stat.path;
  entry.mode = stat.info.mode;
  entry.uid = stat.info.uid;
  entry.gid = stat.info.gid;
  entry.size = static_cast<int64_t>(stat.info.size);
  entry.mtime_ns = UnixNanos(stat.info.mtime);
  entry.linkname = stat.link_target;
  entry.devmajor = major(stat.info.rdev);
  entry.devminor = minor(stat.info.rdev);
  entry.xattrs = {stat.xattrs.begin(), stat.xattrs.end()};
  filesync::ToStat(entry, out);
}

Result<std::optional<source::FileChecksumRequest>> FileChecksumOf(
    const wire::ResolveSourceMetaRequest& request) {
  using Asked = std::optional<source::FileChecksumRequest>;
  if (!request.http().has_checksumrequest()) return Asked();
  const wire::ChecksumRequest& asked = request.http().checksumrequest();
  source::FileChecksumRequest checksum;
  using Algorithm = source::FileChecksumRequest::Algorithm;
  switch (asked.algo()) {
    case wire::ChecksumRequest::CHECKSUM_ALGO_SHA256:
      checksum.algorithm = Algorithm::kSha256;
      break;
    case wire::ChecksumRequest::CHECKSUM_ALGO_SHA384:
      checksum.algorithm = Algorithm::kSha384;
      break;
    case wire::ChecksumRequest::CHECKSUM_ALGO_SHA512:
      checksum.algorithm = Algorithm::kSha512;
      break;
    default:
      return InvalidArgument("unknown checksum algorithm {}", static_cast<int>(asked.algo()));
  }
  checksum.suffix = asked.suffix();
  return Asked(std::move(checksum));
}

void MetaToProto(std::monostate /*nothing*/, const SourceQuery& /*query*/,
                 wire::ResolveSourceMetaResponse* /*response*/) {}

void MetaToProto(source::ImageMeta meta, const SourceQuery& /*query*/,
                 wire::ResolveSourceMetaResponse* response) {
  response->mutable_image()->set_digest(meta.digest.ToString());
  response->mutable_image()->set_config(std::move(meta.config));
}

void MetaToProto(source::GitMeta meta, const SourceQuery& /*query*/,
                 wire::ResolveSourceMetaResponse* response) {
  wire::ResolveSourceGitResponse& git = *response->mutable_git();
  git.set_checksum(std::move(meta.checksum));
  git.set_ref(std::move(meta.ref));
  git.set_commitchecksum(std::move(meta.commit_checksum));
  git.set_commitobject(std::move(meta.commit_object));
  git.set_tagobject(std::move(meta.tag_object));
}

void MetaToProto(const source::HttpMeta& meta, const SourceQuery& query,
                 wire::ResolveSourceMetaResponse* response) {
  wire::ResolveSourceHTTPResponse& http = *response->mutable_http();
  http.set_checksum(meta.checksum.ToString());
  http.set_filename(meta.filename);
  if (meta.last_modified) {
    api::ToProto(std::chrono::floor<std::chrono::seconds>(*meta.last_modified),
                 http.mutable_lastmodified());
  }
  if (query.file_checksum) {
    http.mutable_checksumresponse()->set_digest(meta.requested_checksum);
    http.mutable_checksumresponse()->set_suffix(query.file_checksum->suffix);
  }
}

}  // namespace

Status ResolveSourceMeta(const BridgeCall& call, const wire::ResolveSourceMetaRequest& request,
                         wire::ResolveSourceMetaResponse* response) {
  if (!request.has_source()) return InvalidArgument("source is required");
  if (request.sourcepolicies_size() > 0) {
    return Unimplemented("source policies of a single request are not served by this build server");
  }
  if (request.image().attestationchain() || request.image().resolveattestations_size() > 0) {
    return Unimplemented("attestations of images are not resolved by this build server");
  }
  const pb::SourceOp& source = request.source();
  std::map<std::string, std::string> attrs(source.attrs().begin(), source.attrs().end());
  if (source.identifier().starts_with(kImagePrefix)) {
    TRY(SetResolveMode(request.resolvemode(), attrs));
  }
  SourceQuery query;
  TRY_ASSIGN(query.id, llb::ParseSource(source.identifier(), attrs));
  query.platform = PlatformOf(call, request.has_platform(), request.platform());
  query.log_name = request.logname();
  query.with_config = !request.image().noconfig();
  query.git_objects = request.git().returnobject();
  TRY_ASSIGN(query.file_checksum, FileChecksumOf(request));
  TRY_ASSIGN(SourceAnswer answer, call.bridge.gateway()->ResolveSource(call.activity, query));
  *response->mutable_source() = source;
  const llb::SourceSpec spec = llb::Format(answer.id);
  if (IsImage(answer.id)) {
    response->mutable_source()->set_identifier(spec.identifier);
  } else if (spec.identifier != source.identifier() || IsImage(query.id)) {
    // Not what was asked for any more: clients start over with the new source if it was an image.
    pb::SourceOp& changed = *response->mutable_source();
    changed.set_identifier(spec.identifier);
    changed.mutable_attrs()->clear();
    changed.mutable_attrs()->insert(spec.attrs.begin(), spec.attrs.end());
  }
  std::visit([&](auto& meta) { MetaToProto(std::move(meta), query, response); }, answer.meta);
  return OkStatus();
}

Status ResolveImageConfig(const BridgeCall& call, const wire::ResolveImageConfigRequest& request,
                          wire::ResolveImageConfigResponse* response) {
  if (request.sourcepolicies_size() > 0) {
    return Unimplemented("source policies of a single request are not served by this build server");
  }
  const bool layout = request.resolvertype() == 1;
  if (!layout && request.resolvertype() != 0) {
    return InvalidArgument("invalid resolver type {}", request.resolvertype());
  }
  std::map<std::string, std::string> attrs;
  if (layout) {
    attrs["oci.session"] = request.sessionid();
    attrs["oci.store"] = request.storeid();
  } else {
    TRY(SetResolveMode(request.resolvemode(), attrs));
  }
  ImageQuery query;
  const std::string_view prefix = layout ? kLayoutPrefix : kImagePrefix;
  TRY_ASSIGN(query.id, llb::ParseSource(std::string(prefix) + request.ref(), attrs));
  query.platform = PlatformOf(call, request.has_platform(), request.platform());
  query.log_name = request.logname();
  TRY_ASSIGN(ImageAnswer answer, call.bridge.gateway()->ResolveImage(call.activity, query));
  if (!IsImage(answer.id)) {
    // In the words that clients know; ResolveSourceMeta says what to do instead.
    return Unknown("ref mutated by policy to non-image: {}{} -> {}", prefix, request.ref(),
                   llb::Format(answer.id).identifier);
  }
  std::string identifier = llb::Format(answer.id).identifier;
  if (const auto cut = identifier.find("://"); cut != std::string::npos)
    identifier.erase(0, cut + 3);
  response->set_ref(std::move(identifier));
  response->set_digest(answer.digest.ToString());
  response->set_config(std::move(answer.config));
  return OkStatus();
}

Status ReadFile(const BridgeCall& call, const wire::ReadFileRequest& request,
                wire::ReadFileResponse* response) {
  TRY_ASSIGN(const build::ReferencePtr reference,
             FindRef(call, request.ref(), request.mountindex()));
  std::optional<build::FileRange> range;
  if (request.has_range()) {
    range = build::FileRange{request.range().offset(), request.range().length()};
  }
  TRY_ASSIGN(*response->mutable_data(),
             build::ReadFile(call.activity, *reference, request.filepath(), range));
  return OkStatus();
}

Status ReadDir(const BridgeCall& call, const wire::ReadDirRequest& request,
               wire::ReadDirResponse* response) {
  TRY_ASSIGN(const build::ReferencePtr reference,
             FindRef(call, request.ref(), request.mountindex()));
  TRY_ASSIGN(const auto entries, build::ReadDir(call.activity, *reference, request.dirpath(),
                                                request.includepattern()));
  for (const build::FileStat& entry : entries) StatToProto(entry, response->add_entries());
  return OkStatus();
}

Status StatFile(const BridgeCall& call, const wire::StatFileRequest& request,
                wire::StatFileResponse* response) {
  TRY_ASSIGN(const build::ReferencePtr reference,
             FindRef(call, request.ref(), request.mountindex()));
  TRY_ASSIGN(const build::FileStat stat,
             build::StatFile(call.activity, *reference, request.path()));
  StatToProto(stat, response->mutable_stat());
  return OkStatus();
}

}  // namespace kiln::frontend
