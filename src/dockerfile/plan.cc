#include "dockerfile/plan.h"

#include <fmt/format.h>

#include <utility>

#include <nlohmann/json.hpp>

#include "base/archive_magic.h"
#include "base/strings.h"
#include "dockerfile/dockerignore.h"
#include "dockerfile/errors.h"
#include "dockerfile/git_ref.h"
#include "dockerfile/lower.h"
#include "dockerfile/parser.h"
#include "llb/source_id.h"

namespace kiln::dockerfile {
namespace {

// What a context that was downloaded is called.
constexpr const char* kDownloadName = "context";

std::string SessionFor(const Options& options, const Host& host, const std::string& local) {
  const auto found = options.local_sessions.find(local);
  return found == options.local_sessions.end() ? host.session_id() : found->second;
}

// Files that the build is described with: few, by name, taken as they are.
llb::Output SmallFiles(const Options& options, const Host& host, const std::string& name,
                       std::vector<std::string> paths, std::string hint, std::string label) {
  llb::LocalSource local;
  local.name = name;
  local.session_id = SessionFor(options, host, name);
  local.follow_paths = std::move(paths);
  local.shared_key_hint = std::move(hint);
  local.differ = llb::Differ::kNone;
  llb::VertexOptions vertex;
  vertex.name = std::move(label);
  return llb::Source(llb::Format(local), std::move(vertex));
}

// A context that is no folder of the client's.
struct Remote {
  llb::Output tree;
  // The tree is one downloaded file of that name, the Dockerfile itself; "": a tree like others.
  std::string dockerfile;
  std::optional<llb::SourceSpec> source;  // unless it came with the request
};

// A file at a URL: an archive, which is unpacked, or a Dockerfile.
Result<Remote> DownloadedContext(const std::string& url, Host& host) {
  llb::HttpSource http;
  http.url = url;
  http.filename = kDownloadName;
  llb::VertexOptions vertex;
  vertex.name = "[internal] load remote build context";
  const llb::SourceSpec source = llb::Format(http);
  llb::Output file = llb::Source(source, std::move(vertex));
  TRY_ASSIGN_CTX(const auto begin, host.ReadPrefix(file, kDownloadName, kArchiveMagicBytes),
                 "failed to read downloaded context");
  if (!begin || !LooksLikeArchive(*begin)) {
    return Remote{std::move(file), kDownloadName, source};
  }
  llb::CopyAction unpack;
  unpack.from = std::move(file);
  unpack.src = std::string("/") + kDownloadName;
  unpack.dest = "/";
  unpack.attempt_unpack = true;
  return Remote{llb::File({}, {std::move(unpack)}), "", source};
}

// The `context` option, if it names something remote.
Result<std::optional<Remote>> NamedRemote(const Options& options, Host& host) {
  using Found = std::optional<Remote>;
  if (options.context.empty()) return Found();
  std::string text = options.context;
  if (text.starts_with("github.com/")) text = "https://" + text;
  // It is a repository also without ".git" behind it.
  TRY_ASSIGN(auto git, ParseGitRef(text, /*any_https=*/text != options.context));
  if (git) {
    if (options.keep_git_dir) git->keep_git_dir = true;
    if (const auto epoch = options.BuildArg("SOURCE_DATE_EPOCH"); epoch && !epoch->empty()) {
      git->mtime = "commit";
    }
    llb::VertexOptions vertex;
    vertex.name = "[internal] load git source " + options.context;
    llb::SourceSpec source = GitSpec(*git, options.git_advice);
    llb::Output tree = llb::Source(source, std::move(vertex));
    return Found(Remote{std::move(tree), "", std::move(source)});
  }
  if (IsHttpUrl(text)) {
    TRY_ASSIGN(Remote remote, DownloadedContext(text, host));
    return Found(std::move(remote));
  }
  return Found();
}

// What is remote, or else an input of that name; nullopt: the client's folder.
Result<std::optional<Remote>> RemoteOrInput(const Options& options, const std::string& name,
                                            Host& host) {
  TRY_ASSIGN(auto remote, NamedRemote(options, host));
  if (remote) return remote;
  TRY_ASSIGN(auto input, host.Input(name));
  if (!input) return std::optional<Remote>();
  return std::optional(Remote{*std::move(input), "", {}});
}

Result<std::optional<Remote>> RemoteContext(const Options& options, Host& host) {
  return RemoteOrInput(options, "context", host);
}

Result<std::optional<Remote>> RemoteDockerfile(const Options& options, Host& host) {
  if (!options.dockerfile_local.empty()) return std::optional<Remote>();
  return RemoteOrInput(options, "dockerfile", host);
}

Result<std::vector<std::string>> Excludes(const Options& options, const LoadedDockerfile& loaded,
                                          Host& host) {
  std::optional<std::string> text = loaded.ignore_file;
  if (!text) {
    const llb::Output tree = SmallFiles(options, host, "context", {".dockerignore"},
                                        "context-.dockerignore", "[internal] load .dockerignore");
    TRY_ASSIGN(text, ReadIgnoreFile(host, tree, ".dockerignore"));
  }
  if (!text) return std::vector<std::string>();
  return ParseDockerignore(*text);
}

llb::Output Subfolder(llb::Output tree, const std::string& subdir) {
  if (subdir.empty()) return tree;
  llb::CopyAction copy;
  copy.from = std::move(tree);
  copy.src = CleanPath("/" + subdir);
  copy.dest = "/";
  copy.dir_copy_contents = true;
  return llb::File({}, {std::move(copy)});
}

// Everybody who watches a conversion.
class Watchers final : public LowerObserver {
 public:
  explicit Watchers(const PlanExtras& extras) {
    if (extras.linter != nullptr) all_.push_back(extras.linter);
    if (extras.observer != nullptr) all_.push_back(extras.observer);
  }

