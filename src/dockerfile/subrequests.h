#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "dockerfile/host.h"
#include "dockerfile/lint.h"
#include "dockerfile/options.h"
#include "dockerfile/plan.h"

// Requests that ask something about a Dockerfile instead of building it: the option `requestid`.
namespace kiln::dockerfile {

// The metadata of the result: "result.json", "result.txt", "result.statuscode", "version". Always
// for the default platform. Findings of build checks go to `warn` unless they are what is asked
// for. Errors: `unsupported request X`, with the detail that clients look for.
Result<std::map<std::string, std::string>> AnswerSubrequest(const Options& options,
                                                            const LoadedDockerfile& loaded,
                                                            Host& host, const ReportFinding& warn);

}  // namespace kiln::dockerfile
