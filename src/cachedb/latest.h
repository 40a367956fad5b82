#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace kiln::cachedb {

// The child asserted last for an op's digest and output, by this process: of up to 32,768 of them
// as hashes side by side. Entries of their own would outlive what a large build needed besides, and
// keep a page of the heap each. Two children whose hashes are equal are taken for one: then the
// later assertion of the one is not written.
class LatestChildren {
 public:
  void Note(std::string_view digest, int output, std::string_view child, int64_t seq);
  // The assertion's number if that child is the last one that was noted.
  std::optional<int64_t> Find(std::string_view digest, int output, std::string_view child) const;
  void Clear();

 private:
  struct Slot {
    uint64_t op = 0;  // 0: free
    uint64_t child = 0;
    int64_t seq = 0;
  };
  // Where that op's entry is, or would be.
  size_t PlaceOf(uint64_t op) const;
  // Makes room for one more: twice the slots, or all anew.
  void Grow();

  std::vector<Slot> slots_;  // a power of two of them, at most half of them in use
  size_t used_ = 0;
};

}  // namespace kiln::cachedb
