#include "base/thread.h"

#include <pthread.h>

#include <chrono>
#include <system_error>
#include <utility>

namespace kiln {
namespace {
constexpr auto kBetweenTries = std::chrono::milliseconds(20);
}

Result<std::thread> StartThread(const std::string& name, std::function<void()> body) {
  try {
    std::thread thread(std::move(body));
    pthread_setname_np(thread.native_handle(), name.substr(0, 15).c_str());
    return thread;
  } catch (const std::system_error& error) {
    return ResourceExhausted("start a thread ({}): {}", name, error.code().message());
  }
}

std::thread AwaitThread(const std::string& name, const std::function<void()>& body) {
  for (;;) {
    if (auto thread = StartThread(name, body); thread.ok()) return std::move(*thread);
    std::this_thread::sleep_for(kBetweenTries);
  }
}

}  // namespace kiln
