#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "base/strings.h"
#include "cmd/build_parts.h"

namespace kiln::cmd {
namespace {

Status CheckSecret(const client::Secret& secret) {
  // A variable that is not set is a secret that is not there: steps say whether they need it.
  if (secret.file.empty()) return OkStatus();
  struct stat st;
  if (::access(secret.file.c_str(), R_OK) != 0 || ::stat(secret.file.c_str(), &st) != 0)
    return ErrnoError(errno, "--secret {}: {}", secret.id, secret.file);
  if (S_ISDIR(st.st_mode))
    return InvalidArgument("--secret {}: {} is a directory", secret.id, secret.file);
  if (static_cast<uint64_t>(st.st_size) > client::kMaxSecretBytes) {
    return InvalidArgument("--secret {}: {} is larger than {}", secret.id, secret.file,
                           HumanBytes(client::kMaxSecretBytes));
  }
  return OkStatus();
}

bool IsSocket(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

// One of --ssh: "default", "ID", "ID=SOCKET" or "ID=KEY[,KEY…]".
struct SshOption {
  std::string id;
  std::vector<std::string> paths;
};

Result<SshOption> ParseSsh(const std::string& text) {
  auto cut = Cut(text, "=");
  SshOption option;
  option.id = cut ? std::string(cut->first) : text;
  if (cut) {
    for (std::string_view path : Split(cut->second, ',')) {
      if (!path.empty()) option.paths.emplace_back(path);
    }
  }
  if (!option.paths.empty()) return option;
  const char* socket = std::getenv("SSH_AUTH_SOCK");
  if (socket == nullptr || *socket == '\0') {
    return InvalidArgument(
        "--ssh {}: SSH_AUTH_SOCK is not set: start an ssh-agent, or name a key file as in "
        "--ssh {}=KEYFILE",
        text, option.id);
  }
  option.paths.emplace_back(socket);
  return option;
}

Status AddSshOption(const std::string& text, SshOption option, PreparedBuild& build) {
  for (const auto& path : option.paths) {
    if (::access(path.c_str(), R_OK) != 0) return ErrnoError(errno, "--ssh {}: {}", text, path);
    if (!IsSocket(path)) continue;
    if (option.paths.size() > 1)
      return InvalidArgument("--ssh {}: {} is a socket: it must be the only one", text, path);
    build.request.ssh_agents.push_back({std::move(option.id), path});
    return OkStatus();
  }
  build.ssh_keys.push_back({std::move(option.id), std::move(option.paths)});
  return OkStatus();
}

}  // namespace

Status AddSecrets(const BuildFlags& flags, PreparedBuild& build) {
  for (const auto& text : flags.secrets) {
    TRY_ASSIGN(auto attrs, KeyValues("--secret", text));
    client::Secret secret;
    std::string type = attrs["type"];
    for (const auto& [key, value] : attrs) {
      if (key == "id") {
        secret.id = value;
      } else if (key == "src" || key == "source") {
        (type == "env" ? secret.env : secret.file) = value;
      } else if (key == "env") {
        secret.env = value;
      } else if (key != "type") {
        return InvalidArgument("unexpected key {} in --secret {}", Quoted(key), Quoted(text));
      }
    }
    if (!type.empty() && type != "file" && type != "env")
      return InvalidArgument("unsupported secret type {}", Quoted(type));
    if (secret.id.empty()) return InvalidArgument("--secret {} has no id", Quoted(text));
    // Without a source: an environment variable of that name, else a file.
    if (secret.file.empty() && secret.env.empty()) {
      (type == "env" || (type.empty() && std::getenv(secret.id.c_str()) != nullptr) ? secret.env
                                                                                    : secret.file) =
          secret.id;
    }
    TRY(CheckSecret(secret));
    build.request.secrets.push_back(std::move(secret));
  }
  return OkStatus();
}

Status AddSsh(const BuildFlags& flags, PreparedBuild& build) {
  std::set<std::string> ids;
  for (const auto& text : flags.ssh) {
    TRY_ASSIGN(auto option, ParseSsh(text));
    if (!ids.insert(option.id).second) return InvalidArgument("--ssh {} is given twice", option.id);
    TRY(AddSshOption(text, std::move(option), build));
  }
  return OkStatus();
}

}  // namespace kiln::cmd
