#include "client/agent_proxy.h"

#include <poll.h>

#include <cerrno>

#include "rpc/address.h"

namespace kiln::client {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kMaxMessageBytes = 256 << 10;  // as OpenSSH's agent
constexpr uint8_t kRequestIdentities = 11;
constexpr uint8_t kSignRequest = 13;
constexpr std::string_view kFailure{"\0\0\0\1\5", 5};
constexpr int kLookMilliseconds = 200;

// The length that messages begin with (RFC 4251 §5); an error if no agent takes so much.
Result<size_t> LengthOf(std::string_view message) {
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i)
    length = length << 8 | static_cast<unsigned char>(message[i]);
  if (length > kMaxMessageBytes)
    return InvalidArgument("a message of {} bytes to or from an ssh agent", length);
  return length;
}

bool MayPass(std::string_view request) {
  const auto type = static_cast<uint8_t>(request.size() > kLengthBytes ? request[kLengthBytes] : 0);
  return type == kRequestIdentities || type == kSignRequest;
}

}  // namespace

Result<AgentProxy> AgentProxy::Connect(const std::string& socket) {
  rpc::Address address;
  address.path = socket;
  TRY_ASSIGN(Fd agent, rpc::ConnectTo(address));
  return AgentProxy(std::move(agent));
}

Result<std::string> AgentProxy::Ask(std::string_view bytes, const std::function<bool()>& gone) {
  pending_.append(bytes);
  std::string answers;
  std::string_view rest = pending_;
  while (rest.size() >= kLengthBytes) {
    TRY_ASSIGN(const size_t length, LengthOf(rest));
    if (rest.size() < kLengthBytes + length) break;
    const std::string_view request = rest.substr(0, kLengthBytes + length);
    rest.remove_prefix(request.size());
    if (MayPass(request)) {
      TRY_ASSIGN(const std::string answer, Forward(request, gone));
      answers += answer;
    } else {
      answers += kFailure;
    }
  }
  pending_ = std::string(rest);
  return answers;
}

Result<std::string> AgentProxy::Forward(std::string_view request,
                                        const std::function<bool()>& gone) {
  TRY(rpc::SendAll(agent_.get(), request));
  std::string answer;
  TRY(ReadInto(&answer, kLengthBytes, gone));
  TRY_ASSIGN(const size_t length, LengthOf(answer));
  TRY(ReadInto(&answer, length, gone));
  return answer;
}

Status AgentProxy::ReadInto(std::string* out, size_t size, const std::function<bool()>& gone) {
  const size_t begin = out->size();
  out->resize(begin + size);
  for (size_t done = 0; done < size;) {
    pollfd readable{agent_.get(), POLLIN, 0};
    const int ready = poll(&readable, 1, kLookMilliseconds);
    if (ready < 0 && errno != EINTR) return ErrnoError(errno, "waiting for the ssh agent");
    if (ready <= 0) {
      if (gone()) return Cancelled("context canceled");
      continue;
    }
    TRY_ASSIGN(const size_t n, ReadSome(agent_.get(), out->data() + begin + done, size - done));
    if (n == 0) return Unavailable("the ssh agent closed the connection");
    done += n;
  }
  return OkStatus();
}

}  // namespace kiln::client
