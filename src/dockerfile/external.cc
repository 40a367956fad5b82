#include "dockerfile/external.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "dockerfile/dockerignore.h"
#include "dockerfile/git_ref.h"
#include "oci/reference.h"

namespace kiln::dockerfile {
namespace {

// The name under which a context is looked up: `alpine` for every way to write that image.
std::string ContextName(const std::string& name) {
  auto ref = oci::Reference::ParseNormalized(name);
  if (!ref.ok()) return name;
  std::string familiar = ref->Familiar();
  if (familiar.ends_with(":latest")) familiar.resize(familiar.size() - 7);
  return familiar;
}

// Nothing to start from: no layers, or only entries that say nothing.
bool IsEmptyImage(const oci::ImageConfig& config) {
  return config.rootfs.diff_ids.empty() &&
         std::all_of(config.history.begin(), config.history.end(),
                     [](const oci::History& entry) { return entry.empty_layer; });
}

}  // namespace

std::string WhyBadReference(const Error& error) {
  const std::string& why = error.message();
  return why.starts_with("invalid reference format: \"") ? "invalid reference format" : why;
}

Status CheckTreeName(const std::string& name) {
  if (name == "scratch") return OkStatus();
  const auto parsed = oci::Reference::ParseNormalized(name);
  if (parsed.ok()) return OkStatus();
  return Unknown("failed to parse stage name {}: {}", Quoted(name),
                 WhyBadReference(parsed.error()));
}

llb::Output External::Tree(const std::string& vertex_name, const Options& options,
                           std::vector<llb::SourceLocation> locations,
                           const std::string& command) const {
  if (!request) return fixed;
  if (scratch) return {};
  llb::VertexOptions vertex;
  vertex.platform = platform;
  if (context_key.empty()) {
    vertex.name = vertex_name;
    vertex.locations = std::move(locations);
    vertex.description[std::string(kCommandKey)] = command;
  } else {
    vertex.name = fmt::format("[context {}] {}", context_key,
                              request->oci_layout ? "OCI load from client" : written_ref);
  }
  if (request->oci_layout) {
    llb::OciLayoutSource source;
    source.ref = ref;
    source.session_id = request->session_id;
    source.store_id = request->store_id;
    return llb::Source(llb::Format(source), std::move(vertex));
  }
  llb::ImageSource source;
  source.ref = ref;
  source.resolve_mode = options.resolve_mode;
  return llb::Source(llb::Format(source), std::move(vertex));
}

External* Externals::Known(const Key& key) const {
  const auto found = known_.find(key);
  return found == known_.end() || found->second->local != nullptr ? nullptr : found->second;
}

External* Externals::Keep(std::unique_ptr<External> external) {
  External* raw = external.get();
  known_[{raw->name, oci::FormatAll(raw->platform)}] = raw;
  if (!raw->resolved) pending_.push_back(raw);
  all_.push_back(std::move(external));
  return raw;
}

Result<External*> Externals::Context(const std::string& name, const oci::Platform& platform) {
  if (name == "scratch" || name == "context" || options_.named_contexts.empty()) return nullptr;
  if (External* known = Known({name, oci::FormatAll(platform)})) {
    return known->context_key.empty() ? nullptr : known;
  }
  const std::string base = ContextName(name);
  auto found = options_.named_contexts.find(base + "::" + oci::FormatAll(platform));
  if (found == options_.named_contexts.end()) found = options_.named_contexts.find(base);
  if (found == options_.named_contexts.end()) return nullptr;
  auto external = std::make_unique<External>();
  external->name = name;
  external->platform = platform;
  external->context_key = found->first;
  external->config = oci::DefaultImageConfig(platform);
  TRY(OpenContext(*external, found->second));
  return Keep(std::move(external));
}

Result<External*> Externals::Need(const std::string& name, const oci::Platform& platform) {
  if (External* known = Known({name, oci::FormatAll(platform)})) return known;
  TRY_ASSIGN(External * context, Context(name, platform));
  if (context != nullptr) return context;
  auto external = std::make_unique<External>();
  external->name = name;
  external->platform = platform;
  external->config = oci::DefaultImageConfig(platform);
  if (name == "scratch") {
    external->scratch = external->resolved = true;
  } else {
    TRY(OpenImage(*external, name));
  }
  return Keep(std::move(external));
}

Status Externals::OpenContext(External& external, const std::string& value) {
  const auto cut = Cut(value, ":");
  if (!cut) return Unknown("invalid context specifier {} for {}", value, external.context_key);
  const std::string scheme(cut->first);
  std::string rest(cut->second);
  if (scheme == "docker-image" || scheme == "oci-layout") {
    if (rest.starts_with("//")) rest.erase(0, 2);
    if (scheme == "oci-layout") return OpenOciLayout(external, rest);
    if (rest == "scratch") {
      external.scratch = external.resolved = true;
      return OkStatus();
    }
    return OpenImage(external, rest);
  }
  if (scheme == "local") return OpenLocal(external, rest);
  if (scheme == "input") return OpenInput(external, rest);
  llb::VertexOptions vertex;
  vertex.name = "[internal] load git source " + value;
  const bool ssh = scheme == "ssh";
  TRY_ASSIGN(auto git, ParseGitRef(value));
  if (git && !ssh) {
    external.source = GitSpec(*git, options_.git_advice);
    external.fixed = llb::Source(*external.source, std::move(vertex));
    external.resolved = true;
    return OkStatus();
  }
  if (IsHttpUrl(value)) {
    llb::HttpSource http;
    http.url = value;
    http.filename = "context";
    vertex.name = fmt::format("[context {}] {}", external.context_key, value);
    external.source = llb::Format(http);
    external.fixed = llb::Source(*external.source, std::move(vertex));
    external.resolved = true;
    return OkStatus();
  }
  return Unknown("unsupported context source {} for {}", scheme, external.context_key);
}

Status Externals::OpenImage(External& external, const std::string& ref) {
  if (external.context_key.empty()) TRY(CheckTreeName(ref));
  const auto parsed = oci::Reference::ParseNormalized(ref);
  if (!parsed.ok()) return Unknown("{}", parsed.error().message());
  ImageRequest request;
  request.ref = parsed->WithDefaultTag().ToString();
  request.platform = external.platform;
  request.resolve_mode = options_.resolve_mode;
  if (!external.context_key.empty()) {
    request.log_name = fmt::format("[context {}] load metadata for {}", external.context_key, ref);
  } else if (show_platform_) {
    request.log_name = fmt::format("[{} internal] load metadata for {}",
                                   oci::Format(external.platform), request.ref);
  } else {
    request.log_name = "[internal] load metadata for " + request.ref;
  }
  external.request = std::move(request);
  external.written_ref = ref;
  return OkStatus();
}

// STORE[:tag]@digest: the content is found by its digest in a store of the client's.
Status Externals::OpenOciLayout(External& external, const std::string& value) {
  const auto at = value.find('@');
  if (at == std::string::npos)
    return Unknown("oci-layout reference {} has no digest", Quoted(value));
  TRY_ASSIGN_CTX(const Digest digest, Digest::Parse(value.substr(at + 1)),
                 "could not parse oci-layout reference {}", Quoted(value));
  const auto parsed = oci::Reference::ParseNormalized(ContextName(external.name));
  if (!parsed.ok()) {
    return Unknown("could not parse {} as the name of an OCI layout", Quoted(external.name));
  }
  ImageRequest request;
  request.ref = parsed->NameOnly().WithDigest(digest).ToString();
  request.platform = external.platform;
  request.log_name =
      fmt::format("[context {}] load metadata for {}", external.context_key, request.ref);
  request.oci_layout = true;
  request.session_id = host_.session_id();
  std::string store = value.substr(0, at);
  // A tag after the store's name says nothing that the digest does not.
  const auto slash = store.rfind('/');
  const auto colon = store.rfind(':');
  if (colon != std::string::npos && (slash == std::string::npos || colon > slash))
    store.resize(colon);
  request.store_id = store;
  external.request = std::move(request);
  return OkStatus();
}

Status Externals::OpenLocal(External& external, const std::string& name) {
  const std::string& label = external.context_key.empty() ? external.name : external.context_key;
  const auto session = options_.local_sessions.find(name);
  const auto shared = options_.shared_keys.find(name);
  const std::string session_id =
      session == options_.local_sessions.end() ? host_.session_id() : session->second;
  llb::LocalSource ignore;
  ignore.name = name;
  ignore.session_id = session_id;
  ignore.follow_paths = {".dockerignore"};
  ignore.shared_key_hint = fmt::format("context:{}-.dockerignore", label);
  ignore.differ = llb::Differ::kNone;
  llb::VertexOptions vertex;
  vertex.name = fmt::format("[context {}] load .dockerignore", label);
  TRY_ASSIGN(
      const auto text,
      ReadIgnoreFile(host_, llb::Source(llb::Format(ignore), std::move(vertex)), ".dockerignore"));
  LocalTree::Spec spec;
  spec.name = name;
  spec.label = fmt::format("[context {}] load from client", label);
  spec.session_id = session_id;
  spec.shared_key_hint = fmt::format("context:{}-{}", label,
                                     shared == options_.shared_keys.end() ? "" : shared->second);
  if (text) {
    TRY_ASSIGN_CTX(spec.excludes, ParseDockerignore(*text), ".dockerignore of context {}", name);
  }
  locals_.push_back(std::make_unique<LocalTree>(std::move(spec)));
  external.local = locals_.back().get();
  external.fixed = external.local->output();
  external.resolved = true;
  return OkStatus();
}

Status Externals::OpenInput(External& external, const std::string& name) {
  TRY_ASSIGN(auto input, host_.Input(name));
  if (!input) return Unknown("invalid input {} for {}", name, external.context_key);
  external.fixed = std::move(*input);
  external.resolved = true;
  const auto metadata = options_.input_metadata.find(name);
  if (metadata == options_.input_metadata.end()) return OkStatus();
  const auto json = nlohmann::json::parse(metadata->second, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    return Unknown("failed to parse input metadata {}: {}", metadata->second,
                   GoJsonError(metadata->second));
  }
  const auto config = json.find("containerimage.config");
  if (config == json.end()) return OkStatus();
  const auto decoded =
      config->is_string() ? Base64Decode(config->get<std::string>()) : std::nullopt;
  if (!decoded) {
    return Unknown("failed to parse input metadata {}: the configuration is not base64",
                   metadata->second);
  }
  TRY_ASSIGN(external.config, oci::DecodeImageConfig(*decoded));
  external.has_config = true;
  return OkStatus();
}

void Externals::ResolvePending() {
  std::vector<ImageRequest> requests;
  const std::vector<External*> waiting = std::exchange(pending_, {});
  for (const External* external : waiting) requests.push_back(*external->request);
  if (requests.empty()) return;
  auto answers = host_.ResolveImages(requests);
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    External& external = *waiting[i];
    external.resolved = true;
    Status status =
        i < answers.size() && answers[i].ok() ? Adopt(external, *answers[i]) : OkStatus();
    if (i >= answers.size())
      status = Internal("image {} was not looked up", external.name);
    else if (!answers[i].ok())
      status = std::move(answers[i]).error();
    if (status.ok()) continue;
    external.failure = std::move(status).error();
    if (external.context_key.empty()) external.failure->AddContext(external.name);
  }
}

