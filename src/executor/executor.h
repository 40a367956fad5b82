#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "executor/process_spec.h"
#include "progress/activity.h"

namespace kiln::executor {

// How the process ended. A process killed by signal N shows as exit code 128+N, as in a shell.
struct Outcome {
  int exit_code = 0;
  bool out_of_memory = false;  // killed for its memory limit
  bool ok() const { return exit_code == 0; }
};

// Takes output as it comes, on the thread that called Run; the bytes of one stream are whole and in
// order.
using OutputSink = std::function<void(progress::Stream, std::string_view)>;

struct Stdio {
  OutputSink output;  // may be empty: dropped
  Fd input;           // invalid: /dev/null
};

// Runs processes in containers. Safe from any thread.
class Executor {
 public:
  virtual ~Executor() = default;

  // Blocks until the process has ended and nothing of the container is left. A process that ends
  // badly, and one that cannot be started (the reason stands in its error stream), is an Outcome.
  // Errors: what the spec asks for cannot be set up
  // (`unable to find user X: no matching entries in passwd file`, a mount that fails), or the
  // activity's cancellation reason.
  virtual Result<Outcome> Run(const ProcessSpec& spec, Stdio stdio,
                              const progress::Activity& activity) = 0;
};

}  // namespace kiln::executor
