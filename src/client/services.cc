#include "client/services.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/fd.h"
#include "rpc/address.h"
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

// Answers from our own keys until the daemon has no more requests.
template <typename Stream>
grpc::Status ServeKeys(std::shared_ptr<const SshKeyring> keyring, Stream* stream) {
  SshAgentStream agent(std::move(keyring));
  moby::sshforward::v1::BytesMessage message;
  while (stream->Read(&message)) {
    Result<std::string> answers = agent.Feed(message.data());
    if (!answers.ok()) return rpc::ToGrpc(answers.error());
    if (answers->empty()) continue;
    message.set_data(*std::move(answers));
    if (!stream->Write(message)) break;
  }
  return grpc::Status::OK;
}

}  // namespace

Status SshService::Load() {
  for (const SshAgent& agent : agents_) {
    if (agent.keys.empty()) continue;
    TRY_ASSIGN_CTX(keyrings_[AgentName(agent.id)], SshKeyring::Load(agent.keys), "ssh agent {}",
                   AgentName(agent.id));
  }
  return OkStatus();
}

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
  if (!agent->keys.empty()) return ServeKeys(keyrings_.at(AgentName(agent->id)), stream);
  rpc::Address address;
  address.path = agent->socket;
  const Result<Fd> socket = rpc::ConnectTo(address);
  if (!socket.ok()) return rpc::ToGrpc(socket.error());
  const int fd = socket->get();
  std::thread incoming([stream, fd] {
    BytesMessage message;
    while (stream->Read(&message)) {
      if (!rpc::SendAll(fd, message.data()).ok()) break;
    }
    shutdown(fd, SHUT_WR);
  });
  BytesMessage message;
  while (true) {
    std::string& data = *message.mutable_data();
    data.resize(32 << 10);
    const Result<size_t> n = ReadSome(fd, data.data(), data.size());
    if (!n.ok() || *n == 0) break;
    data.resize(*n);
    if (!stream->Write(message)) break;
  }
  shutdown(fd, SHUT_RDWR);
  context->TryCancel();  // ends the reads
  incoming.join();
  return grpc::Status::OK;
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
