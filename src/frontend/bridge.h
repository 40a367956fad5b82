#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "frontend/gateway.h"

namespace kiln::frontend {

// A build driven by a peer over the wire: the references it was given, by id, and what it returns.
// Safe from any thread.
class Bridge {
 public:
  // `request` is what Inputs answers from.
  Bridge(GatewayPtr gateway, Request request)
      : gateway_(std::move(gateway)), request_(std::move(request)) {}

  const GatewayPtr& gateway() const { return gateway_; }
  const Request& request() const { return request_; }

  // A fresh id for a reference; "" for none.
  std::string Keep(const build::ReferencePtr& reference);
  // Unknown "no such ref: ID, all [ID…]" if it was not handed out; "" never is.
  Result<build::ReferencePtr> Find(const std::string& id) const;

  // The peer's result or error, once: Unknown "gateway result is already set" afterwards.
  Status Return(Result<build::BuildResult> result);
  // Waits for Return. Ends with the cancellation's reason too.
  Result<build::BuildResult> Wait(const CancelToken& cancel);

 private:
  const GatewayPtr gateway_;
  const Request request_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::map<std::string, build::ReferencePtr> references_ GUARDED_BY(mutex_);
  std::optional<Result<build::BuildResult>> result_ GUARDED_BY(mutex_);
};
using BridgePtr = std::shared_ptr<Bridge>;

}  // namespace kiln::frontend
