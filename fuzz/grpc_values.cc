// What travels beside messages: lists in headers ("name: value" lines, of key `k`), statuses with
// details, results of frontends, tokens. The first part says headers; the second is a serialized
// google.rpc.Status, the third a moby.buildkit.v1.frontend.Result, the fourth a
// moby.filesync.v1.FetchTokenResponse.
#include <google/rpc/status.pb.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/strings.h"
#include "frontend/result_proto.h"
#include "parts.h"
#include "quiet_protobuf.h"
#include "registry/token.h"
#include "rpc/metadata.h"
#include "rpc/status.h"
#include "session/client_words.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose

rpc::MetadataMap MapOf(const rpc::MetadataList& list) {
  rpc::MetadataMap map;
  for (const auto& [name, value] : list) map.emplace(name, value);
  return map;
}

void Headers(std::string_view text) {
  rpc::MetadataList list;
  for (const std::string_view line : Split(text, '\n')) {
    if (const auto pair = Cut(line, ": ")) list.emplace_back(pair->first, pair->second);
  }
  const rpc::MetadataMap map = MapOf(list);
  (void)rpc::MetadataValue(map, "k");
  (void)session::InfoOf(map);
  if (const auto health = session::HealthOf(map); health.ok())
    CHECK(std::chrono::system_clock::now() + health->timeout > std::chrono::system_clock::now());
  const auto values = rpc::DecodeValues(map, "k");
  if (!values.ok()) return;
  rpc::MetadataList written;
  rpc::AppendEncoded("k", *values, &written);
  const auto again = rpc::DecodeValues(MapOf(written), "k");
  CHECK(again.ok() && *again == *values);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Parts parts(data, size);
  Headers(parts[0]);

  const std::string bytes(parts[1]);
  google::rpc::Status proto;
  if (proto.ParseFromString(bytes)) {
    const Error error = rpc::FromProto(proto);
    google::rpc::Status again;
    rpc::ToProto(error, &again);
    (void)rpc::ToGrpc(error);
  }
  const grpc::Status status(static_cast<grpc::StatusCode>(1 + size % 16), "text", bytes);
  (void)rpc::ToGrpc(rpc::FromGrpc(status));
  CHECK(!rpc::ToStatus(status).ok());

  frontend::wire::Result message;
  if (message.ParseFromString(std::string(parts[2]))) {
    const auto result =
        frontend::FromProto(message, [](const std::string& id) -> Result<build::ReferencePtr> {
          if (id.size() > 3) return NotFound("no such reference: {}", id);
          return build::ReferencePtr();
        });
    for (const bool definitions : {true, false}) {
      frontend::wire::Result again;
      const auto keep = [](const build::ReferencePtr&) { return std::string("r"); };
      if (result.ok()) frontend::ToProto(*result, definitions, keep, &again);
    }
  }

  moby::filesync::v1::FetchTokenResponse answer;
  if (answer.ParseFromString(std::string(parts[3]))) {
    session::ClientToken token = session::TokenOf(answer);
    const SystemClock clock;
    const SteadyTime deadline = registry::TokenDeadline(
        {.token = {}, .expires_in = token.expires_in, .issued_at = token.issued_at}, clock);
    CHECK(deadline - clock.Steady() < std::chrono::hours(366 * 24));
  }
  return 0;
}
