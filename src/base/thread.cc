#include "base/thread.h"

#include <pthread.h>

#include <chrono>
#include <system_error>
#include <utility>

namespace kiln {
namespace {

constexpr auto kBetweenTries = std::chrono::milliseconds(20);

// Address space of a thread's stack; memory is taken as it is used. Trees are walked as deep as
// paths go (2,048 directories). A sanitizer's frames are larger.
#ifdef __has_feature
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif
constexpr size_t kStackBytes = (kSanitized ? 64 : 8) << 20;

// Else it is what the environment's limit says (RLIMIT_STACK), and 2 MiB where that is "unlimited".
void SetStackSize() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStackBytes);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

}  // namespace

Result<std::thread> StartThread(const std::string& name, std::function<void()> body) {
  static const bool sized = (SetStackSize(), true);
  (void)sized;
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
