#include "client/json_display.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "client/display_model.h"
#include "client/warning_list.h"

namespace kiln::client {
namespace {

using Json = nlohmann::ordered_json;

void PutTime(Json& json, const char* key, const std::optional<WallTime>& time) {
  if (time) json[key] = FormatRfc3339(*time);
}

std::string Line(const char* key, Json value) {
  Json json;
  json[key] = Json::array({std::move(value)});
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

JsonDisplay::JsonDisplay(std::FILE* out) : out_(out), terminal_(::isatty(::fileno(out)) == 1) {}

void JsonDisplay::Write(const std::string& line) {
  MutexLock lock(mutex_);
  const std::string shown = terminal_ ? CleanLine(line) : line;
  std::fwrite(shown.data(), 1, shown.size(), out_);
  std::fputc('\n', out_);
  std::fflush(out_);
}

void JsonDisplay::OnVertex(const progress::Vertex& vertex) {
  Json json;
  json["digest"] = vertex.digest.ToString();
  for (const Digest& input : vertex.inputs) json["inputs"].push_back(input.ToString());
  json["name"] = vertex.name;
  PutTime(json, "started", vertex.started);
  PutTime(json, "completed", vertex.completed);
  if (vertex.cached) json["cached"] = true;
  if (!vertex.error.empty()) json["error"] = vertex.error;
  if (vertex.group) {
    json["progressGroup"]["id"] = vertex.group->id;
    json["progressGroup"]["name"] = vertex.group->name;
    if (vertex.group->weak) json["progressGroup"]["weak"] = true;
  }
  Write(Line("vertexes", std::move(json)));
}

void JsonDisplay::OnStatus(const progress::VertexStatus& status) {
  Json json;
  json["id"] = status.id;
  json["vertex"] = status.vertex.ToString();
  if (!status.name.empty()) json["name"] = status.name;
  if (status.total != 0) json["total"] = status.total;
  json["current"] = status.current;
  PutTime(json, "timestamp", status.timestamp);
  PutTime(json, "started", status.started);
  PutTime(json, "completed", status.completed);
  Write(Line("statuses", std::move(json)));
}

void JsonDisplay::OnLog(const progress::VertexLog& log) {
  Json json;
  json["vertex"] = log.vertex.ToString();
  json["stream"] = static_cast<int>(log.stream);
  json["data"] = Base64Encode(log.data);
  PutTime(json, "timestamp", log.timestamp);
  Write(Line("logs", std::move(json)));
}

void JsonDisplay::OnWarning(const progress::VertexWarning& warning) {
  Write(Line("warnings", WarningJson(warning)));
}

}  // namespace kiln::client
