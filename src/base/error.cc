#include "base/error.h"

#include <cerrno>
#include <cstring>
#include <iterator>

namespace kiln {

std::string_view CodeName(Code code) {
  static constexpr std::string_view kNames[] = {"OK",
                                                "CANCELLED",
                                                "UNKNOWN",
                                                "INVALID_ARGUMENT",
                                                "DEADLINE_EXCEEDED",
                                                "NOT_FOUND",
                                                "ALREADY_EXISTS",
                                                "PERMISSION_DENIED",
                                                "RESOURCE_EXHAUSTED",
                                                "FAILED_PRECONDITION",
                                                "ABORTED",
                                                "OUT_OF_RANGE",
                                                "UNIMPLEMENTED",
                                                "INTERNAL",
                                                "UNAVAILABLE",
                                                "DATA_LOSS",
                                                "UNAUTHENTICATED"};
  auto index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "INVALID_CODE";
}

Error& Error::AddContext(std::string context) {
  contexts_.push_back(std::move(context));
  return *this;
}

Error& Error::AddDetail(ErrorDetail detail) {
  details_.push_back(std::move(detail));
  return *this;
}

Error& Error::set_code(Code code) {
  code_ = code;
  return *this;
}

std::string Error::ToString() const {
  std::string text;
  for (auto it = contexts_.rbegin(); it != contexts_.rend(); ++it) text.append(*it).append(": ");
  return text + message_;
}

const ErrorDetail* Error::FindDetail(std::string_view type_url) const {
  for (const auto& detail : details_) {
    if (detail.type_url == type_url) return &detail;
  }
  return nullptr;
}

Code CodeOfErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ESRCH:
      return Code::kNotFound;
    case EEXIST:
      return Code::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return Code::kResourceExhausted;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
      return Code::kInvalidArgument;
    case ENOSYS:
    case EOPNOTSUPP:
      return Code::kUnimplemented;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
      return Code::kUnavailable;
    case ETIMEDOUT:
      return Code::kDeadlineExceeded;
    case ECANCELED:
      return Code::kCancelled;
    case EIO:
      return Code::kDataLoss;
    default:
      return Code::kUnknown;
  }
}

Error ErrnoErrorText(int error_number, std::string what) {
  char buffer[128];
  const char* text = strerror_r(error_number, buffer, sizeof buffer);
  return Error(CodeOfErrno(error_number), what.append(": ").append(text));
}

}  // namespace kiln
