#include "registry/errors.h"

#include <array>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "http/url.h"
#include "oci/json.h"
#include "oci/json_fields.h"

namespace kiln::registry {
namespace {

struct StatusRow {
  int status;
  const char* text;
  Code code;
};

constexpr std::array<StatusRow, 16> kStatuses = {{
    {400, "Bad Request", Code::kInvalidArgument},
    {401, "Unauthorized", Code::kUnauthenticated},
    {403, "Forbidden", Code::kPermissionDenied},
    {404, "Not Found", Code::kNotFound},
    {405, "Method Not Allowed", Code::kUnimplemented},
    {408, "Request Timeout", Code::kUnavailable},
    {409, "Conflict", Code::kFailedPrecondition},
    {413, "Request Entity Too Large", Code::kResourceExhausted},
    {415, "Unsupported Media Type", Code::kInvalidArgument},
    {416, "Requested Range Not Satisfiable", Code::kOutOfRange},
    {429, "Too Many Requests", Code::kUnavailable},
    {500, "Internal Server Error", Code::kUnavailable},
    {501, "Not Implemented", Code::kUnimplemented},
    {502, "Bad Gateway", Code::kUnavailable},
    {503, "Service Unavailable", Code::kUnavailable},
    {504, "Gateway Timeout", Code::kUnavailable},
}};

constexpr size_t kMaxMessage = 1024;

std::string OneError(const nlohmann::json& item) {
  auto fields = oci::JsonFields::Of(item, "error");
  if (!fields.ok()) return {};
  std::string code;
  std::string message;
  if (!fields->String("code", code).ok() || !fields->String("message", message).ok()) return {};
  if (code.empty()) return CleanText(message);
  const std::string name = ToLower(ReplaceAll(code, "_", " "));
  return message.empty() ? CleanText(name) : CleanText(name + ": " + message);
}

}  // namespace

std::string CleanText(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kMaxMessage)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  return out;
}

std::string StatusText(int status) {
  for (const StatusRow& row : kStatuses) {
    if (row.status == status) return std::to_string(status) + " " + row.text;
  }
  return std::to_string(status);
}

std::string ServerMessage(const http::Response& response) {
  auto value =
      oci::ParseJson(response.body, "error answer", {.max_bytes = 256 << 10, .max_depth = 16});
  if (!value.ok() || !value->is_object()) return {};
  std::string out;
  const auto errors = value->find("errors");
  if (errors != value->end() && errors->is_array()) {
    for (const auto& item : *errors) {
      const std::string text = OneError(item);
      if (!text.empty()) out += (out.empty() ? "" : "; ") + text;
      if (out.size() > kMaxMessage) break;
    }
    return out;
  }
  // Token servers: {"details": "…"} or {"error": …, "error_description": …}.
  for (const char* key : {"error_description", "details", "message", "error"}) {
    const auto it = value->find(key);
    if (it != value->end() && it->is_string()) return CleanText(it->get_ref<const std::string&>());
  }
  return {};
}

Error UnexpectedStatus(std::string_view method, const http::Response& response) {
  Code code = Code::kUnknown;
  for (const StatusRow& row : kStatuses) {
    if (row.status == response.status) code = row.code;
  }
  std::string text = fmt::format("unexpected status from {} request to {}: {}", method,
                                 http::RedactUrl(response.url), StatusText(response.status));
  const std::string message = ServerMessage(response);
  if (!message.empty()) text += ": " + message;
  return {code, std::move(text)};
}

}  // namespace kiln::registry
