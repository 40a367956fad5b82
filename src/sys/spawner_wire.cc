#include "sys/spawner_wire.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace kiln::sys {
namespace {

void PutInt(std::string& out, uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutText(std::string& out, const std::string& text) {
  PutInt(out, static_cast<uint32_t>(text.size()));
  out += text;
}

void PutTexts(std::string& out, const std::vector<std::string>& texts) {
  PutInt(out, static_cast<uint32_t>(texts.size()));
  for (const std::string& text : texts) PutText(out, text);
}

// Reads what Put… wrote; `ok` turns false for good at the first thing that is missing.
struct Reader {
  std::string_view rest;
  bool ok = true;

  uint32_t Int() {
    uint32_t value = 0;
    if (rest.size() < sizeof value) {
      ok = false;
      return 0;
    }
    std::memcpy(&value, rest.data(), sizeof value);
    rest.remove_prefix(sizeof value);
    return value;
  }

  std::string Text() {
    uint32_t size = Int();
    if (!ok || size > rest.size()) {
      ok = false;
      return {};
    }
    std::string text(rest.substr(0, size));
    rest.remove_prefix(size);
    return text;
  }

  std::vector<std::string> Texts() {
    std::vector<std::string> texts;
    uint32_t count = Int();
    for (uint32_t i = 0; ok && i < count; ++i) texts.push_back(Text());
    return texts;
  }
};

}  // namespace

std::string Encode(const StartPayload& payload) {
  std::string out;
  PutText(out, payload.program);
  PutTexts(out, payload.argv);
  PutTexts(out, payload.env);
  PutText(out, payload.cwd);
  PutText(out, payload.chroot);
  PutInt(out, static_cast<uint32_t>(payload.targets.size()));
  for (int32_t target : payload.targets) PutInt(out, static_cast<uint32_t>(target));
  PutInt(out, payload.umask);
  PutInt(out, static_cast<uint32_t>(payload.death_signal));
  PutInt(out, payload.new_session);
  PutInt(out, payload.own_group);
  PutInt(out, payload.has_cgroup);
  return out;
}

Result<StartPayload> Decode(std::string_view bytes) {
  Reader reader{bytes};
  StartPayload payload;
  payload.program = reader.Text();
  payload.argv = reader.Texts();
  payload.env = reader.Texts();
  payload.cwd = reader.Text();
  payload.chroot = reader.Text();
  uint32_t targets = reader.Int();
  for (uint32_t i = 0; reader.ok && i < targets; ++i)
    payload.targets.push_back(static_cast<int32_t>(reader.Int()));
  payload.umask = reader.Int();
  payload.death_signal = static_cast<int32_t>(reader.Int());
  payload.new_session = reader.Int() != 0;
  payload.own_group = reader.Int() != 0;
  payload.has_cgroup = reader.Int() != 0;
  if (!reader.ok || !reader.rest.empty()) return Internal("malformed request to the spawner");
  return payload;
}

bool SendPacket(int socket, const void* data, size_t size, const std::vector<int>& fds) {
  iovec part{.iov_base = const_cast<void*>(data), .iov_len = size};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  std::vector<char> control(fds.empty() ? 0 : CMSG_SPACE(fds.size() * sizeof(int)));
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(size);
}

ssize_t ReceivePacket(int socket, void* data, size_t size, std::vector<Fd>& fds) {
  iovec part{.iov_base = data, .iov_len = size};
  alignas(cmsghdr) char control[CMSG_SPACE((kMaxChildFds + 2) * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return got;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      fds.emplace_back(fd);
    }
  }
  return got;
}

}  // namespace kiln::sys
