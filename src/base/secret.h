#pragma once

#include <string>
#include <utility>

namespace kiln {

// A secret text: cannot be printed, compared or converted by accident; wiped when destroyed.
class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string value) : value_(std::move(value)) {}
  ~SecretString() { Wipe(); }
  SecretString(const SecretString&) = default;
  SecretString& operator=(const SecretString&) = default;
  SecretString(SecretString&& other) noexcept : value_(std::move(other.value_)) { other.Wipe(); }
  SecretString& operator=(SecretString&& other) noexcept {
    if (this != &other) {
      Wipe();
      value_ = std::move(other.value_);
      other.Wipe();
    }
    return *this;
  }

  bool empty() const { return value_.empty(); }
  // The text itself, for the one place that must send or write it.
  const std::string& Reveal() const { return value_; }

 private:
  void Wipe();
  std::string value_;
};

}  // namespace kiln
