#include "rpc/library.h"

#include <grpc/grpc.h>

namespace kiln::rpc {

void KeepLibrary() {
  [[maybe_unused]] static const bool kept = [] {
    grpc_init();  // without a grpc_shutdown
    return true;
  }();
}

}  // namespace kiln::rpc
