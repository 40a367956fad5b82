#include "client/warning_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "client/display_model.h"

namespace kiln::client {
namespace {

using Json = nlohmann::ordered_json;

Json PositionOf(const progress::Position& position) {
  Json json = Json::object();
  if (position.line != 0) json["line"] = position.line;
  if (position.character != 0) json["character"] = position.character;
  return json;
}

// Whichever step says it.
bool SaysTheSame(const progress::VertexWarning& a, const progress::VertexWarning& b) {
  return a.level == b.level && a.short_text == b.short_text && a.detail == b.detail &&
         a.url == b.url && a.ranges == b.ranges && a.info.has_value() == b.info.has_value() &&
         (!a.info || (a.info->filename == b.info->filename && a.info->data == b.info->data));
}

}  // namespace

Json WarningJson(const progress::VertexWarning& warning) {
  Json json;
  json["vertex"] = warning.vertex.ToString();
  json["level"] = warning.level;
  json["short"] = Base64Encode(warning.short_text);
  for (const std::string& line : warning.detail) json["detail"].push_back(Base64Encode(line));
  if (!warning.url.empty()) json["url"] = warning.url;
  if (warning.info) {
    json["sourceInfo"]["filename"] = warning.info->filename;
    json["sourceInfo"]["data"] = Base64Encode(warning.info->data);
    if (!warning.info->language.empty()) json["sourceInfo"]["language"] = warning.info->language;
  }
  for (const progress::Range& range : warning.ranges) {
    json["range"].push_back(
        Json{{"start", PositionOf(range.start)}, {"end", PositionOf(range.end)}});
  }
  return json;
}

void WarningList::OnWarning(const progress::VertexWarning& warning) {
  const MutexLock lock(mutex_);
  const bool known = std::any_of(all_.begin(), all_.end(), [&](const progress::VertexWarning& one) {
    return SaysTheSame(one, warning);
  });
  if (!known) all_.push_back(warning);
}

std::vector<progress::VertexWarning> WarningList::All() const {
  const MutexLock lock(mutex_);
  return all_;
}

std::string WarningList::Summary() const {
  const MutexLock lock(mutex_);
  if (all_.empty()) return "";
  std::string text =
      all_.size() == 1 ? "\n 1 warning found" : fmt::format("\n {} warnings found", all_.size());
  text += " (use --call check to expand):\n";
  for (const progress::VertexWarning& one : all_) text += " - " + CleanLine(one.short_text) + "\n";
  return text;
}

}  // namespace kiln::client
