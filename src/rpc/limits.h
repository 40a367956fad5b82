#pragma once

#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>

namespace kiln::rpc {

inline constexpr int kMessageBytes = 16 << 20;
// Error trailers carry whole Dockerfiles and definitions; Go peers accept this much.
inline constexpr int kMetadataBytes = 16 << 20;

// Calls that one connection may have open; clients keep further ones back by themselves.
inline constexpr int kMaxStreams = 1000;

// When a peer is asked whether it is there, and when one that does not answer is left. An answer
// may be stuck behind all that a slow network has been given to carry.
struct Pings {
  std::chrono::milliseconds silence = std::chrono::minutes(1);
  std::chrono::milliseconds patience = std::chrono::minutes(2);
};

// Message and metadata limits, and keepalive rules that never punish a peer for its pings.
void ApplyLimits(grpc::ChannelArguments* args);
void ApplyLimits(grpc::ServerBuilder* builder);
// Peers that say nothing are asked whether they are there.
void ApplyPings(const Pings& pings, grpc::ServerBuilder* builder);

}  // namespace kiln::rpc
