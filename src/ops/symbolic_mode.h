#pragma once

#include <sys/types.h>

#include <string_view>
#include <vector>

#include "base/result.h"

namespace kiln::ops {

// chmod's mode text: octal ("0644") or symbolic ("u=rwX,go-w", "g=u", "+t"), with BSD's rules and a
// umask of 0.
class SymbolicMode {
 public:
  static Result<SymbolicMode> Parse(std::string_view text);

  // `mode` with its type bits (X asks whether it is a directory); the answer has permission bits
  // only.
  mode_t Apply(mode_t mode) const;

 private:
  struct Change {
    char op = '+';    // + - =
    mode_t who = 0;   // bits that may change
    mode_t bits = 0;  // what to add, remove or set
    bool if_execute =
        false;           // X: the x bits count only for directories and what is executable already
    char copy_from = 0;  // u, g or o: in place of bits
  };
  static mode_t ParseWho(std::string_view clause, size_t& at);
  static void ParsePermissions(std::string_view clause, size_t& at, bool who_given, Change& change);

  std::vector<Change> changes_;
};

}  // namespace kiln::ops
