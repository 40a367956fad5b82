#include "cmd/build_flags.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/archive_magic.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/strings.h"
#include "cmd/values.h"
#include "dockerfile/git_ref.h"
#include "http/client.h"
#include "http/proxy.h"
#include "http/url.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace kiln::cmd {
namespace {

using Attrs = std::map<std::string, std::string>;

constexpr size_t kMaxDockerfileBytes = size_t{16} << 20;

Result<std::pair<std::string, std::string>> KeyValue(const std::string& flag,
                                                     const std::string& text) {
  auto cut = Cut(text, "=");
  if (!cut || cut->first.empty())
    return InvalidArgument("invalid value {} for {}: want key=value", Quoted(text), flag);
  return std::pair{std::string(cut->first), std::string(cut->second)};
}

Result<Attrs> CsvAttrs(const std::string& flag, const std::string& text) {
  TRY_ASSIGN(auto fields, ParseCsv(text));
  Attrs attrs;
  for (const auto& field : fields) {
    TRY_ASSIGN(auto pair, KeyValue(flag, field));
    attrs[ToLower(pair.first)] = pair.second;
  }
  return attrs;
}

std::string JoinComma(const std::vector<std::string>& parts) { return Join(parts, ","); }

bool IsFolder(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

bool IsRemote(std::string_view context) {
  if (dockerfile::IsHttpUrl(context) || context.starts_with("github.com/")) return true;
  const auto git = dockerfile::ParseGitRef(context);
  return !git.ok() || git->has_value();
}

Result<std::string> AbsoluteFolder(const std::string& what, const std::string& path) {
  char buffer[PATH_MAX];
  if (::realpath(path.c_str(), buffer) == nullptr)
    return ErrnoError(errno, "{} {}", what, Quoted(path));
  if (!IsFolder(buffer)) return InvalidArgument("{} {} is not a directory", what, Quoted(path));
  return std::string(buffer);
}

// Build arguments without a value take it from the environment; unset ones are left out.
Status AddBuildArgs(const BuildFlags& flags, Attrs& attrs) {
  for (const auto& arg : flags.build_args) {
    if (auto cut = Cut(arg, "=")) {
      if (cut->first.empty()) {
        return InvalidArgument("invalid value {} for --build-arg: want KEY=VALUE", Quoted(arg));
      }
      attrs["build-arg:" + std::string(cut->first)] = cut->second;
    } else if (const char* value = std::getenv(arg.c_str())) {
      attrs["build-arg:" + arg] = value;
    }
  }
  if (const char* epoch = std::getenv("SOURCE_DATE_EPOCH"); epoch != nullptr && *epoch != '\0')
    attrs.emplace("build-arg:SOURCE_DATE_EPOCH", epoch);
  return OkStatus();
}

Status AddPairs(const std::string& flag, const std::string& prefix,
                const std::vector<std::string>& texts, Attrs& attrs) {
  for (const auto& text : texts) {
    TRY_ASSIGN(auto pair, KeyValue(flag, text));
    attrs[prefix + pair.first] = pair.second;
  }
  return OkStatus();
}

bool IsAddress(const std::string& text) {
  in6_addr address;
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

Status AddHosts(const BuildFlags& flags, Attrs& attrs) {
  std::vector<std::string> hosts;
  for (const auto& text : flags.add_hosts) {
    size_t at = text.find_first_of("=:");
    if (at == std::string::npos || at == 0)
      return InvalidArgument("invalid value {} for --add-host: want host:ip", Quoted(text));
    std::string ip = text.substr(at + 1);
    if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
    if (!IsAddress(ip)) {
      return InvalidArgument("invalid value {} for --add-host: {} is not an IP address",
                             Quoted(text), Quoted(ip));
    }
    hosts.push_back(text.substr(0, at) + "=" + ip);
  }
  if (!hosts.empty()) attrs["add-hosts"] = JoinComma(hosts);
  return OkStatus();
}

Status AddNetwork(const BuildFlags& flags, PreparedBuild& build) {
  if (flags.network.empty() || flags.network == "default") return OkStatus();
  if (flags.network != "host" && flags.network != "none") {
    return InvalidArgument(
        "network mode {} is not supported by --network: want default, host or none",
        Quoted(flags.network));
  }
  build.request.frontend_attrs["force-network-mode"] = flags.network;
  if (flags.network == "host") build.request.entitlements.push_back("network.host");
  return OkStatus();
}

// An OCI layout on disk as a named context: clients name the image by digest and serve its blobs.
Status AddLayoutContext(const std::string& name, std::string_view place, PreparedBuild& build) {
  std::string wanted;
  std::string path(place);
  if (auto cut = Cut(place, "@")) {
    path = cut->first;
    wanted = cut->second;
  } else if (size_t colon = path.rfind(':');
             colon != std::string::npos && path.find('/', colon) == std::string::npos) {
    wanted = path.substr(colon + 1);
    path.resize(colon);
  }
  TRY_ASSIGN(path, AbsoluteFolder("--build-context " + name, path));
  TRY_ASSIGN_CTX(auto text, ReadFile(path + "/index.json", oci::kMaxManifestBytes), "OCI layout {}",
                 path);
  TRY_ASSIGN_CTX(auto index, oci::DecodeIndex(text), "OCI layout {}", path);
  auto found = oci::FindInLayout(index, wanted.empty() ? "latest" : wanted);
  if (!found && wanted.empty()) found = oci::FindInLayout(index, "");
  if (!found)
    return NotFound("OCI layout {} has no image {}", path,
                    Quoted(wanted.empty() ? "latest" : wanted));
  std::string store = NewId();
  bool tagged = !wanted.empty() && !wanted.starts_with("sha256:");
  std::string tag = tagged ? ":" + wanted : "";
  build.request.oci_layouts[store] = path;
  build.request.frontend_attrs["context:" + name] =
      "oci-layout://" + store + tag + "@" + found->digest.ToString();
  return OkStatus();
}

Status AddNamedContexts(const BuildFlags& flags, PreparedBuild& build) {
  for (const auto& text : flags.build_contexts) {
    TRY_ASSIGN(auto pair, KeyValue("--build-context", text));
    const auto& [name, value] = pair;
    std::string attr = "context:" + name;
    if (value.starts_with("oci-layout://")) {
      TRY(AddLayoutContext(name, std::string_view(value).substr(13), build));
    } else if (value.starts_with("docker-image://") || value.starts_with("target:") ||
               (!IsFolder(value) && IsRemote(value))) {
      build.request.frontend_attrs[attr] = value;
    } else {
      TRY_ASSIGN(build.request.local_dirs[name], AbsoluteFolder("--build-context " + name, value));
      build.request.frontend_attrs[attr] = "local:" + name;
    }
  }
  return OkStatus();
}

Status MakeTemporaryDir(PreparedBuild& build) {
  std::string pattern = (std::filesystem::temp_directory_path() / "kiln-build-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return ErrnoError(errno, "create {}", pattern);
  build.temporary_dir = pattern;
  return OkStatus();
}

// A Dockerfile from standard input gets a folder of its own.
Status PutDockerfile(const std::string& text, PreparedBuild& build) {
  TRY(MakeTemporaryDir(build));
  TRY(WriteFileAtomically(build.temporary_dir + "/Dockerfile", text));
  build.request.local_dirs["dockerfile"] = build.temporary_dir;
  build.request.frontend_attrs["filename"] = "Dockerfile";
  build.request.frontend_attrs["dockerfilekey"] = "dockerfile";
  return OkStatus();
}

Result<std::string> Download(const std::string& url) {
  const http::Library library;
  http::ClientOptions options;
  options.proxies = http::ProxySettings::From([](const char* name) { return std::getenv(name); });
  http::Client client(library, std::move(options));
  http::UserInfo parts = http::SplitUserInfo(url);
  http::Request request;
  request.url = std::move(parts.url);
  if (!parts.authorization.empty())
    http::SetHeader(request.headers, "Authorization", std::move(parts.authorization));
  TRY_ASSIGN(http::Response response, client.Send(request, kMaxDockerfileBytes));
  if (!response.ok()) {
    return Unknown("{}: invalid response status {}", http::RedactUrl(url), response.status);
  }
  return std::move(response.body);
}

// A Dockerfile that does not lie in a folder: on standard input, or at a URL.
bool IsLoose(const std::string& file) { return file == "-" || dockerfile::IsHttpUrl(file); }

Status PutLooseDockerfile(const std::string& file, PreparedBuild& build) {
  if (file == "-") {
    TRY_ASSIGN_CTX(const auto text, ReadAll(STDIN_FILENO, kMaxDockerfileBytes),
                   "Dockerfile on standard input");
    return PutDockerfile(text, build);
  }
  TRY_ASSIGN_CTX(const auto text, Download(file), "failed to download the Dockerfile");
  return PutDockerfile(text, build);
}

// `kiln build -`: an archive is the context; anything else a Dockerfile, and the context is empty.
Status ContextFromInput(const BuildFlags& flags, PreparedBuild& build) {
  if (flags.file == "-") {
    return InvalidArgument("standard input cannot be both build context and Dockerfile");
  }
  std::string begin(kArchiveMagicBytes, '\0');
  size_t size = 0;
  while (size < begin.size()) {
    TRY_ASSIGN_CTX(const size_t n, ReadSome(STDIN_FILENO, begin.data() + size, begin.size() - size),
                   "context on standard input");
    if (n == 0) break;
    size += n;
  }
  begin.resize(size);
  auto& request = build.request;
  if (LooksLikeArchive(begin)) {
    request.upload = client::Upload{NewId(), std::move(begin), STDIN_FILENO};
    request.frontend_attrs["context"] = request.upload->url();
    if (!flags.file.empty()) request.frontend_attrs["filename"] = flags.file;
    return OkStatus();
  }
  if (!flags.file.empty()) {
    return InvalidArgument("standard input is a Dockerfile, and so is --file {}: give one of them",
                           Quoted(flags.file));
  }
  TRY_ASSIGN_CTX(const auto rest, ReadAll(STDIN_FILENO, kMaxDockerfileBytes),
                 "Dockerfile on standard input");
  TRY(PutDockerfile(begin + rest, build));
  const std::string empty = build.temporary_dir + "/context";
  if (::mkdir(empty.c_str(), 0755) != 0) return ErrnoError(errno, "create {}", empty);
  request.local_dirs["context"] = empty;
  return OkStatus();
}

Status AddContext(const BuildFlags& flags, PreparedBuild& build) {
  auto& attrs = build.request.frontend_attrs;
  if (flags.context.empty())
    return InvalidArgument("kiln build needs a context: a folder, as in `kiln build .`");
  if (flags.context == "-") return ContextFromInput(flags, build);
  if (!IsFolder(flags.context) && IsRemote(flags.context)) {
    attrs["context"] = flags.context;
    if (IsLoose(flags.file)) return PutLooseDockerfile(flags.file, build);
    if (!flags.file.empty()) attrs["filename"] = flags.file;
    return OkStatus();
  }
  auto& dirs = build.request.local_dirs;
  TRY_ASSIGN(dirs["context"], AbsoluteFolder("context", flags.context));
  build.request.shared_key = dirs["context"];
  if (IsLoose(flags.file)) return PutLooseDockerfile(flags.file, build);
  std::string file = flags.file.empty() ? dirs["context"] + "/Dockerfile" : flags.file;
  if (!flags.file.empty() && ::access(file.c_str(), F_OK) != 0) {
    return ErrnoError(errno, "failed to read Dockerfile {}", file);
  }
  std::string folder = DirName(file);
  TRY_ASSIGN(dirs["dockerfile"], AbsoluteFolder("folder of Dockerfile", folder));
  attrs["filename"] = BaseName(file);
  return OkStatus();
}

bool IsAnnotationType(std::string_view type) {
  return type == "manifest" || type == "index" || type == "manifest-descriptor" ||
         type == "index-descriptor";
}

// "[TYPE[[PLATFORM]],…:]KEY=VALUE"; a key may have colons of its own.
Status AddAnnotation(const std::string& text, Attrs& attrs) {
  TRY_ASSIGN(auto pair, KeyValue("--annotation", text));
  auto typed = Cut(pair.first, ":");
  std::string_view prefix = typed ? typed->first : std::string_view();
  for (std::string_view type : Split(prefix, ',')) {
    if (IsAnnotationType(type.substr(0, type.find('[')))) continue;
    if (prefix.find('[') != std::string_view::npos)
      return InvalidArgument("unknown annotation type {} in --annotation {}", Quoted(type),
                             Quoted(text));
    attrs["annotation." + pair.first] = pair.second;
    return OkStatus();
  }
  for (std::string_view type : Split(prefix, ','))
    attrs[fmt::format("annotation-{}.{}", type, typed->second)] = pair.second;
  return OkStatus();
}

bool IsToEngine(const client::Output& output) {
  return output.type == "docker" && output.dest.empty() && !output.layout;
}

// --push and --load add an output unless there is one they can mean.
void AddPushAndLoad(const BuildFlags& flags, std::vector<client::Output>& outputs) {
  if (flags.push) {
    bool pushed = false;
    for (auto& output : outputs) {
      if (output.type != "image") continue;
      output.attrs["push"] = "true";
      pushed = true;
    }
    if (!pushed) outputs.push_back({"image", {{"push", "true"}}});
  }
  if (flags.load && std::none_of(outputs.begin(), outputs.end(), IsToEngine))
    outputs.push_back({"docker", {}});
}

// All that goes to a Docker engine, and how many layouts and uses of standard output there are.
Status ConnectOutputs(PreparedBuild& build) {
  int to_engine = 0, layouts = 0, to_stdout = 0;
  for (auto& output : build.request.outputs) {
    layouts += output.layout ? 1 : 0;
    to_stdout += output.dest == "-" ? 1 : 0;
    if (!IsToEngine(output)) continue;
    ++to_engine;
    TRY_ASSIGN(auto endpoint, FindDocker(build.request.docker_config_dir));
    build.docker = MakeDockerLoad(std::move(endpoint));
    output.sink = build.docker;
  }
  if (layouts > 1) return InvalidArgument("only one output may have tar=false");
  if (to_stdout > 1) return InvalidArgument("only one output may go to standard output");
  if (to_engine > 1) return InvalidArgument("only one output may be loaded into Docker");
  return OkStatus();
}

Status AddOutputs(const BuildFlags& flags, PreparedBuild& build) {
  auto& outputs = build.request.outputs;
  Attrs annotations;
  for (const auto& text : flags.annotations) TRY(AddAnnotation(text, annotations));
  for (const auto& text : flags.outputs) {
    TRY_ASSIGN(auto output, ParseOutput(text));
    outputs.push_back(std::move(output));
  }
  AddPushAndLoad(flags, outputs);
  if (outputs.empty() && !flags.tags.empty()) outputs.push_back({"image", {}});
  for (auto& output : outputs) {
    bool image = output.type == "image" || output.type == "oci" || output.type == "docker";
    if (!image) continue;
    if (!flags.tags.empty()) output.attrs["name"] = JoinComma(flags.tags);
    output.attrs.insert(annotations.begin(), annotations.end());
  }
  return ConnectOutputs(build);
}

// Asks about the Dockerfile instead of building it: nothing is written then.
Status AddCall(const BuildFlags& flags, PreparedBuild& build) {
  TRY_ASSIGN(build.call, ParseCallMethod(flags.check ? "check" : flags.call));
  if (build.call.name.empty()) return AddOutputs(flags, build);
  auto& attrs = build.request.frontend_attrs;
  attrs["requestid"] = "frontend." + build.call.name;
  attrs["frontend.caps"] = "moby.buildkit.frontend.subrequests+forward";
  return OkStatus();
}

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

Status AddSecrets(const BuildFlags& flags, PreparedBuild& build) {
  for (const auto& text : flags.secrets) {
    TRY_ASSIGN(auto attrs, CsvAttrs("--secret", text));
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

Status AddSsh(const BuildFlags& flags, PreparedBuild& build) {
  std::set<std::string> ids;
  for (const auto& text : flags.ssh) {
    TRY_ASSIGN(auto option, ParseSsh(text));
    if (!ids.insert(option.id).second) return InvalidArgument("--ssh {} is given twice", option.id);
    TRY(AddSshOption(text, std::move(option), build));
  }
  return OkStatus();
}

Status AddCaches(const std::string& flag, const std::vector<std::string>& texts,
                 std::vector<client::CacheEntry>& entries) {
  for (const auto& text : texts) {
    client::CacheEntry entry;
    if (text.find('=') == std::string::npos) {
      entry = {"registry", {{"ref", text}}};
    } else {
      TRY_ASSIGN(entry.attrs, CsvAttrs(flag, text));
      entry.type = entry.attrs["type"];
      entry.attrs.erase("type");
      if (entry.type.empty()) return InvalidArgument("{} {}: type required", flag, Quoted(text));
    }
    entries.push_back(std::move(entry));
  }
  return OkStatus();
}

}  // namespace

PreparedBuild::~PreparedBuild() {
  std::error_code ignored;
  if (!temporary_dir.empty()) std::filesystem::remove_all(temporary_dir, ignored);
}

Result<std::vector<std::string>> ParseCsv(const std::string& text) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      fields.back().push_back('"');
      ++i;
    } else if (c == '"' && (quoted || fields.back().empty())) {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      fields.emplace_back();
    } else {
      fields.back().push_back(c);
    }
  }
  if (quoted) return InvalidArgument("unterminated quote in {}", Quoted(text));
  return fields;
}

Result<client::Output> ParseOutput(const std::string& text) {
  client::Output output;
  if (text.find('=') == std::string::npos) {
    if (text.empty()) return InvalidArgument("--output needs a folder, \"-\" or type=…");
    output.type = text == "-" ? "tar" : "local";
    output.dest = text;
    return output;
  }
  TRY_ASSIGN(auto fields, ParseCsv(text));
  for (const auto& field : fields) {
    TRY_ASSIGN(auto pair, KeyValue("--output", field));
    if (pair.first == "type") {
      output.type = pair.second;
    } else if (pair.first == "dest") {
      output.dest = pair.second;
    } else {
      output.attrs[pair.first] = pair.second;
    }
  }
  if (output.type.empty()) return InvalidArgument("--output {}: type is required", Quoted(text));
  if (output.type == "registry") {
    output.type = "image";
    output.attrs["push"] = "true";
  }
  bool image = output.type == "oci" || output.type == "docker";
  bool sends = image || output.type == "local" || output.type == "tar";
  if (!sends && output.type != "image")
    return InvalidArgument("unknown output type {}", Quoted(output.type));
  if (output.type == "local" && output.dest.empty())
    return InvalidArgument("dest is required for local output");
  if (auto tar = output.attrs.find("tar"); image && tar != output.attrs.end()) {
    auto value = tar->second.empty() ? std::optional(true) : ParseBool(tar->second);
    if (!value) return InvalidArgument("non-bool value specified for tar: {}", Quoted(tar->second));
    output.layout = !*value;
    if (output.layout && (output.dest.empty() || output.dest == "-"))
      return InvalidArgument("dest folder is required for {} output with tar=false", output.type);
  }
  if (sends && output.dest.empty() && output.type != "docker") output.dest = "-";
  if (output.dest == "-" && ::isatty(STDOUT_FILENO) == 1) {
    return InvalidArgument("dest file is required for {} output: refusing to write to a terminal",
                           output.type);
  }
  return output;
}

Result<PreparedBuild> Prepare(const BuildFlags& flags) {
  PreparedBuild build;
  auto& attrs = build.request.frontend_attrs;
  build.request.entitlements = flags.allow;
  TRY(AddContext(flags, build));
  TRY(AddNamedContexts(flags, build));
  TRY(AddBuildArgs(flags, attrs));
  TRY(AddPairs("--label", "label:", flags.labels, attrs));
  TRY(AddHosts(flags, attrs));
  TRY(AddNetwork(flags, build));
  if (!flags.target.empty()) attrs["target"] = flags.target;
  if (flags.no_cache) attrs["no-cache"] = "";
  if (!flags.no_cache_filters.empty()) {
    if (flags.no_cache)
      return InvalidArgument("--no-cache and --no-cache-filter cannot currently be used together");
    attrs["no-cache"] = JoinComma(flags.no_cache_filters);
  }
  if (flags.pull) attrs["image-resolve-mode"] = "pull";
  if (!flags.platforms.empty()) attrs["platform"] = JoinComma(flags.platforms);
  if (!flags.ulimits.empty()) attrs["ulimit"] = JoinComma(flags.ulimits);
  if (!flags.cgroup_parent.empty()) attrs["cgroup-parent"] = flags.cgroup_parent;
  if (!flags.shm_size.empty()) {
    TRY_ASSIGN(int64_t bytes, ParseSize("--shm-size", flags.shm_size));
    attrs["shm-size"] = std::to_string(bytes);
  }
  for (const auto& tag : flags.tags)
    TRY_CTX(oci::Reference::ParseNormalized(tag), "invalid tag {}", Quoted(tag));
  TRY(AddCall(flags, build));
  TRY(AddSecrets(flags, build));
  TRY(AddSsh(flags, build));
  TRY(AddCaches("--cache-from", flags.cache_from, build.request.cache_imports));
  TRY(AddCaches("--cache-to", flags.cache_to, build.request.cache_exports));
  return build;
}

}  // namespace kiln::cmd
