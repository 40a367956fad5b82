#include "control/small_services.h"

namespace kiln::control {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Tells the one state there is and stays open until the client has enough.
class WatchStream final : public grpc::ServerWriteReactor<HealthCheckResponse> {
 public:
  explicit WatchStream(HealthCheckResponse::ServingStatus status) {
    response_.set_status(status);
    StartWrite(&response_);
  }
  void OnWriteDone(bool) override {}
  void OnCancel() override { Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  HealthCheckResponse response_;
};

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
  return new WatchStream(request->service().empty() ? HealthCheckResponse::SERVING
                                                    : HealthCheckResponse::SERVICE_UNKNOWN);
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
