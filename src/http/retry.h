#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/result.h"
#include "http/message.h"

namespace kiln::http {

// How often, and with what pauses, something is tried again.
struct RetryPolicy {
  int attempts = 4;
  std::chrono::milliseconds first_delay{1000};
  std::chrono::milliseconds max_delay{30'000};

  // Before attempt `next` (1 is the first repetition): doubles each time, or what the server asked
  // for in Retry-After, within max_delay.
  std::chrono::milliseconds DelayBefore(int next,
                                        std::optional<std::chrono::milliseconds> asked) const;
};

// 408, 429, 500, 502, 503, 504.
bool IsRetryableStatus(int status);
// Network trouble that may pass: broken or timed out. A refused connection or unknown host is
// final.
bool IsRetryableFailure(Failure failure);

// Retry-After as a duration from now: seconds or an HTTP date; nothing if absent or senseless.
std::optional<std::chrono::milliseconds> RetryAfter(const Response& response, WallTime now);

// What one attempt says about itself.
struct Attempt {
  Status status;
  bool retryable = false;
  std::optional<std::chrono::milliseconds> delay;  // asked for by the server
};

// Runs `attempt` until it succeeds, cannot be retried, or the policy is used up; the last status.
// `before_retry` (may be empty) hears of each failure and the coming pause.
Status Retry(const RetryPolicy& policy, const CancelToken& cancel,
             const std::function<Attempt()>& attempt,
             const std::function<void(const Error&, std::chrono::milliseconds)>& before_retry = {});

}  // namespace kiln::http
