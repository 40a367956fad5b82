#include "cachedb/latest.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace kiln::cachedb {
namespace {

constexpr size_t kFewest = 256;
constexpr size_t kMost = 65536;

uint64_t HashOf(std::string_view text) { return std::hash<std::string_view>()(text); }

uint64_t OpHash(std::string_view digest, int output) {
  const uint64_t hash = HashOf(digest) + (static_cast<uint64_t>(output) * 0x9e3779b97f4a7c15);
  return hash == 0 ? 1 : hash;
}

}  // namespace

size_t LatestChildren::PlaceOf(uint64_t op) const {
  const size_t mask = slots_.size() - 1;
  size_t at = op & mask;
  while (slots_[at].op != 0 && slots_[at].op != op) at = (at + 1) & mask;
  return at;
}

void LatestChildren::Grow() {
  if (slots_.size() >= kMost) Clear();
  const std::vector<Slot> old =
      std::exchange(slots_, std::vector<Slot>(std::max(kFewest, 2 * slots_.size())));
  for (const Slot& slot : old) {
    if (slot.op != 0) slots_[PlaceOf(slot.op)] = slot;
  }
}

void LatestChildren::Note(std::string_view digest, int output, std::string_view child,
                          int64_t seq) {
  const uint64_t op = OpHash(digest, output);
  if (slots_.empty() || slots_[PlaceOf(op)].op == 0) {
    if (slots_.size() < 2 * (used_ + 1)) Grow();
    ++used_;
  }
  slots_[PlaceOf(op)] = {op, HashOf(child), seq};
}

std::optional<int64_t> LatestChildren::Find(std::string_view digest, int output,
                                            std::string_view child) const {
  if (slots_.empty()) return std::nullopt;
  const uint64_t op = OpHash(digest, output);
  const Slot& slot = slots_[PlaceOf(op)];
  if (slot.op != op || slot.child != HashOf(child)) return std::nullopt;
  return slot.seq;
}

void LatestChildren::Clear() {
  slots_ = {};
  used_ = 0;
}

}  // namespace kiln::cachedb
