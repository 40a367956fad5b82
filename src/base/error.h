#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kiln {

// Codes have the numbers and meanings of gRPC's status codes; only `rpc` maps them to grpc::Status.
enum class Code : int {
  kOk = 0,
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

std::string_view CodeName(Code code);

// One typed detail, shaped like google.protobuf.Any: passed on unchanged, known or not.
struct ErrorDetail {
  std::string type_url;
  std::string value;
  bool operator==(const ErrorDetail&) const = default;
};

// Why something failed: a code, a message, contexts added on the way up (innermost first) and
// ordered typed details. A value; cheap enough to move, copied rarely.
class Error {
 public:
  Error(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  Code code() const { return code_; }
  // The innermost message, without contexts.
  const std::string& message() const { return message_; }
  const std::vector<std::string>& contexts() const { return contexts_; }
  const std::vector<ErrorDetail>& details() const { return details_; }

  // Adds an outer context: "pulling x" makes ToString() "pulling x: <what it was>".
  Error& AddContext(std::string context);
  Error& AddDetail(ErrorDetail detail);
  Error& set_code(Code code);
  // Contexts outermost first, then the message, joined by ": ".
  std::string ToString() const;
  // The first detail of that type, or null.
  const ErrorDetail* FindDetail(std::string_view type_url) const;

 private:
  Code code_;
  std::string message_;
  std::vector<std::string> contexts_;
  std::vector<ErrorDetail> details_;
};

#define KILN_ERROR_MAKER(Name)                                                     \
  template <typename... Args>                                                      \
  Error Name(fmt::format_string<Args...> format, Args&&... args) {                 \
    return Error(Code::k##Name, fmt::format(format, std::forward<Args>(args)...)); \
  }
KILN_ERROR_MAKER(Cancelled)
KILN_ERROR_MAKER(Unknown)
KILN_ERROR_MAKER(InvalidArgument)
KILN_ERROR_MAKER(DeadlineExceeded)
KILN_ERROR_MAKER(NotFound)
KILN_ERROR_MAKER(AlreadyExists)
KILN_ERROR_MAKER(PermissionDenied)
KILN_ERROR_MAKER(ResourceExhausted)
KILN_ERROR_MAKER(FailedPrecondition)
KILN_ERROR_MAKER(Aborted)
KILN_ERROR_MAKER(OutOfRange)
KILN_ERROR_MAKER(Unimplemented)
KILN_ERROR_MAKER(Internal)
KILN_ERROR_MAKER(Unavailable)
KILN_ERROR_MAKER(DataLoss)
KILN_ERROR_MAKER(Unauthenticated)
#undef KILN_ERROR_MAKER

// The gRPC code that fits an errno best (ENOENT: NotFound, EACCES: PermissionDenied, …).
Code CodeOfErrno(int error_number);
// "<what>: <strerror>", with CodeOfErrno.
Error ErrnoErrorText(int error_number, std::string what);

template <typename... Args>
Error ErrnoError(int error_number, fmt::format_string<Args...> format, Args&&... args) {
  return ErrnoErrorText(error_number, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace kiln

template <>
struct fmt::formatter<kiln::Error> : fmt::formatter<std::string> {
  auto format(const kiln::Error& error, format_context& context) const {
    return formatter<std::string>::format(error.ToString(), context);
  }
};
