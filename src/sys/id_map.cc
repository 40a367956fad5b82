#include "sys/id_map.h"

#include <algorithm>

#include "base/fd.h"
#include "base/strings.h"

namespace kiln::sys {
namespace {

constexpr uint64_t kIds = 0xFFFFFFFFull;  // 2^32-1 is not an id

Status CheckSide(std::vector<IdMap::Range> ranges, uint32_t IdMap::Range::* side,
                 const char* name) {
  std::sort(ranges.begin(), ranges.end(),
            [&](const auto& a, const auto& b) { return a.*side < b.*side; });
  uint64_t free_from = 0;
  for (const IdMap::Range& range : ranges) {
    if (range.count == 0)
      return InvalidArgument("id map: empty range at {} id {}", name, range.*side);
    if (range.*side < free_from)
      return InvalidArgument("id map: ranges overlap at {} id {}", name, range.*side);
    free_from = uint64_t{range.*side} + range.count;
    if (free_from > kIds)
      return InvalidArgument("id map: {} ids from {} on do not fit", range.count, range.*side);
  }
  return OkStatus();
}

std::optional<uint32_t> Translate(const std::vector<IdMap::Range>& ranges, uint32_t id,
                                  uint32_t IdMap::Range::* from, uint32_t IdMap::Range::* to) {
  if (ranges.empty()) return id;
  for (const IdMap::Range& range : ranges) {
    if (id >= range.*from && id - range.*from < range.count) return range.*to + (id - range.*from);
  }
  return std::nullopt;
}

}  // namespace

Result<IdMap> IdMap::Create(std::vector<Range> ranges) {
  TRY(CheckSide(ranges, &Range::inside, "inside"));
  TRY(CheckSide(ranges, &Range::outside, "outside"));
  if (ranges.size() == 1 && ranges[0] == Range{0, 0, static_cast<uint32_t>(kIds)}) ranges.clear();
  return IdMap(std::move(ranges));
}

Result<IdMap> IdMap::Parse(std::string_view text) {
  std::vector<Range> ranges;
  for (std::string_view line : Split(text, '\n')) {
    std::vector<uint32_t> numbers;
    for (std::string_view field : Split(line, ' ')) {
      if (field.empty()) continue;
      auto number = ParseUint(field);
      if (!number || *number > kIds) return InvalidArgument("id map: bad line {}", Quoted(line));
      numbers.push_back(static_cast<uint32_t>(*number));
    }
    if (numbers.empty()) continue;
    if (numbers.size() != 3) return InvalidArgument("id map: bad line {}", Quoted(line));
    ranges.push_back({numbers[0], numbers[1], numbers[2]});
  }
  return Create(std::move(ranges));
}

Result<IdMap> IdMap::OwnUids() {
  TRY_ASSIGN(std::string text, ReadFile("/proc/self/uid_map"));
  return Parse(text);
}

Result<IdMap> IdMap::OwnGids() {
  TRY_ASSIGN(std::string text, ReadFile("/proc/self/gid_map"));
  return Parse(text);
}

std::optional<uint32_t> IdMap::ToOutside(uint32_t inside) const {
  return Translate(ranges_, inside, &Range::inside, &Range::outside);
}

std::optional<uint32_t> IdMap::ToInside(uint32_t outside) const {
  return Translate(ranges_, outside, &Range::outside, &Range::inside);
}

std::string IdMap::ToString() const {
  std::string text;
  for (const Range& range : ranges_)
    text += fmt::format("{} {} {}\n", range.inside, range.outside, range.count);
  return text.empty() ? fmt::format("0 0 {}\n", kIds) : text;
}

}  // namespace kiln::sys
