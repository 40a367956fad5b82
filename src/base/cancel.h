#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/result.h"

namespace kiln {

// Calls `callback` once when its token is cancelled, at once if it is already. Destroying it
// unregisters and, unless called from the callback itself, waits for a running callback to end.
using CancelCallback = std::stop_callback<std::function<void()>>;

// The receiving end of a cancellation. Copies share state; the default one is never cancelled.
// Safe from any thread.
class CancelToken {
 public:
  CancelToken() = default;

  bool cancelled() const { return token_.stop_requested(); }
  // The reason as an error (code Cancelled unless given otherwise); OK while not cancelled.
  Status Check() const;
  // Blocks until cancelled (true) or the time is over (false).
  bool WaitFor(std::chrono::nanoseconds time) const;
  // Keep the returned object for as long as the callback shall be called. The callback runs on the
  // cancelling thread and must not block.
  std::unique_ptr<CancelCallback> OnCancel(std::function<void()> callback) const;

 private:
  friend class CancelSource;
  struct Reason;
  CancelToken(std::stop_token token, std::shared_ptr<Reason> reason)
      : token_(std::move(token)), reason_(std::move(reason)) {}

  std::stop_token token_;
  std::shared_ptr<Reason> reason_;
};

// The sending end. The first Cancel wins. Destroying it does not cancel.
class CancelSource {
 public:
  CancelSource();
  // Also cancelled when `parent` is, with its reason.
  explicit CancelSource(const CancelToken& parent);
  CancelSource(CancelSource&&) noexcept = default;
  CancelSource& operator=(CancelSource&&) noexcept = default;

  CancelToken token() const;
  void Cancel(Error reason = Error(Code::kCancelled, "context canceled"));
  bool cancelled() const { return source_.stop_requested(); }

 private:
  std::stop_source source_;
  std::shared_ptr<CancelToken::Reason> reason_;
  std::unique_ptr<CancelCallback> parent_link_;
};

}  // namespace kiln
