#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/result.h"

namespace kiln::rpc {

// Bytes that a call carries in its messages (a `bytes data` field), as one stream. Message
// boundaries mean nothing.
struct MessageBytes {
  // Replaces `data` by the next message's; false at the end.
  std::function<bool(std::string* data)> read;
  // Takes `data` and gives its memory back; false once nobody takes it.
  std::function<bool(std::string* data)> write;
  // Says that nothing more will be written; `read` ends in consequence, sooner or later.
  std::function<void()> end_writes;
  // Ends the call when nobody is left to take its bytes. Null: it is read to its end all the same,
  // for its status comes behind its last message.
  std::function<void()> abandon = nullptr;
};

// What a pump does with its socket once the call has nothing more to say.
enum class AtCallEnd {
  // The other way ends too.
  kHangUp,
  // Whoever is behind the socket is told, and may still answer.
  kHalfClose,
};

// Moves bytes between a call and a blocking socket, both ways, until both are done: on the calling
// thread and one more. The socket's end ends the writes of the call. An error: there was no thread
// to be had.
Status Pump(const MessageBytes& call, int socket, AtCallEnd at_end);

// The stream of a call whose messages are of type `Message`.
template <typename Message, typename Stream>
MessageBytes BytesOf(Stream& stream, std::function<void()> end_writes) {
  MessageBytes bytes;
  bytes.read = [&stream](std::string* data) {
    Message message;
    if (!stream.Read(&message)) return false;
    *data = std::move(*message.mutable_data());
    return true;
  };
  bytes.write = [&stream](std::string* data) {
    Message message;
    message.mutable_data()->swap(*data);
    const bool written = stream.Write(message);
    message.mutable_data()->swap(*data);
    return written;
  };
  bytes.end_writes = std::move(end_writes);
  return bytes;
}

}  // namespace kiln::rpc
