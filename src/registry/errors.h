#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "http/message.h"

namespace kiln::registry {

// What a registry's error answer says: "code: message" of its entries; "" if the body is not of
// that form.
std::string ServerMessage(const http::Response& response);

// `unexpected status from HEAD request to https://…: 500 Internal Server Error[: server message]`
// with a fitting code.
Error UnexpectedStatus(std::string_view method, const http::Response& response);

// What a server said, for people's terminals: without control characters, not endless.
std::string CleanText(std::string_view text);

// "404 Not Found".
std::string StatusText(int status);

}  // namespace kiln::registry
