#pragma once

// Inside http only.

#include <curl/curl.h>

#include <chrono>
#include <memory>
#include <string>

#include "http/client.h"

namespace kiln::http {

// One curl handle with its connection cache: serves one request at a time.
class Client::Slot {
 public:
  explicit Slot(std::string key) : key_(std::move(key)), multi_(curl_multi_init()) {}
  ~Slot() {
    if (easy_ != nullptr) curl_easy_cleanup(easy_);
    if (multi_ != nullptr) curl_multi_cleanup(multi_);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;

  const std::string& key() const { return key_; }
  CURLM* multi() const { return multi_; }
  // A fresh one for each transfer, because a handle of libcurl 7.88 keeps state of the transfer
  // before. Null: out of memory.
  CURL* NewEasy() {
    if (easy_ != nullptr) curl_easy_cleanup(easy_);
    return easy_ = curl_easy_init();
  }
  bool valid() const { return multi_ != nullptr; }

  std::chrono::steady_clock::time_point idle_since;

 private:
  std::string key_;
  CURLM* multi_;
  CURL* easy_ = nullptr;
};

}  // namespace kiln::http
