#include "session/secrets.h"

#include <moby/buildkit/secrets/v1/secrets.grpc.pb.h>
#include <moby/sshforward/v1/ssh.grpc.pb.h>

#include "rpc/metadata.h"
#include "rpc/pump.h"
#include "session/connection.h"

namespace kiln::session {
namespace {

constexpr std::chrono::seconds kCallTimeout{60};

std::string AgentId(const std::string& id) { return id.empty() ? "default" : id; }

}  // namespace

Result<SecretString> GetSecret(Manager& manager, const progress::Activity& activity,
                               const std::string& id) {
  Result<SecretString> secret =
      Any(manager, activity, [&](Session& session) -> Result<SecretString> {
        Call call(activity.WithTimeout(kCallTimeout), session);
        moby::buildkit::secrets::v1::GetSecretRequest request;
        moby::buildkit::secrets::v1::GetSecretResponse response;
        request.set_id(id);
        const auto stub =
            moby::buildkit::secrets::v1::Secrets::NewStub(session.connection().channel);
        TRY(call.End(stub->GetSecret(call.get(), request, &response)));
        return SecretString(std::move(*response.mutable_data()));
      });
  if (secret.ok()) return secret;
  const Code code = secret.error().code();
  if (code == Code::kNotFound || code == Code::kUnimplemented)
    return NotFound("secret {}: not found", id);
  return std::move(secret.error().AddContext(fmt::format("secret {}", id)));
}

Result<SessionPtr> FindSshAgent(Manager& manager, const progress::Activity& activity,
                                const std::string& id) {
  Error last = Error(Code::kNotFound, "no active sessions");
  for (const std::string& session_id : activity.sessions->SessionIds()) {
    Result<SessionPtr> session = manager.Get(activity, session_id);
    TRY(activity.Check());
    if (!session.ok()) {
      last = std::move(session).error();
      continue;
    }
    Call call(activity.WithTimeout(kCallTimeout), **session);
    moby::sshforward::v1::CheckAgentRequest request;
    moby::sshforward::v1::CheckAgentResponse response;
    request.set_id(AgentId(id));
    const auto stub = moby::sshforward::v1::SSH::NewStub((*session)->connection().channel);
    Status checked = call.End(stub->CheckAgent(call.get(), request, &response));
    if (checked.ok()) return session;
    last = std::move(checked).error();
    if (last.code() == Code::kUnimplemented) {
      last = NotFound("no SSH key \"{}\" forwarded from the client", AgentId(id));
    }
  }
  return last;
}

Status ForwardSshAgent(const progress::Activity& activity, Session& session, const std::string& id,
                       Fd connection) {
  using moby::sshforward::v1::BytesMessage;
  Call call(activity, session);
  call.context().AddMetadata(rpc::kSshIdKey, AgentId(id));
  const auto stub = moby::sshforward::v1::SSH::NewStub(session.connection().channel);
  const auto stream = stub->ForwardAgent(call.get());
  auto bytes = rpc::BytesOf<BytesMessage>(*stream, [&] { stream->WritesDone(); });
  bytes.abandon = [&] { call.context().TryCancel(); };
  Status pumped = rpc::Pump(bytes, connection.get(), rpc::AtCallEnd::kHangUp);
  call.context().TryCancel();
  const grpc::Status end = stream->Finish();
  TRY(std::move(pumped));
  // Cancelling a stream that has ended well is not an error.
  if (end.error_code() == grpc::CANCELLED) return activity.Check();
  return call.End(end);
}

}  // namespace kiln::session
