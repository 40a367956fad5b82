#pragma once

#include <string_view>

namespace kiln {

// Prints where and what, then aborts. For broken invariants, never for input.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view message);

}  // namespace kiln

#define CHECK(condition)                                       \
  do {                                                         \
    if (!(condition)) [[unlikely]]                             \
      ::kiln::CheckFailed(__FILE__, __LINE__, #condition, {}); \
  } while (false)
#define CHECK_MSG(condition, message)                                 \
  do {                                                                \
    if (!(condition)) [[unlikely]]                                    \
      ::kiln::CheckFailed(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
