#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/result.h"

namespace kiln {

// Starts a thread; the one way to do so in this project (tools/lint/locks). Its name shows in `ps
// -T`; the kernel takes 15 characters. Its stack is of one size, whatever limits the environment
// sets. kResourceExhausted if the system gives no thread (EAGAIN: a
// limit of processes, or of a cgroup): the body has not run then, and never will.
Result<std::thread> StartThread(const std::string& name, std::function<void()> body);

// For what cannot do without its thread: waits until the system gives one.
std::thread AwaitThread(const std::string& name, const std::function<void()>& body);

}  // namespace kiln
