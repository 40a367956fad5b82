#include "frontend/build_host.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "archive/compression.h"
#include "archive/tar.h"
#include "base/digest.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "llb/marshal.h"
#include "session/files.h"

namespace kiln::frontend {
namespace {

std::string KeyOf(const dockerfile::ImageRequest& request) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}", request.ref, oci::FormatAll(request.platform),
                     static_cast<int>(request.resolve_mode), request.log_name, request.oci_layout,
                     request.session_id, request.store_id);
}

// Of git's `committer NAME <MAIL> SECONDS ZONE`.
std::optional<std::int64_t> CommitTime(std::string_view object) {
  for (const std::string_view line : Split(object, '\n')) {
    if (line.empty()) break;  // the message follows
    if (!line.starts_with("committer ")) continue;
    const auto words = Split(line, ' ');
    if (words.size() < 3) break;
    return ParseInt(words[words.size() - 2]);
  }
  return std::nullopt;
}

// When the youngest regular file of an archive was made; nullopt if it is none, or damaged.
std::optional<std::int64_t> NewestFileIn(std::string_view data) {
  archive::StringSource bytes(data);
  const auto tar = archive::Decompress(bytes);
  if (!tar.ok()) return std::nullopt;
  archive::TarReader reader(**tar);
  std::optional<std::int64_t> newest;
  archive::TarEntry entry;
  while (true) {
    const auto more = reader.Next(&entry);
    if (!more.ok()) return std::nullopt;
    if (!*more) return newest;
    if (entry.type != archive::EntryType::kFile) continue;
    const auto seconds =
        std::chrono::floor<std::chrono::seconds>(entry.mtime).time_since_epoch().count();
    newest = std::max<std::int64_t>(newest.value_or(seconds), seconds);
  }
}

llb::SourceId SourceOf(const dockerfile::ImageRequest& request) {
  if (request.oci_layout) {
    llb::OciLayoutSource layout;
    layout.ref = request.ref;
    layout.session_id = request.session_id;
    layout.store_id = request.store_id;
    return layout;
  }
  llb::ImageSource image;
  image.ref = request.ref;
  image.resolve_mode = request.resolve_mode;
  return image;
}

}  // namespace

std::vector<Result<dockerfile::ImageInfo>> BuildHost::ResolveImages(
    const std::vector<dockerfile::ImageRequest>& requests) {
  std::vector<std::string> keys;
  std::vector<std::size_t> unknown;
  std::set<std::string> asked;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    keys.push_back(KeyOf(requests[i]));
    if (!images_.contains(keys[i]) && asked.insert(keys[i]).second) unknown.push_back(i);
  }
  std::vector<std::optional<Result<dockerfile::ImageInfo>>> found(unknown.size());
  const Status done = ForEachParallel(*gateway_->job()->environment().blocking, unknown.size(),
                                      unknown.size(), [&](std::size_t i) {
                                        found[i] = ResolveOne(requests[unknown[i]]);
                                        return OkStatus();
                                      });
  CHECK(done.ok());  // failures stand in `found`
  for (std::size_t i = 0; i < unknown.size(); ++i) {
    images_.insert_or_assign(keys[unknown[i]], *std::move(found[i]));
  }
  std::vector<Result<dockerfile::ImageInfo>> answers;
  for (const auto& key : keys) answers.push_back(images_.at(key));
  return answers;
}

Result<dockerfile::ImageInfo> BuildHost::ResolveOne(const dockerfile::ImageRequest& request) {
  ImageQuery query{SourceOf(request), request.platform, request.log_name, /*with_config=*/true};
  TRY_ASSIGN_CTX(ImageAnswer answer, gateway_->ResolveImage(activity_, query),
                 "failed to resolve source metadata for {}", request.ref);
  dockerfile::ImageInfo info;
  if (const auto* image = std::get_if<llb::ImageSource>(&answer.id)) {
    info.ref = image->ref;
  } else if (const auto* layout = std::get_if<llb::OciLayoutSource>(&answer.id)) {
    info.ref = layout->ref;
  } else {
    info.source = llb::Format(answer.id);
    return info;
  }
  info.digest = answer.digest;
  info.config = std::move(answer.config);
  return info;
}

