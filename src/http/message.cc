#include "http/message.h"

#include <curl/curl.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "base/unix_time.h"

namespace kiln::http {

std::string_view FindHeader(const Headers& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (EqualsIgnoreCase(header.name, name)) return header.value;
  }
  return {};
}

std::vector<std::string_view> FindHeaders(const Headers& headers, std::string_view name) {
  std::vector<std::string_view> values;
  for (const Header& header : headers) {
    if (EqualsIgnoreCase(header.name, name)) values.emplace_back(header.value);
  }
  return values;
}

void RemoveHeader(Headers& headers, std::string_view name) {
  std::erase_if(headers, [&](const Header& header) { return EqualsIgnoreCase(header.name, name); });
}

void SetHeader(Headers& headers, std::string_view name, std::string value) {
  RemoveHeader(headers, name);
  headers.push_back({std::string(name), std::move(value)});
}

std::optional<WallTime> ParseHttpDate(std::string_view text) {
  const time_t date = curl_getdate(std::string(text).c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return EventTime(date, 0);
}

Result<size_t> StringSource::Read(char* buffer, size_t size) {
  const size_t count = std::min(size, text_.size() - position_);
  std::memcpy(buffer, text_.data() + position_, count);
  position_ += count;
  return count;
}

Status StringSource::Rewind() {
  position_ = 0;
  return OkStatus();
}

std::optional<int64_t> Response::content_length() const {
  const auto length = ParseInt(Trim(header("Content-Length")));
  if (!length || *length < 0) return std::nullopt;
  return length;
}

}  // namespace kiln::http
