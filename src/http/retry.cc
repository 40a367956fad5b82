#include "http/retry.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace kiln::http {

using std::chrono::milliseconds;

milliseconds RetryPolicy::DelayBefore(int next, std::optional<milliseconds> asked) const {
  if (asked) return std::clamp(*asked, milliseconds(0), max_delay);
  return std::min(first_delay * (int64_t{1} << std::clamp(next - 1, 0, 20)), max_delay);
}

bool IsRetryableStatus(int status) {
  return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

bool IsRetryableFailure(Failure failure) {
  return failure == Failure::kTimeout || failure == Failure::kBroken;
}

std::optional<milliseconds> RetryAfter(const Response& response, WallTime now) {
  const std::string text(Trim(response.header("Retry-After")));
  if (text.empty()) return std::nullopt;
  if (const auto seconds = ParseInt(text)) {
    if (*seconds < 0) return std::nullopt;
    return milliseconds(std::min<int64_t>(*seconds, 86'400) * 1000);
  }
  const auto at = ParseHttpDate(text);
  if (!at) return std::nullopt;
  const auto left = std::chrono::duration_cast<milliseconds>(*at - now);
  return std::clamp(left, milliseconds(0), milliseconds(86'400'000));
}

Status Retry(const RetryPolicy& policy, const CancelToken& cancel,
             const std::function<Attempt()>& attempt,
             const std::function<void(const Error&, milliseconds)>& before_retry) {
  for (int number = 1;; ++number) {
    Attempt outcome = attempt();
    if (outcome.status.ok() || !outcome.retryable || number >= policy.attempts) {
      return std::move(outcome.status);
    }
    TRY(cancel.Check());
    const milliseconds delay = policy.DelayBefore(number, outcome.delay);
    if (before_retry) before_retry(outcome.status.error(), delay);
    if (cancel.WaitFor(delay)) return cancel.Check();
  }
}

}  // namespace kiln::http
