#pragma once

#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

namespace kiln::rpc {

inline constexpr int kMessageBytes = 16 << 20;
// Error trailers carry whole Dockerfiles and definitions; Go peers accept this much.
inline constexpr int kMetadataBytes = 16 << 20;

// Calls that one connection may have open; clients keep further ones back by themselves.
inline constexpr int kMaxStreams = 1000;

// Message and metadata limits, and keepalive rules that never punish a peer for its pings.
void ApplyLimits(grpc::ChannelArguments* args);
void ApplyLimits(grpc::ServerBuilder* builder);
// Peers that say nothing are asked whether they are there.
void ApplyPings(grpc::ServerBuilder* builder);

}  // namespace kiln::rpc
