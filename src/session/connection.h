#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "base/result.h"
#include "progress/activity.h"
#include "session/session.h"

namespace kiln::session {

// The gRPC side of a session. Only `session` itself and those who hand over channels include this
// header.
struct Session::Connection {
  explicit Connection(std::shared_ptr<grpc::Channel> over) : channel(std::move(over)) {}
  std::shared_ptr<grpc::Channel> channel;
};

// One call through a session: its context ends with the activity and with the session.
class Call {
 public:
  Call(const progress::Activity& activity, const Session& session);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext& context() { return context_; }
  grpc::ClientContext* get() { return &context_; }
  // Turns how the call ended into a Status: why the activity or the session ended comes before
  // gRPC's word for it.
  Status End(const grpc::Status& status) const;

 private:
  const progress::Activity activity_;
  const CancelToken session_closed_;
  grpc::ClientContext context_;
  std::unique_ptr<CancelCallback> on_cancel_;
  std::unique_ptr<CancelCallback> on_closed_;
};

}  // namespace kiln::session
