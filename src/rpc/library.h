#pragma once

namespace kiln::rpc {

// Starts gRPC's threads, for as long as the process lives: whoever stops them waits up to ten
// seconds if anything large was written shortly before (gRPC 1.51 polls that long for a write that
// had to wait).
void KeepLibrary();

}  // namespace kiln::rpc
