// Files of an image that the daemon itself reads before a step: who a user is, by /etc/passwd and
// /etc/group; and those that it makes.
// Input: user, passwd, group, resolv.conf, then "host ip" lines.
#include "base/check.h"
#include "base/strings.h"
#include "executor/etc_files.h"
#include "executor/user.h"
#include "parts.h"
#include "scratch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln;  // NOLINT: one file, one purpose
  static Scratch scratch;
  const Parts parts(data, size);
  {
    const sys::RootedPath root = scratch.Begin();
    CHECK(root.MakeDir("etc").ok());
    CHECK(root.WriteFile("etc/passwd", parts[1]).ok());
    if (parts.size() > 2) CHECK(root.WriteFile("etc/group", parts[2]).ok());
    const auto ids = executor::LookUpUser(root, std::string(parts[0]));
    if (ids.ok()) CHECK(!ids->additional_gids.empty() && ids->additional_gids[0] == ids->gid);
  }
  scratch.End();

  executor::DnsConfig dns;
  if (size % 2 != 0) dns.search_domains = {"example.com"};
  for (const auto network : {executor::NetworkMode::kHost, executor::NetworkMode::kNone})
    (void)executor::MakeResolvConf(parts[3], dns, network);
  std::vector<executor::ExtraHost> hosts;
  for (const std::string_view line : Split(parts[4], '\n')) {
    if (const auto pair = Cut(line, " "))
      hosts.push_back({std::string(pair->first), std::string(pair->second)});
  }
  (void)executor::MakeHosts(std::string(parts[0]), hosts);
  return 0;
}