  void OnImage(const std::string& name, LineRange lines, const oci::Platform& expected,
               const oci::Platform& found) override {
    for (LowerObserver* one : all_) one->OnImage(name, lines, expected, found);
  }
  void OnStage(const Stage& stage, int base) override {
    for (LowerObserver* one : all_) one->OnStage(stage, base);
  }
  void Before(const Instruction& instruction, LineRange lines, const StageState& state) override {
    for (LowerObserver* one : all_) one->Before(instruction, lines, state);
  }
  void After(const Instruction& instruction, LineRange lines, const StageState& state) override {
    for (LowerObserver* one : all_) one->After(instruction, lines, state);
  }

 private:
  std::vector<LowerObserver*> all_;
};

// What stands before an instruction that cannot be parsed is checked all the same.
Status ParseAndCheck(const Options& options, const LoadedDockerfile& loaded, const Host& host,
                     const oci::Platform& platform, const PlanExtras& extras, Dockerfile& file) {
  Status parsed = ParseInto(loaded.source, file);
  if (extras.linter != nullptr) {
    Variables automatic;
    if (parsed.ok()) automatic = AutomaticVariables(options, file, host.build_platform(), platform);
    extras.linter->CheckFile(options, loaded.source, file, parsed.ok(), automatic);
  }
  return parsed;
}

// A list of layers stays one if the base had it.
std::string ConfigJson(const oci::ImageConfig& image, bool lists_layers) {
  std::string json = oci::Encode(image);
  if (image.rootfs.diff_ids.empty() && lists_layers) {
    json = ReplaceAll(json, "\"diff_ids\":null", "\"diff_ids\":[]");
  }
  return json;
}

// Windows' images are for one version each, which only the image tells.
oci::Platform WithVersionOf(const oci::Platform& image, oci::Platform platform) {
  if (platform.os != "windows" || image.os != "windows") return platform;
  if (platform.os_version.empty()) platform.os_version = image.os_version;
  if (platform.os_features.empty()) platform.os_features = image.os_features;
  return platform;
}

nlohmann::ordered_json PlatformJson(const oci::Platform& platform) {
  nlohmann::ordered_json json = {{"architecture", platform.architecture}, {"os", platform.os}};
  if (!platform.os_version.empty()) json["os.version"] = platform.os_version;
  if (!platform.os_features.empty()) json["os.features"] = platform.os_features;
  if (!platform.variant.empty()) json["variant"] = platform.variant;
  return json;
}

}  // namespace

Result<LoadedDockerfile> LoadDockerfile(const Options& options, Host& host) {
  std::string filename = options.filename;
  std::string fallback;
  TRY_ASSIGN(const auto remote, RemoteDockerfile(options, host));
  if (remote && !remote->dockerfile.empty()) {
    filename = remote->dockerfile;
  } else if (BaseName(filename) == "Dockerfile") {
    fallback = JoinPath(DirName(filename), "dockerfile");
  }
  const std::string local =
      options.dockerfile_local.empty() ? "dockerfile" : options.dockerfile_local;
  std::vector<std::string> paths = {filename, filename + ".dockerignore"};
  if (!fallback.empty()) paths.push_back(fallback);
  const llb::Output tree = remote ? remote->tree
                                  : SmallFiles(options, host, local, std::move(paths), local,
                                               "[internal] load build definition from " + filename);
  LoadedDockerfile loaded;
  loaded.source.filename = filename;  // also if the fallback is read
  TRY_ASSIGN_CTX(auto text, host.ReadFile(tree, filename), "failed to read dockerfile");
  if (!text && !fallback.empty()) {
    TRY_ASSIGN_CTX(text, host.ReadFile(tree, fallback), "failed to read dockerfile");
  }
  if (!text) {
    return Unknown("failed to read dockerfile: open {}: no such file or directory", filename);
  }
  loaded.source.data = std::move(*text);
  if (!remote) {
    TRY_ASSIGN(loaded.ignore_file, ReadIgnoreFile(host, tree, filename + ".dockerignore"));
  }
  loaded.llb_source = std::make_shared<llb::SourceFile>(
      llb::SourceFile{loaded.source.filename, loaded.source.data, "Dockerfile", tree});
  return loaded;
}

Result<Plan> MakePlan(const Options& options, const LoadedDockerfile& loaded, Host& host,
                      const PlanExtras& extras) {
  std::vector<oci::Platform> platforms = options.platforms;
  if (platforms.empty()) platforms.push_back(host.build_platform());
  Dockerfile file;
  TRY(ParseAndCheck(options, loaded, host, platforms.front(), extras, file));
  TRY_ASSIGN(const auto remote, RemoteContext(options, host));
  std::vector<std::string> excludes;
  if (!remote) {
    TRY_ASSIGN(excludes, Excludes(options, loaded, host));
  }
  if (extras.linter != nullptr) extras.linter->SetIgnored(excludes);
  Watchers watchers(extras);
  Plan plan;
  plan.multi_platform = options.IsMultiPlatform();
  for (const oci::Platform& platform : platforms) {
    LocalTree::Spec spec{"context", "[internal] load build context", "context",
                         SessionFor(options, host, "context"), excludes};
    LocalTree local(std::move(spec));
    FromTree context;
    if (remote) {
      context.output = Subfolder(remote->tree, options.context_subdir);
    } else if (!options.context_subdir.empty()) {
      return InvalidArgument("contextsubdir needs a context that is not local");
    } else {
      context = {local.output(), &local};
    }
    const bool first = plan.platforms.empty();
    const LowerInput input{options,
                           file,
                           loaded.source,
                           loaded.llb_source,
                           host,
                           platform,
                           !options.platforms.empty(),
                           context,
                           remote ? remote->source : std::nullopt,
                           first ? &watchers : nullptr,
                           extras.all_stages};
    TRY_ASSIGN(Lowered lowered, Lower(input));
    if (first && extras.linter != nullptr) TRY(extras.linter->Verdict());
    local.Finish();
    plan.epoch = lowered.epoch;
    plan.platforms.push_back({oci::FormatAll(platform), platform, std::move(lowered.root),
                              std::move(lowered.image), std::move(lowered.base_image),
                              lowered.lists_layers});
  }
  return plan;
}

std::map<std::string, std::string> ResultMetadata(const Plan& plan) {
  std::map<std::string, std::string> metadata;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const PlatformPlan& platform : plan.platforms) {
    const std::string suffix = plan.multi_platform ? "/" + platform.id : "";
    metadata["containerimage.config" + suffix] = ConfigJson(platform.image, platform.lists_layers);
    if (platform.base_image) {
      metadata["containerimage.base.config" + suffix] =
          ConfigJson(*platform.base_image, platform.lists_layers);
    }
    if (plan.epoch) metadata["source.date.epoch" + suffix] = fmt::format("{}", *plan.epoch);
    const oci::Platform shown = WithVersionOf(platform.image.platform, platform.platform);
    list.push_back({{"ID", platform.id}, {"Platform", PlatformJson(shown)}});
  }
  metadata["refs.platforms"] = nlohmann::ordered_json({{"Platforms", list}}).dump();
  return metadata;
}

}  // namespace kiln::dockerfile
