#pragma once

#include <map>
#include <set>
#include <string>

#include "base/result.h"
#include "cdi/catalog.h"
#include "pb/ops.pb.h"

namespace kiln::build {

// What a request grants its steps beyond the usual.
class Entitlements {
 public:
  // `granted`: "network.host", "security.insecure", "device", "device=NAME[,alias=OTHER]".
  // `unknown entitlement x`; `granting entitlement x is not allowed by build daemon configuration`.
  static Result<Entitlements> Parse(const std::set<std::string>& granted,
                                    const std::set<std::string>& allowed_by_daemon);

  // `network.host is not allowed`
  Status CheckModes(const pb::ExecOp& exec) const;

  // Replaces the devices that a step asks for by those it gets, each by its full name, which is how
  // they enter its key; with "device" for all of them they stay as asked for. An alias stands for
  // what the request says. `required device "x" is not registered`; `device x is requested by the
  // build but not allowed`.
  Status ResolveDevices(const cdi::Catalog& catalog, pb::ExecOp& exec) const;

 private:
  Status AddDevices(const std::string& text);

  std::set<std::string> names_;
  bool all_devices_ = false;
  // Granted device or alias → the device that an alias stands for, "" for others.
  std::map<std::string, std::string> devices_;
};

}  // namespace kiln::build
