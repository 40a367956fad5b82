#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kiln::dockerfile {

// Of every `.txt` in the folder, without that, sorted; none where there is no such folder.
std::vector<std::string> CaseNames(std::string_view folder);

}  // namespace kiln::dockerfile
