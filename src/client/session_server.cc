#include "client/session_server.h"

#include <grpcpp/channel.h>
#include <moby/buildkit/v1/control.grpc.pb.h>
#include <sys/socket.h>

#include <algorithm>
#include <thread>

#include "base/ids.h"
#include "base/log.h"
#include "base/thread.h"
#include "client/layout_output.h"
#include "client/layout_service.h"
#include "client/registry_auth.h"
#include "client/services.h"
#include "rpc/metadata.h"
#include "rpc/poller.h"
#include "rpc/server.h"
#include "rpc/tunnel.h"

namespace kiln::client {
namespace {

using moby::buildkit::v1::BytesMessage;
using moby::buildkit::v1::Control;

class TunnelledSession final : public SessionServer {
 public:
  TunnelledSession(const Connection& connection, const BuildRequest& request,
                   const progress::Activity& activity, DockerConfig config)
      : connection_(connection),
        trees_(request.local_dirs),
        files_(trees_, activity),
        outputs_(request.outputs, activity, request.umask),
        auth_(std::move(config), request.fetch_token, activity),
        secrets_(request.secrets),
        ssh_(request.ssh_agents),
        layouts_(request.oci_layouts, LayoutDest(request.outputs), request.umask),
        uploads_(request.upload) {}

  Status Begin(const BuildRequest& request) {
    std::vector<grpc::Service*> services = {&alive_, &auth_};
    std::vector<std::string> methods = {"/grpc.health.v1.Health/Check",
                                        "/moby.filesync.v1.Auth/Credentials"};
    if (auth_.offers_tokens()) {
      for (const char* name : {"FetchToken", "GetTokenAuthority", "VerifyTokenAuthority"})
        methods.push_back(std::string("/moby.filesync.v1.Auth/") + name);
    }
    const auto serve = [&](bool wanted, grpc::Service* service,
                           std::initializer_list<const char*> names) {
      if (!wanted) return;
      services.push_back(service);
      methods.insert(methods.end(), names.begin(), names.end());
    };
    serve(!request.local_dirs.empty(), &files_, {"/moby.filesync.v1.FileSync/DiffCopy"});
    const bool sends = std::any_of(request.outputs.begin(), request.outputs.end(),
                                   [](const Output& output) { return output.IsStream(); });
    serve(sends, &outputs_, {"/moby.filesync.v1.FileSend/DiffCopy"});
    serve(!request.secrets.empty(), &secrets_, {"/moby.buildkit.secrets.v1.Secrets/GetSecret"});
    serve(!request.ssh_agents.empty(), &ssh_,
          {"/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"});
    serve(!request.oci_layouts.empty() || !LayoutDest(request.outputs).empty(), &layouts_,
          {"/containerd.services.content.v1.Content/Info",
           "/containerd.services.content.v1.Content/Read",
           "/containerd.services.content.v1.Content/Write"});
    serve(request.upload.has_value(), &uploads_, {"/moby.upload.v1.Upload/Pull"});
    TRY_ASSIGN(server_, rpc::Server::Start(services, poller_));

    context_.AddMetadata(rpc::kSessionIdKey, id_);
    rpc::MetadataList shared_key;
    rpc::AppendEncoded(rpc::kSessionSharedKey, {request.shared_key}, &shared_key);
    for (const auto& [name, value] : shared_key) context_.AddMetadata(name, value);
    for (const std::string& method : methods) context_.AddMetadata(rpc::kSessionMethodKey, method);
    stub_ = Control::NewStub(connection_.channel());
    stream_ = stub_->Session(&context_);
    TRY_ASSIGN(auto ends, SocketPair());
    TRY_ASSIGN(tunnel_, ends.first.Dup());
    TRY(server_->Adopt(std::move(ends.second)));
    if (connection_.share_trees()) connection_.share_trees()(id_, &trees_);
    auto socket = std::make_shared<Fd>(std::move(ends.first));
    auto pump = StartThread("kiln-session", [this, socket] {
      const Status pumped = rpc::PumpTunnel(*stream_, std::move(*socket));
      if (!pumped.ok()) LOG_WARNING("session: {}", pumped.error());
      stream_->Finish();
    });
    if (!pump.ok()) {
      context_.TryCancel();
      stream_->Finish();
      return std::move(pump).error();
    }
    pump_ = *std::move(pump);
    return OkStatus();
  }

  ~TunnelledSession() override {
    if (connection_.share_trees()) connection_.share_trees()(id_, nullptr);
    if (server_) server_->Shutdown(std::chrono::milliseconds(0));
    // The server need not have closed its end yet if it was ended while it still took the tunnel
    // over. Shutting ours down makes the pump half-close the stream; the daemon then ends it.
    if (tunnel_) ::shutdown(tunnel_.get(), SHUT_RDWR);
    if (pump_.joinable()) pump_.join();
  }

  const std::string& id() const override { return id_; }
  Status output_status() const override {
    TRY(outputs_.status());
    return layouts_.status();
  }

 private:
  const Connection& connection_;
  const std::string id_ = NewId();
  FolderTrees trees_;
  AliveService alive_;
  FilesService files_;
  OutputsService outputs_;
  AuthService auth_;
  SecretsService secrets_;
  SshService ssh_;
  LayoutService layouts_;
  UploadService uploads_;
  rpc::Poller poller_;
  std::unique_ptr<rpc::Server> server_;
  grpc::ClientContext context_;
  std::unique_ptr<Control::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<BytesMessage, BytesMessage>> stream_;
  Fd tunnel_;  // our end, shared with the pump
  std::thread pump_;
};

}  // namespace

Result<std::unique_ptr<SessionServer>> SessionServer::Start(const Connection& connection,
                                                            const BuildRequest& request,
                                                            const progress::Activity& activity) {
  TRY_ASSIGN(DockerConfig config,
             DockerConfig::Load(request.docker_config_dir, request.credential_helper));
  auto session =
      std::make_unique<TunnelledSession>(connection, request, activity, std::move(config));
  TRY(session->Begin(request));
  return std::unique_ptr<SessionServer>(std::move(session));
}

}  // namespace kiln::client
