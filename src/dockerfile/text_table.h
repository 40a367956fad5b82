#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace kiln::dockerfile {

// Columns as wide as their widest cell and a gap; the last one is not padded.
class TextTable {
 public:
  explicit TextTable(std::size_t gap) : gap_(gap) {}
  // As many cells in every row.
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string Text() const;

 private:
  const std::size_t gap_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace kiln::dockerfile
