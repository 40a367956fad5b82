#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace kiln {

// An input of several texts: the bytes between lines that hold "--" alone. Asking for more than
// there are gives "".
class Parts {
 public:
  Parts(const uint8_t* data, size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    for (size_t end = 0; (end = rest.find("\n--\n")) != rest.npos;) {
      parts_.push_back(rest.substr(0, end));
      rest.remove_prefix(end + 4);
    }
    parts_.push_back(rest);
  }

  size_t size() const { return parts_.size(); }
  std::string_view operator[](size_t index) const {
    return index < parts_.size() ? parts_[index] : std::string_view();
  }

 private:
  std::vector<std::string_view> parts_;
};

}  // namespace kiln
