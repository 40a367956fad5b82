#include "control/small_services.h"

#include "control/write_stream.h"

namespace kiln::control {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

}  // namespace

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  auto* reactor = context->DefaultReactor();
  if (request->service().empty()) {
    response->set_status(HealthCheckResponse::SERVING);
    reactor->Finish(grpc::Status::OK);
  } else {
    reactor->Finish({grpc::NOT_FOUND, "unknown service"});
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext*, const HealthCheckRequest* request) {
  // The one state there is; the stream stays open until the client has enough.
  const auto stream = std::make_shared<QueuedStream<HealthCheckResponse>>();
  HealthCheckResponse response;
  response.set_status(request->service().empty() ? HealthCheckResponse::SERVING
                                                 : HealthCheckResponse::SERVICE_UNKNOWN);
  stream->Send(std::move(response));
  return stream->Serve(stream);
}

grpc::ServerUnaryReactor* TraceService::Export(
    grpc::CallbackServerContext* context,
    const opentelemetry::proto::collector::trace::v1::ExportTraceServiceRequest*,
    opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse*) {
  auto* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace kiln::control
