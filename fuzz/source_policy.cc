// A source policy as a client sends it (moby.buildkit.v1.sourcepolicy.Policy), asked about sources.
#include "build/source_policy.h"

#include <cstddef>
#include <cstdint>
#include <string>

#include "llb/source_id.h"
#include "quiet_protobuf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln;  // NOLINT: one file, one purpose
  moby::buildkit::v1::sourcepolicy::Policy message;
  if (!message.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto policy = build::SourcePolicy::Create({message, message});
  if (!policy.ok()) return 0;
  (void)policy->empty();
  for (const char* identifier :
       {"docker-image://docker.io/library/alpine:3.20", "https://example.com/a.tar",
        "git://example.com/a.git#main", "local://context", ""}) {
    pb::SourceOp source;
    source.set_identifier(identifier);
    (*source.mutable_attrs())["git.fullurl"] = "https://example.com/a.git";
    if (policy->Evaluate(source).ok()) (void)llb::ParseSource(source.identifier(), {});
  }
  return 0;
}
