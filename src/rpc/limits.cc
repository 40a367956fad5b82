#include "rpc/limits.h"

#include <grpc/grpc.h>

namespace kiln::rpc {
namespace {

struct IntArgument {
  const char* name;
  int value;
};

// The absolute limit is unknown to gRPC 1.51 and does no harm there; newer versions need it beside
// the soft one.
constexpr IntArgument kCommon[] = {
    {GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytes},
    {"grpc.absolute_max_metadata_size", kMetadataBytes},
    {GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0},
    {GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0},
    {"grpc.http2.min_ping_interval_without_data_ms", 0},
};

}  // namespace

void ApplyLimits(grpc::ChannelArguments* args) {
  for (const IntArgument& argument : kCommon) args->SetInt(argument.name, argument.value);
  args->SetMaxReceiveMessageSize(kMessageBytes);
  args->SetMaxSendMessageSize(kMessageBytes);
  // Retries and service configs buffer messages; peers here are local.
  args->SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  args->SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  // One channel per connection: never share a subchannel between two sessions.
  args->SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
}

void ApplyLimits(grpc::ServerBuilder* builder) {
  for (const IntArgument& argument : kCommon)
    builder->AddChannelArgument(argument.name, argument.value);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 0);
  builder->SetMaxReceiveMessageSize(kMessageBytes);
  builder->SetMaxSendMessageSize(kMessageBytes);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreams);
}

void ApplyPings(const Pings& pings, grpc::ServerBuilder* builder) {
  const auto set = [&](const char* name, std::chrono::milliseconds time) {
    builder->AddChannelArgument(name, static_cast<int>(time.count()));
  };
  set(GRPC_ARG_KEEPALIVE_TIME_MS, pings.silence);
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, pings.patience);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
}

}  // namespace kiln::rpc
