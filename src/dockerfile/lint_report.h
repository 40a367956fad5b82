#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "dockerfile/ast.h"
#include "dockerfile/lint.h"
#include "dockerfile/plan.h"

// Findings and places as BuildKit's clients read and show them.
namespace kiln::dockerfile {

// `pb.Location` as Go writes it: one range per line, kMaxFindingLines at most.
nlohmann::ordered_json LocationJson(const std::vector<LineRange>& places);

// As Go's json.MarshalIndent has it, two blanks deep.
std::string GoIndented(const nlohmann::ordered_json& json);

// {"warnings": […], "sources": […], "buildError": {…}}; `error` may be null.
nlohmann::ordered_json LintJson(const LoadedDockerfile& loaded,
                                const std::vector<Finding>& findings, const Error* error);

// For people, sorted by line; "" if there are none.
std::string LintText(const SourceFile& source, std::vector<Finding> findings);

// The lines meant, marked, between others, under "FILE:LINE"; "" if the file has none of them.
// Ranges may be anything, as clients get them from elsewhere.
std::string Excerpt(const SourceFile& source, const std::vector<LineRange>& ranges);
std::string Excerpt(const SourceFile& source, LineRange lines);

// Of an error whose details point into a Dockerfile, each line once; none if none does.
std::vector<LineRange> LinesOf(const Error& error);

}  // namespace kiln::dockerfile
