#pragma once

#include <grpcpp/support/status.h>

#include "base/error.h"
#include "base/result.h"

namespace google::rpc {
class Status;
}

namespace kiln::rpc {

// The only place where errors of ours become statuses of gRPC and back. Code, message and details
// (google.protobuf.Any pairs, carried in `grpc-status-details-bin`) pass through unchanged; the
// context chain is folded into the message.
grpc::Status ToGrpc(const Error& error);
grpc::Status ToGrpc(const Status& status);
// `status` is not OK.
Error FromGrpc(const grpc::Status& status);
// OK or FromGrpc.
Status ToStatus(const grpc::Status& status);

void ToProto(const Error& error, google::rpc::Status* out);
// A status whose code is 0 becomes Unknown: somebody meant to send an error.
Error FromProto(const google::rpc::Status& status);

}  // namespace kiln::rpc
