// What an engine answers and kiln shows: details of an error with source locations, results of
// questions about a Dockerfile. The first line says which.
#include <map>
#include <string>

#include "base/check.h"
#include "base/strings.h"
#include "cmd/call_report.h"
#include "cmd/error_report.h"
#include "llb/source_map.h"
#include "parts.h"

using namespace kiln;  // NOLINT: one file, one purpose

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Parts parts(data, size);
  Error error(Code::kUnknown, std::string(parts[1]));
  error.AddDetail({std::string(llb::kSourceDetailType), std::string(parts[2])});
  CHECK(cmd::DescribeError(error).find("ERROR: ") != std::string::npos);
  const auto method = cmd::ParseCallMethod(std::string(parts[0]));
  if (!method.ok()) return 0;
  std::map<std::string, std::string> metadata = {{"result.json", std::string(parts[2])},
                                                 {"result.txt", std::string(parts[1])},
                                                 {"result.statuscode", std::string(parts[3])}};
  (void)cmd::ReportCall(*method, metadata, "Dockerfile");
  return 0;
}
