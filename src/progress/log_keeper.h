#pragma once

#include "progress/progress.h"

namespace kiln::progress {

// A sink that tells what clients are shown of a log from what is kept of it: where a step writes
// more than they are to see, the whole of it still goes to the build's record. Both as
// Sink::OnLog, but OnKeptLog may block while the disk is slow.
class LogKeeper {
 public:
  virtual ~LogKeeper() = default;
  // For the record alone.
  virtual void OnKeptLog(const VertexLog& log) = 0;
  // For clients alone: that something is not shown, and what the record has already.
  virtual void OnShownLog(const VertexLog& log) = 0;
};

// To sinks that make no difference, what is shown is a log like any other; what is kept they do not
// get.
inline void SendKeptLog(Sink& sink, const VertexLog& log) {
  if (auto* keeper = dynamic_cast<LogKeeper*>(&sink)) keeper->OnKeptLog(log);
}
inline void SendShownLog(Sink& sink, const VertexLog& log) {
  if (auto* keeper = dynamic_cast<LogKeeper*>(&sink)) {
    keeper->OnShownLog(log);
  } else {
    sink.OnLog(log);
  }
}

}  // namespace kiln::progress
