#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "executor/process_spec.h"

namespace kiln::executor {

// [dns] of the configuration; an empty list leaves the host's.
struct DnsConfig {
  std::vector<std::string> nameservers;
  std::vector<std::string> options;
  std::vector<std::string> search_domains;
};

// A container's /etc/resolv.conf made from the host's. Without the host's network its loopback
// servers are of no use: they are dropped, and public ones stand in if none remain.
std::string MakeResolvConf(std::string_view host, const DnsConfig& dns, NetworkMode network);
// The host's file that applies: systemd's list of real servers where /etc/resolv.conf only names
// its stub and the step cannot reach that. A missing file is "".
std::string ReadHostResolvConf(NetworkMode network);
// InvalidArgument: `failed to parse IP X`.
Result<std::string> MakeHosts(const std::string& hostname, const std::vector<ExtraHost>& extra);

}  // namespace kiln::executor
