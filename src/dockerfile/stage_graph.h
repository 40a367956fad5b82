#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/external.h"
#include "llb/build.h"

namespace kiln::dockerfile {

// A tree that a stage is, or that `--from` of a COPY or a mount names without naming a stage: an
// image, a named context or scratch. Each such use is a tree of its own.
struct TreeNode {
  int stage = -1;
  std::string name;                 // of no stage
  LineRange place = kNowhere;       // of the FROM or COPY; a mount has none
  LineRange lines = kNowhere;       // of the instruction
  External* external = nullptr;     // what the name stands for, once it is needed
  std::optional<llb::Output> tree;  // once it is used
};

// Which trees the steps of a file read. Names and numbers mean what BuildKit takes them for: a name
// is the file's last stage of that name, wherever it stands; numbers count the trees, the stages
// first and then the others in the order in which they are mentioned.
class StageGraph {
 public:
  explicit StageGraph(const Dockerfile& file);

  // All instructions of all stages, needed or not.
  Status Link(const Dockerfile& file, const SourceFile& source);
  // Those of a trigger of `stage`; whether it reads from anything.
  Result<bool> LinkTrigger(int stage, const Instruction& trigger, LineRange lines, char escape);

  std::size_t size() const { return nodes_.size(); }
  TreeNode& node(int index) { return nodes_[static_cast<std::size_t>(index)]; }
  const TreeNode& node(int index) const { return nodes_[static_cast<std::size_t>(index)]; }
  // What an instruction reads, as nodes: of a COPY one, if it has a `--from`; of a RUN one per
  // mount.
  const std::vector<int>& Sources(const Instruction& instruction) const;
  // What the steps of a stage read.
  const std::vector<int>& NeedsOf(int stage) const {
    return needs_[static_cast<std::size_t>(stage)];
  }
  std::string StageName(int stage) const;
  // Of all stages, in order.
  std::vector<std::string> StageNames() const;

 private:
  Result<bool> LinkInstruction(int stage, const Instruction& instruction, LineRange lines,
                               char escape);
  Result<int> CopySource(const std::string& from, LineRange lines, char escape);
  int Named(const std::string& name, LineRange place, LineRange lines);
  Status CheckCycles(const SourceFile& source) const;
  bool FindCycle(int start, std::vector<char>& visited, std::vector<LineRange>& chain) const;

  std::vector<TreeNode> nodes_;
  std::vector<std::string> names_;  // of the stages; empty: none
  std::unordered_map<std::string, int> by_name_;
  std::unordered_map<const Instruction*, std::vector<int>> sources_;
  std::vector<std::vector<int>> needs_;             // by stage
  std::vector<std::vector<LineRange>> need_lines_;  // beside needs_
  bool forward_ = false;                            // some step reads from its own stage or a later
  bool alone_ = false;                              // there was one tree before triggers were known
};

}  // namespace kiln::dockerfile
