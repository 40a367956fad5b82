// What git says of remotes and servers of downloads. Input, in parts: the output of `git
// ls-remote`, the ref that was asked for, the checksum; a URL, headers of its answer ("Name: value"
// lines).
#include <string>

#include "base/check.h"
#include "base/strings.h"
#include "parts.h"
#include "source/git_revision.h"
#include "source/http_answer.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::source;

void LsRemote(const std::string& out, const std::string& ref, const std::string& checksum) {
  llb::GitSource spec;
  spec.ref = ref;
  spec.checksum = checksum;
  const auto revision = RevisionIn(out, spec);
  if (!revision.ok()) return;
  // What goes on to command lines of git.
  CHECK(IsCommitSha(revision->commit));
  CHECK(revision->tag.empty() || IsCommitSha(revision->tag));
  CHECK(revision->ref.empty() || revision->ref.starts_with("refs/"));
  (void)CheckGitChecksum(spec, *revision);
}

void Download(const std::string& url, std::string_view headers) {
  http::Response response;
  for (const std::string_view line : Split(headers, '\n')) {
    if (const auto pair = Cut(line, ": ")) {
      response.headers.push_back({std::string(pair->first), std::string(pair->second)});
    }
  }
  llb::HttpSource spec;
  spec.url = url;
  for (const http::Response* answer : {&response, static_cast<http::Response*>(nullptr)}) {
    const std::string name = HttpFilename(spec, answer);
    CHECK(!name.empty() && name.size() <= 255 && name != "." && name != "..");
    CHECK(name.find('/') == name.npos && name.find('\0') == name.npos);
  }
  spec.filename = url;
  CHECK(HttpFilename(spec, &response).find('/') == std::string::npos);
  (void)EtagOf(response);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Parts parts(data, size);
  LsRemote(std::string(parts[0]), std::string(parts[1]), std::string(parts[2]));
  Download(std::string(parts[3]), parts[4]);
  const auto [begin, length] = UserInfoOf(parts[3]);
  CHECK(begin + length <= parts[3].size());
  (void)RedactRemote(parts[3]);
  return 0;
}
