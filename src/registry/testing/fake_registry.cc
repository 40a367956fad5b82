#include "registry/testing/fake_registry.h"

#include "base/strings.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/media_type.h"

namespace kiln::registry {
namespace {

using http::ReceivedRequest;
using http::Reply;

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(ParseUint(text.substr(i + 1, 2), 16).value_or('?'));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

std::string QueryValue(const std::string& query, const std::string& name) {
  for (const std::string_view part : Split(query, '&')) {
    const auto pair = Cut(part, "=");
    if (pair && pair->first == name) return Unescape(pair->second);
  }
  return {};
}

Reply ErrorReply(int status, const std::string& code, const std::string& message) {
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = R"({"errors":[{"code":")" + code + R"(","message":")" + message + "\"}]}"};
}

const std::string kBasicGood = "Basic " + Base64Encode("user:secret");

}  // namespace

FakeRegistry::FakeRegistry()
    : server_(std::make_unique<http::FakeServer>(
          [this](const ReceivedRequest& request) { return Handle(request); })) {}

void FakeRegistry::set_fault(Fault fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

void FakeRegistry::RevokeTokens() {
  const std::lock_guard lock(mutex_);
  valid_token_ = "none";
}

Reply FakeRegistry::Handle(const ReceivedRequest& request) {
  Fault fault;
  {
    const std::lock_guard lock(mutex_);
    fault = fault_;
  }
  if (fault) {
    if (auto reply = fault(request)) return *reply;
  }
  const std::lock_guard lock(mutex_);
  if (request.path == "/token") return ServeToken(request);
  if (auto refusal = Challenge(request)) return *refusal;
  return Serve(request);
}

Reply FakeRegistry::ServeToken(const ReceivedRequest& request) {
  const std::string given = request.header("Authorization");
  const bool bad_form =
      request.method == "POST" && QueryValue(request.body, "password") != "secret";
  if (bad_form || (!given.empty() && given != kBasicGood))
    return ErrorReply(401, "UNAUTHORIZED", "wrong password");
  valid_token_ = "good-" + std::to_string(++tokens_issued_);
  return {.body = R"({"token":")" + valid_token_ + R"(","expires_in":300})"};
}

std::optional<Reply> FakeRegistry::Challenge(const ReceivedRequest& request) {
  const std::string given = request.header("Authorization");
  if (auth_ == Auth::kBasic && given != kBasicGood) {
    Reply reply = ErrorReply(401, "UNAUTHORIZED", "authentication required");
    reply.headers.push_back({"WWW-Authenticate", "Basic realm=\"fake\""});
    return reply;
  }
  if (auth_ == Auth::kBearer && given != "Bearer " + valid_token_) {
    Reply reply = ErrorReply(401, "UNAUTHORIZED", "authentication required");
    std::string challenge = "Bearer realm=\"http://" + host() + "/token\",service=\"fake\"";
    if (!given.empty()) challenge += ",error=\"invalid_token\"";
    reply.headers.push_back({"WWW-Authenticate", challenge});
    return reply;
  }
  return std::nullopt;
}

Reply FakeRegistry::Serve(const ReceivedRequest& request) {
  if (!request.path.starts_with("/v2/")) return {.status = 404};
  const std::string rest = request.path.substr(4);
  if (rest.empty()) return {.body = "{}"};
  const size_t uploads = rest.find("/blobs/uploads/");
  if (uploads != std::string::npos) return ServeUpload(request, rest.substr(0, uploads));
  for (const char* kind : {"/manifests/", "/blobs/"}) {
    const size_t at = rest.find(kind);
    if (at == std::string::npos) continue;
    const std::string name = rest.substr(at + std::string(kind).size());
    return std::string(kind) == "/blobs/" ? ServeBlob(request, rest.substr(0, at), name)
                                          : ServeManifest(request, rest.substr(0, at), name);
  }
  return {.status = 404};
}

Reply FakeRegistry::ServeManifest(const ReceivedRequest& request, const std::string& repository,
                                  const std::string& reference) {
  auto& documents = manifests_[repository];
  if (request.method == "PUT") {
    const Document document{request.body, request.header("Content-Type")};
    const std::string digest = Sha256Of(request.body).ToString();
    documents[reference] = document;
    documents[digest] = document;
    return {.status = 201, .headers = {{"Docker-Content-Digest", digest}}};
  }
  const auto it = documents.find(reference);
  if (it == documents.end()) return ErrorReply(404, "MANIFEST_UNKNOWN", "manifest unknown");
  return {.headers = {{"Content-Type", it->second.media_type},
                      {"Docker-Content-Digest", Sha256Of(it->second.content).ToString()}},
          .body = it->second.content};
}

Reply FakeRegistry::ServeBlob(const ReceivedRequest& request, const std::string& repository,
                              const std::string& digest) {
  const auto& blobs = blobs_[repository];
  const auto it = blobs.find(digest);
  if (it == blobs.end()) return ErrorReply(404, "BLOB_UNKNOWN", "blob unknown to registry");
  const std::string range = request.header("Range");
  if (!range.starts_with("bytes=")) return {.body = it->second};
  const size_t start = ParseUint(Cut(std::string_view(range).substr(6), "-")->first).value_or(0);
  if (start >= it->second.size()) return {.status = 416};
  return {.status = 206,
          .headers = {{"Content-Range", "bytes " + std::to_string(start) + "-" +
                                            std::to_string(it->second.size() - 1) + "/" +
                                            std::to_string(it->second.size())}},
          .body = it->second.substr(start)};
}

Reply FakeRegistry::ServeUpload(const ReceivedRequest& request, const std::string& repository) {
  if (request.method == "POST") {
    const std::string mount = QueryValue(request.query, "mount");
    const std::string from = QueryValue(request.query, "from");
    if (!mount.empty() && blobs_[from].contains(mount)) {
      blobs_[repository][mount] = blobs_[from][mount];
      return {.status = 201, .headers = {{"Docker-Content-Digest", mount}}};
    }
    return {.status = 202,
            .headers = {{"Location", "/v2/" + repository + "/blobs/uploads/u" +
                                         std::to_string(++uploads_) + "?_state=x"}}};
  }
  std::string& content = parts_[request.path];
  if (request.method == "PATCH") {
    const std::string range = request.header("Content-Range");
    if (!range.starts_with(std::to_string(content.size()) + "-")) return {.status = 416};
    content += request.body;
    return {.status = 202, .headers = {{"Location", request.path + "?_state=y"}}};
  }
  content += request.body;
  const std::string digest = QueryValue(request.query, "digest");
  if (Sha256Of(content).ToString() != digest) {
    return ErrorReply(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
  }
  blobs_[repository][digest] = content;
  return {.status = 201, .headers = {{"Docker-Content-Digest", digest}}};
}

oci::Descriptor FakeRegistry::AddBlob(const std::string& repository, const std::string& content,
                                      const std::string& media_type) {
  const std::lock_guard lock(mutex_);
  oci::Descriptor descriptor;
  descriptor.media_type = media_type;
  descriptor.digest = Sha256Of(content);
  descriptor.size = static_cast<int64_t>(content.size());
  blobs_[repository][descriptor.digest.ToString()] = content;
  return descriptor;
}

oci::Descriptor FakeRegistry::AddManifest(const std::string& repository, const std::string& tag,
                                          const std::string& content,
                                          const std::string& media_type) {
  const std::lock_guard lock(mutex_);
  oci::Descriptor descriptor;
  descriptor.media_type = media_type;
  descriptor.digest = Sha256Of(content);
  descriptor.size = static_cast<int64_t>(content.size());
  manifests_[repository][descriptor.digest.ToString()] = {content, media_type};
  if (!tag.empty()) manifests_[repository][tag] = {content, media_type};
  return descriptor;
}

oci::Descriptor FakeRegistry::AddImage(const std::string& repository, const std::string& tag,
                                       const std::vector<std::string>& layers,
                                       const oci::Platform& platform) {
  oci::ImageConfig config = oci::DefaultImageConfig(platform);
  oci::Manifest manifest;
  manifest.media_type = oci::kOciManifest;
  for (const std::string& layer : layers) {
    manifest.layers.push_back(AddBlob(repository, layer, std::string(oci::kOciLayer)));
    config.rootfs.diff_ids.push_back(Sha256Of(layer));
  }
  manifest.config = AddBlob(repository, oci::Encode(config), std::string(oci::kOciConfig));
  oci::Descriptor descriptor =
      AddManifest(repository, tag, oci::Encode(manifest), std::string(oci::kOciManifest));
  descriptor.platform = platform;
  return descriptor;
}

std::optional<std::string> FakeRegistry::Blob(const std::string& repository,
                                              const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto blobs = blobs_.find(repository);
  if (blobs == blobs_.end()) return std::nullopt;
  const auto it = blobs->second.find(digest.ToString());
  if (it == blobs->second.end()) return std::nullopt;
  return it->second;
}

std::optional<std::string> FakeRegistry::Manifest(const std::string& repository,
                                                  const std::string& reference) const {
  const std::lock_guard lock(mutex_);
  const auto documents = manifests_.find(repository);
  if (documents == manifests_.end()) return std::nullopt;
  const auto it = documents->second.find(reference);
  if (it == documents->second.end()) return std::nullopt;
  return it->second.content;
}

}  // namespace kiln::registry
