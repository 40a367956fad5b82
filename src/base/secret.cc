#include "base/secret.h"

#include <cstring>

namespace kiln {

void SecretString::Wipe() {
  if (!value_.empty()) ::explicit_bzero(value_.data(), value_.size());
  value_.clear();
}

}  // namespace kiln
