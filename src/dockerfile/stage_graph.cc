#include "dockerfile/stage_graph.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "base/strings.h"
#include "dockerfile/errors.h"
#include "dockerfile/expand.h"

namespace kiln::dockerfile {

StageGraph::StageGraph(const Dockerfile& file)
    : needs_(file.stages.size()), need_lines_(file.stages.size()) {
  for (const Stage& stage : file.stages) {
    nodes_.push_back({stage.index, "", stage.head.lines, stage.head.lines, nullptr, {}});
    names_.push_back(stage.from.name);
    if (!stage.from.name.empty()) by_name_[stage.from.name] = stage.index;
  }
}

Status StageGraph::Link(const Dockerfile& file, const SourceFile& source) {
  for (const Stage& stage : file.stages) {
    for (const Instruction& instruction : stage.instructions) {
      TRY(LinkInstruction(stage.index, instruction, instruction.lines, file.escape));
    }
  }
  if (forward_) TRY(CheckCycles(source));
  alone_ = nodes_.size() == 1;
  return OkStatus();
}

Result<bool> StageGraph::LinkTrigger(int stage, const Instruction& trigger, LineRange lines,
                                     char escape) {
  return LinkInstruction(stage, trigger, lines, escape);
}

Result<bool> StageGraph::LinkInstruction(int stage, const Instruction& instruction, LineRange lines,
                                         char escape) {
  std::vector<int> found;
  if (const auto* copy = std::get_if<Copy>(&instruction.body); copy != nullptr && !copy->add) {
    if (!copy->from.empty()) {
      TRY_ASSIGN(const int node, CopySource(copy->from, lines, escape));
      found.push_back(node);
    }
  } else if (const auto* run = std::get_if<Run>(&instruction.body)) {
    for (const MountSpec& mount : run->mounts) {
      const std::string from = mount.from();
      // Also of mounts that read nothing: "scratch" counts as a tree, and may name a stage.
      found.push_back(Named(from.empty() ? "scratch" : from, kNowhere, lines));
    }
  }
  if (found.empty()) return false;
  const auto at = static_cast<std::size_t>(stage);
  for (const int node : found) {
    needs_[at].push_back(node);
    need_lines_[at].push_back(lines);
    const int target = nodes_[static_cast<std::size_t>(node)].stage;
    forward_ = forward_ || target >= stage;
  }
  sources_[&instruction] = std::move(found);
  return true;
}

Result<int> StageGraph::CopySource(const std::string& from, LineRange lines, char escape) {
  ExpandOptions options;
  options.escape = escape;
  const VariableLookup nothing = [](std::string_view) { return std::optional<std::string_view>(); };
  TRY_ASSIGN(const Expanded expanded, Expand(from, nothing, options));
  if (expanded.text != from) {
    return Unknown(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG "
        "from global scope as a workaround");
  }
  const auto number = ParseInt(from.starts_with('+') ? from.substr(1) : from);
  if (!number) return Named(from, lines, lines);
  if (*number < 0 || *number >= static_cast<std::int64_t>(nodes_.size())) {
    return Unknown("invalid stage index {}", *number);
  }
  return static_cast<int>(*number);
}

int StageGraph::Named(const std::string& name, LineRange place, LineRange lines) {
  const auto found = by_name_.find(ToLower(name));
  if (found != by_name_.end()) return found->second;
  nodes_.push_back({-1, name, place, lines, nullptr, {}});
  return static_cast<int>(nodes_.size()) - 1;
}

const std::vector<int>& StageGraph::Sources(const Instruction& instruction) const {
  static const std::vector<int> kNone;
  const auto found = sources_.find(&instruction);
  return found == sources_.end() ? kNone : found->second;
}

std::string StageGraph::StageName(int stage) const {
  if (alone_) return "";
  const std::string& name = names_[static_cast<std::size_t>(stage)];
  return name.empty() ? fmt::format("stage-{}", stage) : name;
}

std::vector<std::string> StageGraph::StageNames() const {
  std::vector<std::string> names;
  if (alone_) return names;
  for (std::size_t i = 0; i < names_.size(); ++i) names.push_back(StageName(static_cast<int>(i)));
  return names;
}

Status StageGraph::CheckCycles(const SourceFile& source) const {
  std::vector<char> visited(needs_.size(), 0);
  for (std::size_t start = 0; start < needs_.size(); ++start) {
    std::vector<LineRange> chain;
    if (!FindCycle(static_cast<int>(start), visited, chain)) continue;
    Error error =
        Unknown("circular dependency detected on stage: {}", StageName(static_cast<int>(start)));
    for (const LineRange lines : chain) error = WithMoreSource(std::move(error), source, lines);
    return error;
  }
  return OkStatus();
}

// Looks for a way from `start` to a stage that is already on the way; `chain`: the steps taken.
bool StageGraph::FindCycle(int start, std::vector<char>& visited,
                           std::vector<LineRange>& chain) const {
  constexpr char kOnTheWay = 1;
  constexpr char kDone = 2;
  struct Frame {
    std::size_t stage;
    std::size_t next = 0;
  };
  if (visited[static_cast<std::size_t>(start)] != 0) return false;
  std::vector<Frame> way = {{static_cast<std::size_t>(start)}};
  visited[static_cast<std::size_t>(start)] = kOnTheWay;
  while (!way.empty()) {
    Frame& frame = way.back();
    if (frame.next == needs_[frame.stage].size()) {
      visited[frame.stage] = kDone;
      way.pop_back();
      if (!chain.empty()) chain.pop_back();
      continue;
    }
    const int needed = node(needs_[frame.stage][frame.next]).stage;
    const LineRange lines = need_lines_[frame.stage][frame.next++];
    if (needed < 0) continue;
    const auto stage = static_cast<std::size_t>(needed);
    if (visited[stage] == kDone) continue;
    chain.push_back(lines);
    if (visited[stage] == kOnTheWay) return true;
    visited[stage] = kOnTheWay;
    way.push_back({stage});
  }
  return false;
}

}  // namespace kiln::dockerfile
