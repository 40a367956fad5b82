#pragma once

#include <string>
#include <string_view>

namespace kiln::cmd {

// A hint for an error that says of a path of the context that it is not there: the file of the
// folder `context` whose name is nearest. `text`: the whole message with its excerpt. "" if it is
// about something else, or if nothing is near.
std::string NearestFileHint(const std::string& context, std::string_view text);

}  // namespace kiln::cmd
