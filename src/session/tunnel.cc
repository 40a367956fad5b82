#include "session/tunnel.h"

#include <moby/buildkit/v1/control.pb.h>

#include "rpc/metadata.h"
#include "rpc/tunnel.h"
#include "session/client_words.h"
#include "session/connection.h"

namespace kiln::session {

grpc::ServerBidiReactor<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>*
ServeSession(Manager& manager, rpc::Poller& poller, grpc::CallbackServerContext* context) {
  const rpc::MetadataMap& metadata = context->client_metadata();
  Result<HealthPolicy> health = HealthOf(metadata);
  if (!health.ok()) return rpc::RefuseTunnel(health.error());
  Result<rpc::PipeAndSocket> ends = rpc::MakePipe(poller);
  if (!ends.ok()) return rpc::RefuseTunnel(ends.error());

  // The client's server gives up after ten seconds without HTTP/2 preface: connect before anything
  // else.
  auto connection =
      std::make_shared<Session::Connection>(rpc::ChannelOverSocket(std::move(ends->other)));
  std::weak_ptr<rpc::BytePipe> pipe = ends->pipe;
  Result<SessionPtr> session =
      manager.Add(InfoOf(metadata), std::move(connection), *health, [pipe] {
        if (const auto alive = pipe.lock()) alive->Hangup();
      });
  if (!session.ok()) return rpc::RefuseTunnel(session.error());
  auto* reactor = new rpc::TunnelReactor(std::move(ends->pipe),
                                         [&manager, mine = *session] { manager.Remove(mine); });
  reactor->Begin();
  return reactor;
}

}  // namespace kiln::session
