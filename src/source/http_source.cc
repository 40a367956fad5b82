#include "source/http_source.h"

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "http/url.h"
#include "llb/source_key.h"
#include "store/store.h"

namespace kiln::source {
namespace {

SourceKey KeyOf(const llb::HttpSource& spec, const std::string& filename, const Digest& checksum,
                const std::string& last_modified) {
  llb::HttpKeyParts parts;
  parts.filename = filename;
  parts.mode = spec.mode.value_or(0600);
  parts.uid = spec.uid;
  parts.gid = spec.gid;
  parts.checksum = checksum;
  parts.last_modified = last_modified;
  parts.auth_header_secret = spec.auth_header_secret;
  parts.headers = spec.headers;
  SourceKey key;
  key.key = llb::HttpKey(parts).ToString();
  key.parts = {{"URL", http::RedactUrl(spec.url)},
               {"digest", checksum.ToString()},
               {"last modified", last_modified}};
  return key;
}

struct MdDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// "sha512:…" of a file with the request's suffix behind it.
Result<std::string> ChecksumOf(int file, const FileChecksumRequest& request) {
  using Algorithm = FileChecksumRequest::Algorithm;
  const EVP_MD* algorithm = request.algorithm == Algorithm::kSha256   ? EVP_sha256()
                            : request.algorithm == Algorithm::kSha384 ? EVP_sha384()
                                                                      : EVP_sha512();
  const char* name = request.algorithm == Algorithm::kSha256   ? "sha256:"
                     : request.algorithm == Algorithm::kSha384 ? "sha384:"
                                                               : "sha512:";
  const std::unique_ptr<EVP_MD_CTX, MdDeleter> context(EVP_MD_CTX_new());
  bool fine = context != nullptr && EVP_DigestInit_ex(context.get(), algorithm, nullptr) == 1;
  std::array<char, 64 << 10> buffer{};
  while (fine) {
    TRY_ASSIGN(const size_t n, ReadSome(file, buffer.data(), buffer.size()));
    if (n == 0) break;
    fine = EVP_DigestUpdate(context.get(), buffer.data(), n) == 1;
  }
  fine = fine && EVP_DigestUpdate(context.get(), request.suffix.data(), request.suffix.size()) == 1;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  fine = fine && EVP_DigestFinal_ex(context.get(), digest.data(), &size) == 1;
  if (!fine) return Internal("computing a checksum failed");
  return name + HexEncode({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace

Result<SourceKey> HttpFileSource::Key(const progress::Activity& activity, int /*part*/) {
  if (spec_.checksum) return KeyOf(spec_, HttpFilename(spec_, nullptr), *spec_.checksum, "");
  TRY_ASSIGN(HttpFile file, HttpDownload(services_, spec_).Current(activity));
  SourceKey key = KeyOf(spec_, file.filename, file.checksum, file.last_modified);
  const MutexLock lock(mutex_);
  file_ = std::move(file);
  return key;
}

Result<store::SnapshotRef> HttpFileSource::Fetch(const progress::Activity& activity) {
  {
    const MutexLock lock(mutex_);
    if (file_) return file_->ref;
  }
  const HttpDownload download(services_, spec_);
  TRY_ASSIGN(HttpFile file,
             spec_.checksum ? download.Pinned(activity) : download.Current(activity));
  const MutexLock lock(mutex_);
  file_ = std::move(file);
  return file_->ref;
}

std::optional<Material> HttpFileSource::material() const {
  std::optional<Digest> digest = spec_.checksum;
  const MutexLock lock(mutex_);
  if (file_) digest = file_->checksum;
  if (!digest) return std::nullopt;
  return Material{.kind = Material::Kind::kHttp,
                  .name = http::SplitUserInfo(spec_.url).url,
                  .digest = digest->ToString(),
                  .platform = std::nullopt};
}

Result<HttpMeta> Sources::ResolveHttp(const progress::Activity& activity,
                                      const llb::HttpSource& spec,
                                      const FileChecksumRequest* request, MetaCache* cache) const {
  TRY(CheckServed(spec.other));
  const llb::SourceSpec text = llb::Format(spec);
  std::string key = text.identifier;
  for (const auto& [name, value] : text.attrs) key += "\n" + name + "=" + value;
  if (request != nullptr) {
    key += fmt::format("\n{} {}", static_cast<int>(request->algorithm), HexEncode(request->suffix));
  }
  if (cache != nullptr) {
    if (auto known = cache->FindHttp(key)) return *std::move(known);
  }
  const HttpDownload download(services_, spec);
  HttpMeta meta;
  if (spec.checksum && request == nullptr) {
    meta.checksum = *spec.checksum;
    meta.filename = HttpFilename(spec, nullptr);
  } else {
    TRY_ASSIGN(const HttpFile file,
               spec.checksum ? download.Pinned(activity) : download.Current(activity));
    meta.checksum = file.checksum;
    meta.filename = file.filename;
    meta.last_modified = http::ParseHttpDate(file.last_modified);
    if (request != nullptr) {
      TRY_ASSIGN(const store::TreeView tree, services_.store.Tree(file.ref));
      TRY_ASSIGN(const store::TreeEntry entry, tree.Lookup(file.filename));
      TRY_ASSIGN(const Fd content, tree.Open(entry));
      TRY_ASSIGN(meta.requested_checksum, ChecksumOf(content.get(), *request));
    }
  }
  if (cache != nullptr) cache->PutHttp(key, meta);
  return meta;
}

}  // namespace kiln::source
