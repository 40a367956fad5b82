#pragma once

#include <containerd/services/content/v1/content.grpc.pb.h>

#include <map>
#include <string>

#include "base/result.h"

namespace kiln::client {

// OCI layouts of this machine as content stores "oci:<store>" (containerd.services.content.v1,
// read-only): the daemon reads blobs by digest. Reading and writing handlers block: a session has
// few calls at a time.
class LayoutService final : public containerd::services::content::v1::Content::Service {
 public:
  // Store id → folder of the layout; must outlive this.
  explicit LayoutService(const std::map<std::string, std::string>& layouts) : layouts_(layouts) {}

  grpc::Status Info(grpc::ServerContext* context,
                    const containerd::services::content::v1::InfoRequest* request,
                    containerd::services::content::v1::InfoResponse* response) override;
  grpc::Status Read(
      grpc::ServerContext* context,
      const containerd::services::content::v1::ReadContentRequest* request,
      grpc::ServerWriter<containerd::services::content::v1::ReadContentResponse>* writer) override;

 private:
  Result<std::string> PathOf(const grpc::ServerContext& context, const std::string& digest) const;

  const std::map<std::string, std::string>& layouts_;
};

}  // namespace kiln::client
