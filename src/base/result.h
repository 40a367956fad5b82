#pragma once

#include <type_traits>
#include <utility>

#include <tl/expected.hpp>

#include "base/check.h"
#include "base/error.h"

namespace kiln {

// A value or an Error. Must be looked at.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  template <typename U = T>
    requires(std::is_constructible_v<T, U> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error>)
  Result(U&& value) : expected_(std::forward<U>(value)) {}  // NOLINT: implicit, `return value;`
  Result(Error error) : expected_(tl::make_unexpected(std::move(error))) {}  // NOLINT: implicit

  bool ok() const { return expected_.has_value(); }
  explicit operator bool() const { return ok(); }

  T& value() & { return RequireOk(*this), *expected_; }
  const T& value() const& { return RequireOk(*this), *expected_; }
  T&& value() && { return RequireOk(*this), std::move(*expected_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  Error& error() & { return expected_.error(); }
  const Error& error() const& { return expected_.error(); }
  Error&& error() && { return std::move(expected_).error(); }

 private:
  static void RequireOk(const Result& result) {
    CHECK_MSG(result.ok(), result.ok() ? "" : result.error().ToString());
  }

  tl::expected<T, Error> expected_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : expected_(tl::make_unexpected(std::move(error))) {}  // NOLINT: implicit

  bool ok() const { return expected_.has_value(); }
  explicit operator bool() const { return ok(); }
  Error& error() & { return expected_.error(); }
  const Error& error() const& { return expected_.error(); }
  Error&& error() && { return std::move(expected_).error(); }

 private:
  tl::expected<void, Error> expected_;
};

using Status = Result<void>;
inline Status OkStatus() { return {}; }

}  // namespace kiln

#define KILN_CONCAT_INNER(a, b) a##b
#define KILN_CONCAT(a, b) KILN_CONCAT_INNER(a, b)

// Returns the error of a Result or Status expression from the enclosing function.
#define TRY(expression)                                                \
  do {                                                                 \
    if (auto try_status = (expression); !try_status.ok()) [[unlikely]] \
      return std::move(try_status).error();                            \
  } while (false)

// The same, adding a context (fmt arguments).
#define TRY_CTX(expression, ...)                                                   \
  do {                                                                             \
    if (auto try_status = (expression); !try_status.ok()) [[unlikely]]             \
      return std::move(try_status.error().AddContext(::fmt::format(__VA_ARGS__))); \
  } while (false)

// TRY_ASSIGN(auto fd, OpenFile(path));
#define TRY_ASSIGN(declaration, expression) \
  TRY_ASSIGN_INNER(KILN_CONCAT(try_result_, __LINE__), declaration, expression)
#define TRY_ASSIGN_INNER(result, declaration, expression) \
  auto result = (expression);                             \
  if (!result.ok()) [[unlikely]]                          \
    return std::move(result).error();                     \
  declaration = std::move(result).value()

#define TRY_ASSIGN_CTX(declaration, expression, ...) \
  TRY_ASSIGN_CTX_INNER(KILN_CONCAT(try_result_, __LINE__), declaration, expression, __VA_ARGS__)
#define TRY_ASSIGN_CTX_INNER(result, declaration, expression, ...)           \
  auto result = (expression);                                                \
  if (!result.ok()) [[unlikely]]                                             \
    return std::move(result.error().AddContext(::fmt::format(__VA_ARGS__))); \
  declaration = std::move(result).value()
