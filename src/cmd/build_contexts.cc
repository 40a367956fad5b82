#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <filesystem>

#include "base/archive_magic.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/strings.h"
#include "cmd/build_parts.h"
#include "cmd/interrupt.h"
#include "dockerfile/git_ref.h"
#include "http/client.h"
#include "http/proxy.h"
#include "http/url.h"
#include "oci/layout.h"
#include "oci/manifest.h"

namespace kiln::cmd {
namespace {

constexpr size_t kMaxDockerfileBytes = size_t{16} << 20;

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

Result<std::string> ReadInput() {
  const InterruptsEndProcess nothing_begun;
  return ReadAll(STDIN_FILENO, kMaxDockerfileBytes);
}

Result<std::string> Download(const std::string& url) {
  const InterruptsEndProcess nothing_begun;
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
    TRY_ASSIGN_CTX(const auto text, ReadInput(), "Dockerfile on standard input");
    return PutDockerfile(text, build);
  }
  TRY_ASSIGN_CTX(const auto text, Download(file), "failed to download the Dockerfile");
  return PutDockerfile(text, build);
}

// The first bytes of standard input, by which archives are known.
Result<std::string> ReadMagic() {
  const InterruptsEndProcess nothing_begun;
  std::string begin(kArchiveMagicBytes, '\0');
  size_t size = 0;
  while (size < begin.size()) {
    TRY_ASSIGN(const size_t n, ReadSome(STDIN_FILENO, begin.data() + size, begin.size() - size));
    if (n == 0) break;
    size += n;
  }
  begin.resize(size);
  return begin;
}

// `kiln build -`: an archive is the context; anything else a Dockerfile, and the context is empty.
Status ContextFromInput(const BuildFlags& flags, PreparedBuild& build) {
  if (flags.file == "-") {
    return InvalidArgument("standard input cannot be both build context and Dockerfile");
  }
  TRY_ASSIGN_CTX(std::string begin, ReadMagic(), "context on standard input");
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
  TRY_ASSIGN_CTX(const auto rest, ReadInput(), "Dockerfile on standard input");
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

}  // namespace

bool IsFolder(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

Status AddContexts(const BuildFlags& flags, PreparedBuild& build) {
  TRY(AddContext(flags, build));
  return AddNamedContexts(flags, build);
}

}  // namespace kiln::cmd
