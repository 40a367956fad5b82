#include "executor/etc_files.h"

#include <arpa/inet.h>

#include "base/fd.h"
#include "base/strings.h"

namespace kiln::executor {
namespace {

constexpr const char* kPublicServers[] = {"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888",
                                          "2001:4860:4860::8844"};
constexpr std::string_view kSystemdStub = "127.0.0.53";

struct ResolvConf {
  std::vector<std::string> nameservers;
  std::vector<std::string> search;
  std::vector<std::string> options;
  std::vector<std::string> other;  // whole lines
};

std::vector<std::string> Words(std::string_view line) {
  std::vector<std::string> words;
  std::string word;
  for (char c : line) {
    if (c == ' ' || c == '\t' || c == '\r') {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

ResolvConf Parse(std::string_view text) {
  ResolvConf conf;
  for (std::string_view line : Split(text, '\n')) {
    std::vector<std::string> words = Words(line);
    if (words.empty() || words[0][0] == '#' || words[0][0] == ';') continue;
    std::vector<std::string> rest(words.begin() + 1, words.end());
    if (words[0] == "nameserver") {
      if (!rest.empty()) conf.nameservers.push_back(rest[0]);
    } else if (words[0] == "search") {
      conf.search = rest;  // the last one counts (resolv.conf(5))
    } else if (words[0] == "options") {
      conf.options.insert(conf.options.end(), rest.begin(), rest.end());
    } else {
      conf.other.push_back(Join(words, " "));
    }
  }
  return conf;
}

bool IsLoopback(const std::string& server) {
  std::string address = server.substr(0, server.find('%'));
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool IsAddress(const std::string& text) {
  in6_addr address{};
  return inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

}  // namespace

std::string MakeResolvConf(std::string_view host, const DnsConfig& dns, NetworkMode network) {
  ResolvConf conf = Parse(host);
  if (!dns.nameservers.empty()) {
    conf.nameservers = dns.nameservers;
  } else {
    if (network != NetworkMode::kHost) std::erase_if(conf.nameservers, IsLoopback);
    if (conf.nameservers.empty())
      conf.nameservers.assign(std::begin(kPublicServers), std::end(kPublicServers));
  }
  if (!dns.search_domains.empty()) conf.search = dns.search_domains;
  if (!dns.options.empty()) conf.options = dns.options;
  std::string out;
  for (const std::string& server : conf.nameservers) out += fmt::format("nameserver {}\n", server);
  if (!conf.search.empty()) out += fmt::format("search {}\n", Join(conf.search, " "));
  if (!conf.options.empty()) out += fmt::format("options {}\n", Join(conf.options, " "));
  for (const std::string& line : conf.other) out += line + "\n";
  return out;
}

std::string ReadHostResolvConf(NetworkMode network) {
  auto text = ReadFile("/etc/resolv.conf", 1 << 20);
  if (!text.ok()) return {};
  ResolvConf conf = Parse(*text);
  if (network != NetworkMode::kHost && conf.nameservers.size() == 1 &&
      conf.nameservers[0] == kSystemdStub) {
    if (auto real = ReadFile("/run/systemd/resolve/resolv.conf", 1 << 20); real.ok())
      return std::move(*real);
  }
  return std::move(*text);
}

Result<std::string> MakeHosts(const std::string& hostname, const std::vector<ExtraHost>& extra) {
  std::string out =
      fmt::format("127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n", hostname);
  for (const ExtraHost& host : extra) {
    if (!IsAddress(host.ip)) return InvalidArgument("failed to parse IP {}", host.ip);
    if (host.host.find_first_of("\n\r") != std::string::npos)
      return InvalidArgument("bad host name {}", Quoted(host.host));
    out += fmt::format("{}\t{}\n", host.ip, host.host);
  }
  return out;
}

}  // namespace kiln::executor
