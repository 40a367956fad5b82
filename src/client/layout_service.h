#pragma once

#include <containerd/services/content/v1/content.grpc.pb.h>

#include <map>
#include <string>

#include "base/mutex.h"
#include "base/result.h"

namespace kiln::client {

// OCI layouts of this machine as content stores (containerd.services.content.v1): "oci:<store>"
// from which the daemon reads blobs by digest, and "export" to which it writes those of an output.
// Handlers block: a session has few calls at a time.
class LayoutService final : public containerd::services::content::v1::Content::Service {
 public:
  // `layouts`: store id → folder; must outlive this. `output`: folder of the store "export", made
  // if it is missing; "" for none. `umask`: as BuildRequest's.
  LayoutService(const std::map<std::string, std::string>& layouts, std::string output, mode_t umask)
      : layouts_(layouts), output_(std::move(output)), umask_(umask) {}

  grpc::Status Info(grpc::ServerContext* context,
                    const containerd::services::content::v1::InfoRequest* request,
                    containerd::services::content::v1::InfoResponse* response) override;
  grpc::Status Read(
      grpc::ServerContext* context,
      const containerd::services::content::v1::ReadContentRequest* request,
      grpc::ServerWriter<containerd::services::content::v1::ReadContentResponse>* writer) override;
  grpc::Status Write(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<containerd::services::content::v1::WriteContentResponse,
                               containerd::services::content::v1::WriteContentRequest>* stream)
      override;

  // The first error of writing a blob.
  kiln::Status status() const;

 private:
  Result<std::string> PathOf(const grpc::ServerContext& context, const std::string& digest) const;

  const std::map<std::string, std::string>& layouts_;
  const std::string output_;
  const mode_t umask_;
  mutable Mutex mutex_;
  kiln::Status status_ GUARDED_BY(mutex_);
};

}  // namespace kiln::client
