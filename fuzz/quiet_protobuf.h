#pragma once

#include <google/protobuf/stubs/logging.h>

// For targets that parse messages: protobuf would report every bad byte.
extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*words*/) {
  google::protobuf::SetLogHandler(nullptr);
  return 0;
}
