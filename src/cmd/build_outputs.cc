#include <unistd.h>

#include <algorithm>

#include "base/csv.h"
#include "base/strings.h"
#include "cmd/build_parts.h"

namespace kiln::cmd {
namespace {

// The result stays in the cache.
constexpr std::string_view kNoOutput = "cacheonly";

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

// A folder, or "-" for a tar on standard output: one field, whose name may hold "=".
bool IsPlace(const std::string& text, const std::vector<std::string>& fields) {
  const auto cut = Cut(text, "=");
  const std::string key = cut ? ToLower(Trim(cut->first)) : "";
  return fields.size() == 1 && fields.front() == text && key != "type" && key != "dest";
}

// What a type makes of the attributes.
Status CompleteOutput(client::Output& output) {
  if (output.type == "registry") {
    output.type = "image";
    output.attrs["push"] = "true";
  }
  bool image = output.type == "oci" || output.type == "docker";
  bool sends = image || output.type == "local" || output.type == "tar";
  if (!sends && output.type != "image" && output.type != kNoOutput) {
    return InvalidArgument(
        "unknown output type {}: want image, registry, docker, oci, local, tar or cacheonly",
        Quoted(output.type));
  }
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
  return OkStatus();
}

}  // namespace

Result<client::Output> ParseOutput(const std::string& text) {
  client::Output output;
  TRY_ASSIGN_CTX(const auto fields, ParseCsv(text), "--output");
  if (fields.empty()) return InvalidArgument("--output needs a folder, \"-\" or type=…");
  if (IsPlace(text, fields)) {
    output.type = text == "-" ? "tar" : "local";
    output.dest = text;
    return output;
  }
  TRY_ASSIGN(output.attrs, KeyValues("--output", text));
  output.type = std::exchange(output.attrs["type"], "");
  output.dest = std::exchange(output.attrs["dest"], "");
  output.attrs.erase("type");
  output.attrs.erase("dest");
  if (output.type.empty()) return InvalidArgument("--output {}: type is required", Quoted(text));
  TRY(CompleteOutput(output));
  return output;
}

Status AddOutputs(const BuildFlags& flags, PreparedBuild& build) {
  auto& outputs = build.request.outputs;
  Attrs annotations;
  for (const auto& text : flags.annotations) TRY(AddAnnotation(text, annotations));
  for (const auto& text : flags.outputs) {
    TRY_ASSIGN(auto output, ParseOutput(text));
    outputs.push_back(std::move(output));
  }
  // Asks for no output, and for no hint that there is none.
  const bool meant = std::erase_if(outputs, [](const client::Output& output) {
                       return output.type == kNoOutput;
                     }) > 0;
  AddPushAndLoad(flags, outputs);
  build.without_output = outputs.empty() && !meant;
  if (build.without_output && !flags.tags.empty()) outputs.push_back({"image", {}});
  for (auto& output : outputs) {
    bool image = output.type == "image" || output.type == "oci" || output.type == "docker";
    if (!image) continue;
    if (!flags.tags.empty()) output.attrs["name"] = Join(flags.tags, ",");
    output.attrs.insert(annotations.begin(), annotations.end());
  }
  return ConnectOutputs(build);
}

}  // namespace kiln::cmd
