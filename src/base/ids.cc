#include "base/ids.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace kiln {

std::string RandomBytes(size_t size) {
  std::string bytes(size, '\0');
  size_t have = 0;
  while (have < size) {
    ssize_t count = ::getrandom(bytes.data() + have, size - have, 0);
    CHECK(count > 0 || errno == EINTR);
    if (count > 0) have += static_cast<size_t>(count);
  }
  return bytes;
}

std::string NewId() {
  static constexpr char kAlphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::string bytes = RandomBytes(50);
  std::string id(25, '0');
  for (size_t i = 0; i < id.size(); ++i) {
    auto value = static_cast<unsigned char>(bytes[2 * i]) * 256U +
                 static_cast<unsigned char>(bytes[2 * i + 1]);
    id[i] = kAlphabet[value % 36];
  }
  return id;
}

}  // namespace kiln