Result<std::optional<std::string>> BuildHost::ReadFile(const llb::Output& tree,
                                                       const std::string& path) {
  return Read(tree, path, {});
}

Result<std::optional<std::string>> BuildHost::ReadIfShared(const llb::Output& tree,
                                                           const std::string& path) {
  auto text = Read(tree, path, {});
  if (!text.ok() && session::IsNotShared(text.error())) return std::optional<std::string>();
  return text;
}

Result<std::optional<std::string>> BuildHost::ReadPrefix(const llb::Output& tree,
                                                         const std::string& path,
                                                         std::size_t bytes) {
  return Read(tree, path, build::FileRange{0, static_cast<std::int64_t>(bytes)});
}

Result<std::optional<std::string>> BuildHost::Read(const llb::Output& tree, const std::string& path,
                                                   std::optional<build::FileRange> range) {
  TRY_ASSIGN(const pb::Definition definition, llb::Marshal(tree));
  // The terminal op names the result's vertex and so all of the graph.
  const Digest key = Sha256Of(definition.def_size() > 0 ? *definition.def().rbegin() : "");
  build::ReferencePtr& reference = trees_[key];
  if (reference == nullptr) {
    TRY_ASSIGN(reference, gateway_->job()->Load(definition));
  }
  // Only a file that is not there is no error: a tree that cannot be made is one.
  TRY(reference->Evaluate(activity_));
  auto text = build::ReadFile(activity_, *reference, path, range);
  if (text.ok()) return std::optional<std::string>(std::move(text).value());
  if (text.error().code() == Code::kNotFound) return std::optional<std::string>();
  return std::move(text).error();
}

Result<std::optional<llb::Output>> BuildHost::Input(const std::string& name) {
  if (!inputs_) TRY_CTX(ReadInputs(), "failed to get frontend inputs");
  const auto found = inputs_->find(name);
  if (found == inputs_->end()) return std::optional<llb::Output>();
  return std::optional<llb::Output>(found->second);
}

// An input that is no graph fails the request, also if nothing would use it.
Status BuildHost::ReadInputs() {
  std::map<std::string, llb::Output> inputs;
  for (const auto& [name, definition] : request_.inputs) {
    if (definition == nullptr || definition->def_size() == 0) {
      return Unknown("invalid nil input definition to definition op");
    }
    TRY_ASSIGN(llb::Output output, llb::FromDefinition(*definition));
    inputs.emplace(name, std::move(output));
  }
  inputs_ = std::move(inputs);
  return OkStatus();
}

Result<std::optional<std::int64_t>> BuildHost::SourceTime(const llb::SourceSpec& source,
                                                          const std::string& log_name) {
  using Seconds = std::optional<std::int64_t>;
  TRY_ASSIGN(llb::SourceId id, llb::ParseSource(source.identifier, source.attrs));
  const SourceQuery query{
      std::move(id), build_platform(), log_name, /*with_config=*/false, {}, /*git_objects=*/true};
  TRY_ASSIGN(const SourceAnswer answer, gateway_->ResolveSource(activity_, query));
  if (const auto* git = std::get_if<source::GitMeta>(&answer.meta)) {
    return CommitTime(git->commit_object);
  }
  const auto* http = std::get_if<source::HttpMeta>(&answer.meta);
  if (http == nullptr) return Seconds();
  if (!http->last_modified) {
    const auto filename = source.attrs.find("http.filename");
    if (filename == source.attrs.end()) return Seconds();
    TRY_ASSIGN(const auto file, ReadFile(llb::Source(source, {}), filename->second));
    return file ? NewestFileIn(*file) : Seconds();
  }
  return Seconds(
      std::chrono::floor<std::chrono::seconds>(*http->last_modified).time_since_epoch().count());
}

oci::Platform BuildHost::build_platform() const {
  const auto& platforms = gateway_->services().platforms;
  return platforms.empty() ? oci::HostPlatform() : platforms.front();
}

}  // namespace kiln::frontend