// A source policy has made another source of the image: its files, and no configuration.
Status Externals::Replace(External& external, const llb::SourceSpec& source) {
  external.request.reset();
  TRY_ASSIGN(const llb::SourceId id, llb::ParseSource(source.identifier, source.attrs));
  if (const auto* local = std::get_if<llb::LocalSource>(&id)) {
    return OpenLocal(external, local->name);
  }
  llb::VertexOptions vertex;
  vertex.name = external.context_key.empty()
                    ? "FROM " + source.identifier
                    : fmt::format("[context {}] {}", external.context_key, source.identifier);
  external.source = source;
  external.fixed = llb::Source(source, std::move(vertex));
  return OkStatus();
}

Status Externals::Adopt(External& external, const ImageInfo& info) {
  if (info.source) return Replace(external, *info.source);
  TRY_ASSIGN(external.config, oci::DecodeImageConfig(info.config));
  external.has_config = true;
  external.config.unknown.clear();
  external.config.config.unknown.clear();
  TRY_ASSIGN(const auto ref,
             oci::Reference::ParseNormalized(info.ref.empty() ? external.request->ref : info.ref));
  // Of a context's image, the tag is looked up again when it is needed; a layout has none.
  const bool pinned = info.digest && (external.context_key.empty() || external.request->oci_layout);
  external.ref = pinned ? ref.WithDigest(*info.digest).ToString() : ref.ToString();
  external.scratch = IsEmptyImage(external.config);
  if (external.config.platform.empty()) external.config.platform = external.platform;
  return OkStatus();
}

void Externals::FinishLocals() {
  for (const auto& local : locals_) local->Finish();
}

}  // namespace kiln::dockerfile
