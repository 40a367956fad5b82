#include "control/control_service.h"

#include <algorithm>

#include "api/timestamp.h"
#include "base/filter.h"
#include "base/log.h"
#include "control/blocking_call.h"
#include "control/history_stream.h"
#include "control/requests.h"
#include "control/status_stream.h"
#include "control/write_stream.h"
#include "session/tunnel.h"

namespace kiln::control {
namespace {

namespace pb = moby::buildkit::v1;

grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const kiln::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

void ToProto(const store::UsageRecord& record, pb::UsageRecord* out) {
  out->set_id(record.id);
  out->set_mutable_(record.is_mutable);
  out->set_inuse(record.in_use);
  out->set_size(static_cast<int64_t>(record.size_bytes));
  for (const std::string& parent : record.parents) out->add_parents(parent);
  api::ToProto(record.created, out->mutable_createdat());
  if (record.last_used) api::ToProto(*record.last_used, out->mutable_lastusedat());
  out->set_usagecount(record.usage_count);
  out->set_description(record.description);
  out->set_recordtype(record.type.empty() ? std::string(store::kTypeRegular) : record.type);
  out->set_shared(record.shared);
}

}  // namespace

grpc::ServerUnaryReactor* ControlService::DiskUsage(grpc::CallbackServerContext*,
                                                    const pb::DiskUsageRequest* request,
                                                    pb::DiskUsageResponse* response) {
  return BlockingCall::Run(
      *parts_.blocking, [this, request, response](const CancelToken&) -> kiln::Status {
        TRY_ASSIGN(const auto records,
                   parts_.collector->DiskUsage({request->filter().begin(), request->filter().end()},
                                               std::chrono::nanoseconds(request->agelimit())));
        for (const store::UsageRecord& record : records) ToProto(record, response->add_record());
        return OkStatus();
      });
}

grpc::ServerWriteReactor<pb::UsageRecord>* ControlService::Prune(grpc::CallbackServerContext*,
                                                                 const pb::PruneRequest* request) {
  const auto stream = std::make_shared<QueuedStream<pb::UsageRecord>>();
  parts_.blocking->Submit([this, stream, request = *request] {
    const auto prune = [&]() -> kiln::Status {
      TRY_ASSIGN(const store::PruneRule rule, RuleOf(request));
      progress::Activity activity;
      activity.cancel = stream->cancelled();
      return parts_.collector->Prune(activity, rule, [&](const store::UsageRecord& record) {
        pb::UsageRecord message;
        ToProto(record, &message);
        stream->Send(std::move(message));
      });
    };
    stream->End(prune());
  });
  return stream->Serve(stream);
}

grpc::ServerUnaryReactor* ControlService::Solve(grpc::CallbackServerContext*,
                                                const pb::SolveRequest* request,
                                                pb::SolveResponse* response) {
  // Registered before anything else: Status, the bridge and Ping of this build are on their way
  // already.
  kiln::Result<LiveJobPtr> added = parts_.jobs->Add(request->ref());
  if (!added.ok()) {
    return BlockingCall::Run(*parts_.blocking,
                             [error = added.error()](const CancelToken&) { return error; });
  }
  return BlockingCall::Run(
      *parts_.builds,
      [this, request, response, job = *added](const CancelToken& cancel) -> kiln::Status {
        const auto link = cancel.OnCancel([&] { job->cancel.Cancel(); });
        const auto recorder = Recorder::Begin(
            {parts_.history, parts_.store, parts_.timers, parts_.blocking, parts_.clock}, job,
            *request);
        BuildOutcome made;
        kiln::Status solved = parts_.solver->Solve(job, *request, response, &made);
        // Progress ends, and the record is there, before the answer is sent: clients look for both.
        parts_.jobs->End(job);
        if (recorder) recorder->Complete(solved, made);
        parts_.jobs->Answered(job);
        parts_.collector->Poke();
        if (!solved.ok()) LOG_INFO("build {}: {}", job->ref, solved.error());
        return solved;
      });
}

grpc::ServerWriteReactor<pb::StatusResponse>* ControlService::Status(
    grpc::CallbackServerContext* context, const pb::StatusRequest* request) {
  AddTimestamp(*parts_.clock, context);
  return ServeStatus({*parts_.jobs, *parts_.history, *parts_.blocking}, request->ref());
}

grpc::ServerBidiReactor<pb::BytesMessage, pb::BytesMessage>* ControlService::Session(
    grpc::CallbackServerContext* context) {
  return session::ServeSession(*parts_.sessions, *parts_.poller, context);
}

grpc::ServerUnaryReactor* ControlService::ListWorkers(grpc::CallbackServerContext*,
                                                      const pb::ListWorkersRequest* request,
                                                      pb::ListWorkersResponse* response) {
  // The devices' files are read.
  return BlockingCall::Run(*parts_.blocking,
                           [this, request, response](const CancelToken&) -> kiln::Status {
                             return AddWorkers(*request, response);
                           });
}

kiln::Status ControlService::AddWorkers(const pb::ListWorkersRequest& request,
                                        pb::ListWorkersResponse* response) {
  TRY_ASSIGN(const auto filter, Filter::Parse({request.filter().begin(), request.filter().end()}));
  const bool match =
      filter.Matches([this](const std::vector<std::string>& path) -> std::optional<std::string> {
        if (path.size() == 1 && path[0] == "id") return parts_.worker->id;
        if (path.size() < 2 || path[0] != "labels") return std::nullopt;
        std::string key = path[1];
        for (size_t i = 2; i < path.size(); ++i) key += "." + path[i];
        const auto label = parts_.worker->labels.find(key);
        if (label == parts_.worker->labels.end()) return std::nullopt;
        return label->second;
      });
  if (!match) return OkStatus();
  auto* record = response->add_record();
  ToProto(*parts_.worker, record);
  if (parts_.devices != nullptr) DevicesToProto(*parts_.devices->Current(), record);
  return OkStatus();
}

grpc::ServerUnaryReactor* ControlService::Info(grpc::CallbackServerContext* context,
                                               const pb::InfoRequest*, pb::InfoResponse* response) {
  VersionToProto(response->mutable_buildkitversion());
  return Answer(context, OkStatus());
}

grpc::ServerWriteReactor<pb::BuildHistoryEvent>* ControlService::ListenBuildHistory(
    grpc::CallbackServerContext* context, const pb::BuildHistoryRequest* request) {
  AddTimestamp(*parts_.clock, context);
  return ServeHistory(*parts_.history, *parts_.blocking, *parts_.clock, *request);
}

grpc::ServerUnaryReactor* ControlService::UpdateBuildHistory(
    grpc::CallbackServerContext*, const pb::UpdateBuildHistoryRequest* request,
    pb::UpdateBuildHistoryResponse*) {
  return BlockingCall::Run(*parts_.blocking, [this, request](const CancelToken&) -> kiln::Status {
    if (request->delete_()) return parts_.history->Delete(request->ref());
    // Records are final once they are complete: there are no traces to wait for.
    if (request->finalize()) return OkStatus();
    kiln::Status pinned = parts_.history->SetPinned(request->ref(), request->pinned());
    if (pinned.ok() || pinned.error().code() != Code::kNotFound) return pinned;
    return Unknown("failed to retrieve ref {}: file does not exist", request->ref());
  });
}

}  // namespace kiln::control
