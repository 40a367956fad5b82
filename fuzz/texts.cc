// Short texts of all kinds that come from clients, servers and files: times, sizes, modes, URLs,
// platforms, addresses, mounts, what a spawner is asked for.
#include <string>

#include "base/check.h"
#include "base/strings.h"
#include "base/time.h"
#include "http/message.h"
#include "http/retry.h"
#include "http/url.h"
#include "llb/git_url.h"
#include "oci/platform.h"
#include "ops/symbolic_mode.h"
#include "rpc/address.h"
#include "sys/id_map.h"
#include "sys/mount_info.h"
#include "sys/spawner_wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln;  // NOLINT: one file, one purpose
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto time = ParseRfc3339(text); time.ok()) {
    const auto again = ParseRfc3339(FormatRfc3339(*time));
    CHECK(again.ok() && *again == *time);
  }
  (void)ParseDuration(text);
  (void)http::ParseHttpDate(text);
  http::Response response;
  response.headers = {{"Retry-After", std::string(text)}, {"Content-Length", std::string(text)}};
  const auto delay = http::RetryAfter(response, WallTime());
  CHECK(http::RetryPolicy().DelayBefore(1, delay) <= http::RetryPolicy().max_delay);
  (void)response.content_length();
  if (const auto mode = ops::SymbolicMode::Parse(text); mode.ok()) {
    CHECK((mode->Apply(0100644) & ~07777u) == 0 && (mode->Apply(0040755) & ~07777u) == 0);
  }
  for (const sys::MountInfo& mount : sys::ParseMountInfo(text)) (void)mount.target.size();
  if (const auto payload = sys::Decode(text); payload.ok()) (void)sys::Encode(*payload);
  if (const auto map = sys::IdMap::Parse(text); map.ok()) {
    const auto again = sys::IdMap::Parse(map->ToString());
    CHECK(again.ok() && *again == *map);
    for (const auto& range : map->ranges()) CHECK(map->ToOutside(range.inside) == range.outside);
  }
  if (const auto url = llb::ParseGitUrl(text); url.ok()) {
    CHECK(llb::ParseGitUrl(url->remote).ok());
  }
  (void)llb::WithGitTransport(text);
  if (const auto platform = oci::ParsePlatform(text); platform.ok()) {
    CHECK(oci::ParsePlatform(oci::FormatAll(*platform)).ok());
    const oci::Platform plain = oci::Normalize(*platform);
    CHECK(oci::Normalize(plain) == plain);
    const oci::PlatformMatcher matcher(plain);
    CHECK(matcher.Rank(plain) == 0 && oci::PlatformMatcher::Only(plain).Match(plain));
    const oci::Platform other{"linux", "arm", "v5", "", {}};
    CHECK(!matcher.Less(plain, plain) &&
          !(matcher.Less(plain, other) && matcher.Less(other, plain)));
  }
  if (const auto url = http::Url::Parse(text); url.ok()) {
    const auto again = http::Url::Parse(url->ToString());
    CHECK(again.ok() && *again == *url);
    (void)http::IsLoopbackHost(url->authority());
  }
  CHECK(http::SplitUserInfo(http::SplitUserInfo(text).url).authorization.empty());
  CHECK(http::RedactUrl(http::RedactUrl(text)).find('?') == std::string::npos);
  (void)http::IsLoopbackHost(text);
  (void)http::WithQuery(std::string(text), text, text);
  if (const auto address = rpc::Address::Parse(text); address.ok()) {
    CHECK(rpc::Address::Parse(address->ToString()).ok());
  }
  // No law the other way: as Go's, it takes bits of the last character that stand for nothing.
  if (const auto bytes = Base64Decode(text)) CHECK(Base64Decode(Base64Encode(*bytes)) == *bytes);
  CHECK(IsValidUtf8(ToValidUtf8(text)));
  CHECK(CleanPath(CleanPath(text)) == CleanPath(text));
  return 0;
}
