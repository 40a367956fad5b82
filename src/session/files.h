#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "archive/stream.h"
#include "base/result.h"
#include "filesync/packet_stream.h"
#include "filesync/sender.h"
#include "filesync/tree_source.h"
#include "progress/activity.h"
#include "session/manager.h"

namespace kiln::session {

// --- Folders of the client (moby.filesync.v1.FileSync) ---

// A client's folder, being listed. Feed `stream` to filesync::ReceiveTree.
struct OpenedTree {
  SessionPtr session;  // whose folder it is: its shared_key() is part of the destination's name
  std::unique_ptr<filesync::PacketStream> stream;
};

// The session that shares folders for this build: `pinned` first if given and there, then any of
// the activity's that supports it. "no local sources enabled" if none does.
Result<SessionPtr> FindTreeSession(Manager& manager, const progress::Activity& activity,
                                   const std::string& pinned);
// Opens folder `request.name` of that session. Whether the folder is shared shows when the stream
// is read: NotFound "no access allowed to dir".
Result<OpenedTree> OpenTree(Manager& manager, const progress::Activity& activity,
                            const SessionPtr& session, const filesync::TreeRequest& request);

// What clients say of a folder that they do not share, however it has come to the caller.
bool IsNotShared(const Error& error);

// --- Exports to the client (moby.filesync.v1.FileSend) ---

// Sends a directory tree to exporter `exporter_id` of the client and waits until the client has it.
// `multi_platform`: the tree holds all platforms (mode=delete).
Result<filesync::SendReport> SendTree(const progress::Activity& activity, Session& session,
                                      int exporter_id, bool multi_platform, filesync::Tree& tree,
                                      const filesync::SendOptions& options = {});

// A stream of bytes to exporter `exporter_id` (tar, oci, docker outputs). One thread at a time.
class FileStream : public archive::ByteSink {
 public:
  // Writes of any size. Once the client has said that it has it all already, the rest is dropped.
  Status Write(std::string_view data) override = 0;
  // Half-closes and waits for the client's verdict; AlreadyExists is success. Without Finish the
  // stream is cancelled.
  virtual Status Finish() = 0;
};

// `metadata` are exporter response entries that the client is told beforehand (oci, docker).
Result<std::unique_ptr<FileStream>> OpenFileStream(
    const progress::Activity& activity, Session& session, int exporter_id,
    const std::map<std::string, std::string>& metadata);

}  // namespace kiln::session
