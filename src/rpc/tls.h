#pragma once

#include <sys/stat.h>

#include <array>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "base/result.h"

struct ssl_ctx_st;

namespace kiln::rpc {

// PEM files of one side.
struct TlsFiles {
  std::string cert;  // chain allowed
  std::string key;
  std::string ca;  // whose certificates peers must show

  bool empty() const { return cert.empty() && key.empty() && ca.empty(); }
};

// What OpenSSL says went wrong last on this thread, in its words.
std::string TlsError();

// One side's TLS settings, as the files were when they were read.
class TlsContext {
 public:
  // A server's: certificate and key, both; with `ca`, clients must show a certificate of it. ALPN
  // "h2" is selected if offered; a client that offers none is welcome (buildx).
  static Result<std::shared_ptr<const TlsContext>> LoadServer(const TlsFiles& files);
  // A client's: certificate and key, both or none; without `ca`, the authorities of this machine.
  static Result<std::shared_ptr<const TlsContext>> LoadClient(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  ssl_ctx_st* get() const { return context_; }

 private:
  explicit TlsContext(ssl_ctx_st* context) : context_(context) {}
  ssl_ctx_st* const context_;
};

// A server's TLS settings that follow their files: whoever renews certificates replaces those and
// restarts nothing.
class TlsServer {
 public:
  static Result<std::shared_ptr<TlsServer>> Load(TlsFiles files);

  // For the next connection. Files that changed are read again; what is no good then is said once
  // in the log, and the last good settings stay.
  std::shared_ptr<const TlsContext> Current() EXCLUDES(mutex_);

 private:
  // Tells whether a file is still the one that was read.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    int64_t mtime_ns = 0;
    int64_t ctime_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  using Stamps = std::array<Stamp, 3>;

  explicit TlsServer(TlsFiles files) : files_(std::move(files)) {}
  static Stamp StampOf(const std::string& path);
  Stamps StampAll() const;

  const TlsFiles files_;
  Mutex mutex_;
  Stamps stamps_ GUARDED_BY(mutex_);
  std::shared_ptr<const TlsContext> context_ GUARDED_BY(mutex_);
};

}  // namespace kiln::rpc
