#include "session/connection.h"

#include <chrono>

#include "rpc/status.h"

namespace kiln::session {

Call::Call(const progress::Activity& activity, const Session& session)
    : activity_(activity), session_closed_(session.closed()) {
  if (activity.deadline) {
    const auto left = *activity.deadline - std::chrono::steady_clock::now();
    context_.set_deadline(std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::system_clock::duration>(left));
  }
  on_cancel_ = activity.cancel.OnCancel([this] { context_.TryCancel(); });
  on_closed_ = session_closed_.OnCancel([this] { context_.TryCancel(); });
}

Status Call::End(const grpc::Status& status) const {
  if (status.ok()) return OkStatus();
  TRY(activity_.Check());
  TRY(session_closed_.Check());
  return rpc::ToStatus(status);
}

}  // namespace kiln::session
