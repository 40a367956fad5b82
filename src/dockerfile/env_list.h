#pragma once

#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace kiln::dockerfile {

// The environment of a stage's steps. Setting a variable anew moves it to the end, as BuildKit's
// client does: the order is part of a step's digest. Every operation but the whole list takes
// constant time.
class EnvList {
 public:
  EnvList() = default;
  EnvList(const EnvList& other) { *this = other; }
  EnvList& operator=(const EnvList& other) {
    if (this == &other) return *this;
    items_ = other.items_;
    index_.clear();
    for (auto it = items_.begin(); it != items_.end(); ++it) index_[it->first] = it;
    return *this;
  }
  EnvList(EnvList&&) noexcept = default;
  EnvList& operator=(EnvList&&) noexcept = default;
  ~EnvList() = default;

  void Set(const std::string& key, std::string value) {
    const auto found = index_.find(key);
    if (found != index_.end()) {
      found->second->second = std::move(value);
      items_.splice(items_.end(), items_, found->second);
      return;
    }
    items_.emplace_back(key, std::move(value));
    index_.emplace(key, std::prev(items_.end()));
  }

  std::optional<std::string_view> Get(std::string_view key) const {
    const auto found = index_.find(std::string(key));
    if (found == index_.end()) return std::nullopt;
    return found->second->second;
  }

  std::vector<std::string> ToStrings() const {
    std::vector<std::string> out;
    out.reserve(items_.size());
    for (const auto& [key, value] : items_) out.push_back(key + "=" + value);
    return out;
  }

 private:
  using Items = std::list<std::pair<std::string, std::string>>;
  Items items_;
  std::unordered_map<std::string, Items::iterator> index_;
};

}  // namespace kiln::dockerfile
