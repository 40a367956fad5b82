#include "client/control_calls.h"

#include <grpcpp/channel.h>
#include <moby/buildkit/v1/control.grpc.pb.h>

#include <algorithm>

#include "api/timestamp.h"
#include "client/progress_events.h"
#include "rpc/status.h"

namespace kiln::client {
namespace {

namespace pb = moby::buildkit::v1;

using api::TimeOf;

UsageRecord FromProto(const pb::UsageRecord& from) {
  UsageRecord record;
  record.id = from.id();
  record.type = from.recordtype();
  record.description = from.description();
  record.parents.assign(from.parents().begin(), from.parents().end());
  record.size_bytes = static_cast<uint64_t>(std::max<int64_t>(0, from.size()));
  record.is_mutable = from.mutable_();
  record.in_use = from.inuse();
  record.shared = from.shared();
  record.created = TimeOf(from.createdat());
  if (from.has_lastusedat()) record.last_used = TimeOf(from.lastusedat());
  record.usage_count = from.usagecount();
  return record;
}

BuildRecord FromProto(const pb::BuildHistoryRecord& from) {
  BuildRecord record;
  record.ref = from.ref();
  record.frontend_attrs.insert(from.frontendattrs().begin(), from.frontendattrs().end());
  for (const pb::Exporter& exporter : from.exporters())
    record.outputs.emplace_back(exporter.attrs().begin(), exporter.attrs().end());
  record.created = TimeOf(from.createdat());
  if (from.has_completedat()) record.completed = TimeOf(from.completedat());
  if (from.has_error()) record.error = from.error().message();
  record.total_steps = from.numtotalsteps();
  record.cached_steps = from.numcachedsteps();
  record.completed_steps = from.numcompletedsteps();
  record.warnings = from.numwarnings();
  return record;
}

// A call's context, cancelled with the activity.
class Call {
 public:
  explicit Call(const progress::Activity& activity)
      : activity_(activity), link_(activity.cancel.OnCancel([this] { context_.TryCancel(); })) {}

  grpc::ClientContext* get() { return &context_; }
  Status End(const grpc::Status& status) const {
    TRY(activity_.Check());
    return rpc::ToStatus(status);
  }

 private:
  const progress::Activity& activity_;
  grpc::ClientContext context_;
  std::unique_ptr<CancelCallback> link_;
};

}  // namespace

Result<std::vector<UsageRecord>> DiskUsage(const Connection& connection,
                                           const std::vector<std::string>& filters,
                                           std::chrono::nanoseconds age_limit,
                                           const progress::Activity& activity) {
  Call call(activity);
  pb::DiskUsageRequest request;
  request.set_agelimit(age_limit.count());
  pb::DiskUsageResponse response;
  for (const std::string& filter : filters) request.add_filter(filter);
  const auto stub = pb::Control::NewStub(connection.channel());
  TRY(call.End(stub->DiskUsage(call.get(), request, &response)));
  std::vector<UsageRecord> records;
  for (const pb::UsageRecord& record : response.record()) records.push_back(FromProto(record));
  return records;
}

Status Prune(const Connection& connection, const PruneOptions& options,
             const std::function<void(const UsageRecord&)>& pruned,
             const progress::Activity& activity) {
  Call call(activity);
  pb::PruneRequest request;
  request.set_all(options.all);
  for (const std::string& filter : options.filters) request.add_filter(filter);
  request.set_keepduration(options.keep_duration.count());
  request.set_reservedspace(static_cast<int64_t>(options.reserved_bytes));
  request.set_maxusedspace(static_cast<int64_t>(options.max_used_bytes));
  request.set_minfreespace(static_cast<int64_t>(options.min_free_bytes));
  const auto stub = pb::Control::NewStub(connection.channel());
  const auto stream = stub->Prune(call.get(), request);
  pb::UsageRecord record;
  while (stream->Read(&record)) pruned(FromProto(record));
  return call.End(stream->Finish());
}

Result<std::vector<BuildRecord>> ListBuilds(const Connection& connection,
                                            const std::vector<std::string>& filters, int limit,
                                            const progress::Activity& activity) {
  Call call(activity);
  pb::BuildHistoryRequest request;
  request.set_earlyexit(true);
  request.set_limit(limit);
  for (const std::string& filter : filters) request.add_filter(filter);
  const auto stub = pb::Control::NewStub(connection.channel());
  const auto stream = stub->ListenBuildHistory(call.get(), request);
  pb::BuildHistoryEvent event;
  std::vector<BuildRecord> records;
  while (stream->Read(&event)) records.push_back(FromProto(event.record()));
  TRY(call.End(stream->Finish()));
  // Without a limit daemons may send them in any order.
  std::stable_sort(records.begin(), records.end(), [](const auto& a, const auto& b) {
    if (a.completed.has_value() != b.completed.has_value()) return !a.completed;
    return a.created > b.created;
  });
  return records;
}

Status ReadProgress(const Connection& connection, const std::string& ref,
                    const progress::Activity& activity) {
  Call call(activity);
  pb::StatusRequest request;
  request.set_ref(ref);
  const auto stub = pb::Control::NewStub(connection.channel());
  const auto stream = stub->Status(call.get(), request);
  pb::StatusResponse response;
  while (stream->Read(&response)) Emit(response, *activity.sink);
  return call.End(stream->Finish());
}

}  // namespace kiln::client
