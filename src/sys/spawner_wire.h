#pragma once

// What goes over the socket between Spawner and the spawner process: both ends are the same binary,
// so the format is private. Each SOCK_SEQPACKET packet is one struct below; a start's variable part
// travels in a memfd, since packets are limited in size.
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kiln::sys {

enum class RequestKind : uint32_t { kStart = 1, kSignalGroup = 2 };

struct RequestPacket {
  uint64_t id = 0;
  RequestKind kind = RequestKind::kStart;
  int32_t signal = 0;  // kSignalGroup
};

// Where a start failed; `error_number` says why.
enum class StartStage : int32_t {
  kNone,
  kRequest,
  kProcess,
  kSession,
  kChroot,
  kDirectory,
  kDescriptors,
  kExec
};

enum class ReplyKind : uint32_t { kStarted = 1, kFailed = 2, kExited = 3 };

struct ReplyPacket {
  uint64_t id = 0;
  ReplyKind kind = ReplyKind::kStarted;
  StartStage stage = StartStage::kNone;
  int32_t error_number = 0;
  int32_t pid = 0;
  int32_t exit_code = 0;
  int32_t exit_signal = 0;
};

// The variable part of a start. Descriptors come beside it: the memfd first, then those of
// `targets` in order, then the cgroup.
struct StartPayload {
  std::string program;
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::string cwd;
  std::string chroot;
  std::vector<int32_t> targets;
  uint32_t umask = 0;
  int32_t death_signal = 0;
  uint8_t new_session = 0;
  uint8_t own_group = 0;
  uint8_t has_cgroup = 0;
};

std::string Encode(const StartPayload& payload);
Result<StartPayload> Decode(std::string_view bytes);

// Sends one packet with descriptors; false and errno on failure. The descriptors stay the caller's.
bool SendPacket(int socket, const void* data, size_t size, const std::vector<int>& fds);
// Receives one packet of at most `size` bytes; its size, 0 when the other end closed, −1 and errno.
ssize_t ReceivePacket(int socket, void* data, size_t size, std::vector<Fd>& fds);

// At most as many as the kernel passes at once (SCM_MAX_FD), less the memfd and the cgroup.
inline constexpr size_t kMaxChildFds = 250;

// The spawner process: serves `socket` until its other end closes, then ends everything it started
// and exits.
[[noreturn]] void RunSpawnerProcess(int socket);

}  // namespace kiln::sys
