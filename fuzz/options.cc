// What clients say of outputs and caches: attributes of an exporter and its annotations, one
// "name=value" a line; flags of the command line; a context of Docker's, the name of the current
// one and what an engine answers.
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <string>

#include "base/byte_size.h"
#include "base/check.h"
#include "base/csv.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/strings.h"
#include "cmd/build_flags.h"
#include "cmd/docker_load.h"
#include "cmd/values.h"
#include "exporter/attributes.h"
#include "parts.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose

// Docker's folder, gone at the end.
struct Folder {
  Folder() {
    CHECK(mkdtemp(path.data()) != nullptr);
    context = path + "/contexts/meta/" + Sha256Of("c").hex();
    std::filesystem::create_directories(context);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = std::filesystem::temp_directory_path() / "kiln-fuzz-XXXXXX";
  std::string context;  // of that named "c"
};

void Docker(std::string_view context, std::string_view config, std::string_view answer) {
  static const Folder folder;
  CHECK(WriteFileAtomically(folder.context + "/meta.json", context).ok());
  CHECK(WriteFileAtomically(folder.path + "/config.json", config).ok());
  if (const auto docker = cmd::FindDocker(folder.path); docker.ok()) CHECK(!docker->url.empty());
  http::Response response;
  response.status = answer.size() % 2 == 0 ? 200 : 500;
  response.body = answer;
  CHECK(cmd::LoadOutcome(response, "h").ok() <= response.ok());
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  for (const char* name : {"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"}) unsetenv(name);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Parts parts(data, size);
  std::map<std::string, std::string> attrs;
  for (const std::string_view line : Split(parts[0], '\n')) {
    const auto pair = Cut(line, "=");
    attrs[std::string(pair ? pair->first : line)] = pair ? pair->second : "";
  }
  build::BuildResult result;
  result.metadata = attrs;
  if (auto image = exporter::ParseImageAttributes({}, attrs, {"dest", "tar"}); image.ok()) {
    if (image->epoch_seconds) (void)exporter::EffectiveEpoch(image->epoch_seconds, result, "");
  }
  (void)exporter::TakeBool(attrs, "tar", false, true);
  (void)exporter::TakeEpoch(attrs);
  (void)exporter::EffectiveEpoch(std::nullopt, result, "linux/amd64");
  for (const std::string_view line : Split(parts[1], '\n')) {
    const std::string text(line);
    if (const auto pairs = ParseKeyValues(text); pairs.ok()) {
      for (const auto& [key, value] : *pairs) CHECK(!key.empty() && key == ToLower(Trim(key)));
    }
    (void)cmd::ParseOutput(text);
    if (const auto bytes = ParseByteSize(text)) CHECK(*bytes >= 0);
    if (const auto filters = cmd::ParseCacheFilters({text}); filters.ok()) {
      (void)cmd::FormatSpan(filters->until);
      (void)cmd::FormatAge(filters->until);
    }
  }
  if (parts.size() > 2) Docker(parts[2], parts[3], parts[4]);
  return 0;
}
