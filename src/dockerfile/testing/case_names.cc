#include "dockerfile/testing/case_names.h"

#include <algorithm>
#include <filesystem>

namespace kiln::dockerfile {

std::vector<std::string> CaseNames(std::string_view folder) {
  std::vector<std::string> names;
  if (!std::filesystem::exists(folder)) return names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace kiln::dockerfile
