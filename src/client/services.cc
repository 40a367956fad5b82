#include "client/services.h"

#include <cstdlib>

#include "base/fd.h"
#include "client/agent_proxy.h"
#include "rpc/metadata.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

using fsutil::types::Packet;

constexpr size_t kUploadBytes = size_t{1} << 20;

// A served stream of packets.
class ServedPackets final : public filesync::PacketStream {
 public:
  ServedPackets(grpc::ServerContext* context, grpc::ServerReaderWriter<Packet, Packet>* stream)
      : context_(context), stream_(stream) {}
  bool Read(Packet* packet) override { return stream_->Read(packet); }
  bool Write(const Packet& packet, bool more) override {
    grpc::WriteOptions options;
    if (more) options.set_buffer_hint();
    return stream_->Write(packet, options);
  }
  void CloseWrites() override {}
  void Cancel() override { context_->TryCancel(); }
  Status Finish() override { return OkStatus(); }

 private:
  grpc::ServerContext* context_;
  grpc::ServerReaderWriter<Packet, Packet>* stream_;
};

}  // namespace

grpc::Status FilesService::DiffCopy(grpc::ServerContext* context,
                                    grpc::ServerReaderWriter<Packet, Packet>* stream) {
  const rpc::MetadataMap& metadata = context->client_metadata();
  const auto serve = [&]() -> Status {
    filesync::TreeRequest request;
    TRY_ASSIGN(const std::vector<std::string> names, rpc::DecodeValues(metadata, rpc::kDirNameKey));
    if (names.size() != 1) return InvalidArgument("no dir name in request");
    request.name = names.front();
    TRY_ASSIGN(request.include, rpc::DecodeValues(metadata, rpc::kIncludeKey));
    TRY_ASSIGN(request.exclude, rpc::DecodeValues(metadata, rpc::kExcludeKey));
    TRY_ASSIGN(request.follow_paths, rpc::DecodeValues(metadata, rpc::kFollowKey));
    // gRPC would hold the first packet back for a later one along with the metadata, and then wait
    // for itself.
    stream->SendInitialMetadata();
    ServedPackets packets(context, stream);
    return trees_.Serve(activity_, request, packets);
  };
  return rpc::ToGrpc(serve());
}

grpc::Status SecretsService::GetSecret(grpc::ServerContext*,
                                       const moby::buildkit::secrets::v1::GetSecretRequest* request,
                                       moby::buildkit::secrets::v1::GetSecretResponse* response) {
  for (const Secret& secret : secrets_) {
    if (secret.id != request->id()) continue;
    if (secret.value) {
      response->set_data(*secret.value);
    } else if (!secret.env.empty()) {
      const char* value = std::getenv(secret.env.c_str());
      if (value == nullptr) break;
      response->set_data(value);
    } else {
      Result<std::string> data = ReadFile(secret.file, kMaxSecretBytes);
      if (!data.ok()) return rpc::ToGrpc(data.error());
      response->set_data(*std::move(data));
    }
    return grpc::Status::OK;
  }
  return rpc::ToGrpc(NotFound("secret {} not found", request->id()));
}

namespace {

std::string AgentName(const std::string& id) { return id.empty() ? "default" : id; }

}  // namespace

const SshAgent* SshService::Find(const std::string& id) const {
  const std::string wanted = AgentName(id);
  for (const SshAgent& agent : agents_) {
    if (AgentName(agent.id) == wanted) return &agent;
  }
  return nullptr;
}

grpc::Status SshService::CheckAgent(grpc::ServerContext*,
                                    const moby::sshforward::v1::CheckAgentRequest* request,
                                    moby::sshforward::v1::CheckAgentResponse*) {
  if (Find(request->id()) != nullptr) return grpc::Status::OK;
  return rpc::ToGrpc(Unknown("unset ssh forward key {}", request->id()));
}

grpc::Status SshService::ForwardAgent(grpc::ServerContext* context, Stream* stream) {
  using moby::sshforward::v1::BytesMessage;
  const std::string id =
      rpc::MetadataValue(context->client_metadata(), rpc::kSshIdKey).value_or("");
  const SshAgent* agent = Find(id);
  if (agent == nullptr) return rpc::ToGrpc(Unknown("unset ssh forward key {}", id));
  const auto serve = [&]() -> Status {
    TRY_ASSIGN(AgentProxy proxy, AgentProxy::Connect(agent->socket));
    const auto gone = [context] { return context->IsCancelled(); };
    BytesMessage message;
    while (stream->Read(&message)) {
      TRY_ASSIGN(std::string answers, proxy.Ask(message.data(), gone));
      if (answers.empty()) continue;
      message.set_data(std::move(answers));
      if (!stream->Write(message)) break;
    }
    return OkStatus();
  };
  return rpc::ToGrpc(serve());
}

grpc::Status UploadService::Pull(grpc::ServerContext* context, Stream* stream) {
  const auto serve = [&]() -> Status {
    TRY_ASSIGN(const std::vector<std::string> paths,
               rpc::DecodeValues(context->client_metadata(), rpc::kUrlPathKey));
    const bool known = upload_ && paths.size() == 1 && paths.front() == "/" + upload_->id;
    if (!known || taken_.exchange(true)) return NotFound("nothing is uploaded under that URL");
    moby::upload::v1::BytesMessage message;
    if (!upload_->begin.empty()) {
      message.set_data(upload_->begin);
      if (!stream->Write(message)) return OkStatus();
    }
    while (upload_->rest >= 0) {
      std::string& data = *message.mutable_data();
      data.resize(kUploadBytes);
      TRY_ASSIGN(const size_t n, ReadSome(upload_->rest, data.data(), data.size()));
      data.resize(n);
      if (n == 0 || !stream->Write(message)) break;
    }
    return OkStatus();
  };
  return rpc::ToGrpc(serve());
}

}  // namespace kiln::client
