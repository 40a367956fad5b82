#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "http/client.h"
#include "http/retry.h"
#include "oci/descriptor.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "progress/activity.h"
#include "registry/credentials.h"
#include "registry/hosts.h"

namespace kiln::registry {

class Authorizer;
class Exchange;
class Slots;

struct RegistryOptions {
  HostConfigs hosts;
  int max_concurrency = 4;  // transfers per registry
  http::RetryPolicy retry;
  // How long a registry may be silent while it takes a blob: large ones are stored before the
  // answer.
  std::chrono::milliseconds upload_stall{15 * 60'000};
};

struct RepositoryOptions {
  // Plain HTTP and unverified TLS allowed for this use (`registry.insecure=true`).
  bool insecure = false;
};

// Takes a blob as it arrives, in order.
class BlobSink {
 public:
  virtual ~BlobSink() = default;
  virtual Status Write(std::string_view data) = 0;
  // Bytes taken so far: a broken download goes on from here, also a download begun by an earlier
  // call.
  virtual uint64_t offset() const = 0;
  // Forgets everything; offset becomes 0.
  virtual Status Restart() = 0;
  // True: the sink itself compares the digest afterwards, it is not computed a second time here.
  virtual bool verifies_digest() const = 0;
};

// What a name stands for now.
struct Resolved {
  oci::Descriptor descriptor;  // media type, digest, size
  // The document itself, if it had to be read to know the above.
  std::optional<std::string> content;
};

// One repository on one registry. A value; must not outlive its Registry. Calls block, from any
// thread.
class Repository {
 public:
  // "docker.io/library/alpine".
  std::string name() const { return reference_.name(); }
  const std::string& host() const { return reference_.domain(); }
  const std::string& path() const { return reference_.path(); }

  // `object` is a tag or a digest's text. NotFound `<ref>: not found`; Unauthenticated or
  // PermissionDenied `pull access denied, repository does not exist or may require authorization:
  // …`.
  Result<Resolved> Resolve(const progress::Activity& activity, std::string_view object) const;
  // A manifest or index, at most oci::kMaxManifestBytes; verified.
  Result<std::string> FetchManifest(const progress::Activity& activity,
                                    const oci::Descriptor& descriptor) const;
  // A blob to keep in memory (image config); verified.
  Result<std::string> FetchSmallBlob(const progress::Activity& activity,
                                     const oci::Descriptor& descriptor, size_t limit) const;
  // Size and digest are verified (see BlobSink). `descriptor.urls` are tried first.
  Status FetchBlob(const progress::Activity& activity, const oci::Descriptor& descriptor,
                   BlobSink& sink) const;
  // The size of a blob; NotFound if there is none.
  Result<int64_t> StatBlob(const progress::Activity& activity, const Digest& digest) const;
  // Manifests that refer to `subject`; empty if the registry knows none.
  Result<oci::Index> Referrers(const progress::Activity& activity, const Digest& subject) const;

  // Does nothing if the blob is there. `mount_from`: repositories of this registry that may hold
  // it; the one with the longest common path is tried. `body` gives the blob's bytes and is rewound
  // for repetitions.
  Status PushBlob(const progress::Activity& activity, const oci::Descriptor& descriptor,
                  http::BodySource& body, const std::vector<std::string>& mount_from = {}) const;
  // By tag, or by digest if `tag` is empty. Does nothing if that is what the registry has.
  Status PushManifest(const progress::Activity& activity, const oci::Descriptor& descriptor,
                      std::string_view content, std::string_view tag) const;

 private:
  friend class Registry;
  Repository(class Registry* registry, oci::Reference reference, RepositoryOptions options)
      : registry_(registry), reference_(std::move(reference)), options_(options) {}

  Result<std::vector<Endpoint>> Endpoints(Purpose purpose) const;
  Result<Exchange> MakeExchange(const Endpoint& endpoint, const progress::Activity& activity,
                                Purpose purpose) const;
  const http::RetryPolicy& PolicyAt(bool last) const;
  Result<std::string> ReadDocument(const progress::Activity& activity,
                                   const oci::Descriptor& descriptor, const std::string& target,
                                   size_t limit) const;
  Status FetchForeign(const progress::Activity& activity, const oci::Descriptor& descriptor,
                      const std::string& url, BlobSink& sink) const;
  Status FetchAt(const Endpoint& endpoint, bool last, const progress::Activity& activity,
                 const oci::Descriptor& descriptor, BlobSink& sink) const;

  class Registry* registry_;
  oci::Reference reference_;
  RepositoryOptions options_;
};

// All registries. One per process; safe from any thread.
class Registry {
 public:
  // `credentials` may be null (anonymous only). All must outlive this.
  Registry(http::Client& client, const Clock& clock, CredentialProvider* credentials,
           RegistryOptions options);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Tag and digest of `reference` are ignored.
  Repository Open(const oci::Reference& reference, RepositoryOptions options = {});

 private:
  friend class Repository;
  friend class Exchange;

  http::Client& client_;
  const Clock& clock_;
  const RegistryOptions options_;
  std::unique_ptr<Authorizer> authorizer_;
  std::unique_ptr<Slots> slots_;
  Mutex mutex_;
  // Which scheme an endpoint with two turned out to speak.
  std::map<std::string, size_t> schemes_ GUARDED_BY(mutex_);
};

}  // namespace kiln::registry
