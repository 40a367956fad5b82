#pragma once

#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <moby/buildkit/secrets/v1/secrets.grpc.pb.h>
#include <moby/filesync/v1/filesync.grpc.pb.h>
#include <moby/sshforward/v1/ssh.grpc.pb.h>
#include <moby/upload/v1/upload.grpc.pb.h>

#include <atomic>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "client/build.h"
#include "client/folder_trees.h"

namespace kiln::client {

// What a session serves. Blocking handlers: a session has few calls at a time.

class FilesService final : public moby::filesync::v1::FileSync::Service {
 public:
  FilesService(FolderTrees& trees, const progress::Activity& activity)
      : trees_(trees), activity_(activity) {}
  grpc::Status DiffCopy(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<fsutil::types::Packet, fsutil::types::Packet>* stream) override;

 private:
  FolderTrees& trees_;
  const progress::Activity& activity_;
};

// FileSend: its one method carries BytesMessages or, for folders, Packets: messages are taken as
// bytes.
class OutputsService final : public grpc::Service {
 public:
  // `umask`: as BuildRequest's.
  OutputsService(const std::vector<Output>& outputs, const progress::Activity& activity,
                 mode_t umask);

  Status status() const;

 private:
  using Stream = grpc::ServerReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>;
  grpc::Status DiffCopy(grpc::ServerContext* context, Stream* stream);

  const std::vector<Output>& outputs_;
  const progress::Activity& activity_;
  const mode_t umask_;
  mutable Mutex mutex_;
  Status status_ GUARDED_BY(mutex_);
};

class SecretsService final : public moby::buildkit::secrets::v1::Secrets::Service {
 public:
  explicit SecretsService(const std::vector<Secret>& secrets) : secrets_(secrets) {}
  grpc::Status GetSecret(grpc::ServerContext* context,
                         const moby::buildkit::secrets::v1::GetSecretRequest* request,
                         moby::buildkit::secrets::v1::GetSecretResponse* response) override;

 private:
  const std::vector<Secret>& secrets_;
};

class SshService final : public moby::sshforward::v1::SSH::Service {
 public:
  explicit SshService(const std::vector<SshAgent>& agents) : agents_(agents) {}
  grpc::Status CheckAgent(grpc::ServerContext* context,
                          const moby::sshforward::v1::CheckAgentRequest* request,
                          moby::sshforward::v1::CheckAgentResponse* response) override;
  using Stream = grpc::ServerReaderWriter<moby::sshforward::v1::BytesMessage,
                                          moby::sshforward::v1::BytesMessage>;
  grpc::Status ForwardAgent(grpc::ServerContext* context, Stream* stream) override;

 private:
  const SshAgent* Find(const std::string& id) const;
  const std::vector<SshAgent>& agents_;
};

class UploadService final : public moby::upload::v1::Upload::Service {
 public:
  explicit UploadService(const std::optional<Upload>& upload) : upload_(upload) {}
  using Stream =
      grpc::ServerReaderWriter<moby::upload::v1::BytesMessage, moby::upload::v1::BytesMessage>;
  grpc::Status Pull(grpc::ServerContext* context, Stream* stream) override;

 private:
  const std::optional<Upload>& upload_;
  std::atomic<bool> taken_{false};
};

class AliveService final : public grpc::health::v1::Health::Service {
 public:
  grpc::Status Check(grpc::ServerContext*, const grpc::health::v1::HealthCheckRequest*,
                     grpc::health::v1::HealthCheckResponse* response) override {
    response->set_status(grpc::health::v1::HealthCheckResponse::SERVING);
    return grpc::Status::OK;
  }
};

}  // namespace kiln::client
