#pragma once

#include <google/protobuf/message.h>

#include <string>

namespace kiln::llb {

// Appends the message as Go's encoding/json prints upstream's generated structs: fields in the
// order of the .proto, zero values left out, present messages printed even if empty, enums as
// numbers, bytes as base64, maps sorted by key. Not protobuf's own JSON. Message nesting is bounded
// by the parser's limit.
void AppendGoJson(std::string& out, const google::protobuf::Message& message);

}  // namespace kiln::llb
