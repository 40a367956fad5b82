#include "llb/build.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "llb/node.h"

namespace kiln::llb {
namespace {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

// Calls `visit` with every Output field of the node, scratch included.
template <typename NodeType, typename Visit>
void ForEachInput(NodeType& node, Visit visit) {
  std::visit(
      Overloaded{
          [](auto& /*source*/) {},
          [&](std::conditional_t<std::is_const_v<NodeType>, const ExecSpec, ExecSpec>& spec) {
            visit(spec.root);
            for (auto& mount : spec.mounts) visit(mount.source);
          },
          [&](std::conditional_t<std::is_const_v<NodeType>, const FileSpec, FileSpec>& spec) {
            visit(spec.base);
            for (auto& action : spec.actions)
              if (auto* copy = std::get_if<CopyAction>(&action)) visit(copy->from);
          },
          [&](std::conditional_t<std::is_const_v<NodeType>, const MergeSpec, MergeSpec>& spec) {
            for (auto& input : spec.inputs) visit(input);
          },
          [&](std::conditional_t<std::is_const_v<NodeType>, const DiffSpec, DiffSpec>& spec) {
            visit(spec.lower);
            visit(spec.upper);
          },
          [&](std::conditional_t<std::is_const_v<NodeType>, const ImportedSpec, ImportedSpec>&
                  spec) {
            for (auto& input : spec.inputs) visit(input);
          }},
      node.spec);
}

Output MakeNode(NodeSpec spec, VertexOptions options) {
  return {std::make_shared<Node>(std::move(spec), std::move(options)), 0};
}

bool HasOutput(const ExecMount& mount) {
  return !mount.no_output && !mount.readonly && !mount.cache && !mount.tmpfs;
}

}  // namespace

Node::~Node() {
  std::vector<Output> orphans;
  auto take = [&](Output& input) {
    if (input.node() && input.node().use_count() == 1)
      orphans.push_back(std::exchange(input, Output()));
  };
  ForEachInput(*this, take);
  while (!orphans.empty()) {
    Output orphan = std::move(orphans.back());
    orphans.pop_back();
    // The last owner: nobody else can see the change.
    ForEachInput(const_cast<Node&>(*orphan.node()), take);
  }
}

std::vector<Output> InputsOf(const Node& node) {
  std::vector<Output> inputs;
  ForEachInput(node, [&](const Output& input) {
    if (!input.scratch()) inputs.push_back(input);
  });
  return inputs;
}

Output Source(SourceSpec spec, VertexOptions options) {
  return MakeNode(std::move(spec), std::move(options));
}

DeferredSource::DeferredSource(std::string label)
    : node_(std::make_shared<Node>(DeferredSpec{std::move(label)}, VertexOptions{})),
      output_(node_, 0) {}

void DeferredSource::Set(SourceSpec spec, VertexOptions options) {
  CHECK(!is_set());
  node_->spec = std::move(spec);
  node_->options = std::move(options);
}

bool DeferredSource::is_set() const { return !std::holds_alternative<DeferredSpec>(node_->spec); }

ExecOutputs Exec(ExecSpec spec, VertexOptions options) {
  // Results are numbered in the order of the sorted mounts, the root first: "/" is the smallest
  // path there is.
  std::vector<size_t> sorted(spec.mounts.size());
  for (size_t i = 0; i < sorted.size(); ++i) sorted[i] = i;
  std::sort(sorted.begin(), sorted.end(), [&](size_t a, size_t b) {
    return std::tie(spec.mounts[a].dest, a) < std::tie(spec.mounts[b].dest, b);
  });
  ExecOutputs outputs;
  outputs.mounts.resize(spec.mounts.size());
  std::vector<std::pair<size_t, int>> numbered;
  int next = spec.readonly_root ? 0 : 1;
  for (size_t i : sorted) {
    const ExecMount& mount = spec.mounts[i];
    if (HasOutput(mount)) {
      numbered.emplace_back(i, next++);
    } else if (mount.readonly && !mount.cache && !mount.tmpfs) {
      outputs.mounts[i] = mount.source;
    }
  }
  Output root = spec.root;
  bool readonly_root = spec.readonly_root;
  Output node = MakeNode(std::move(spec), std::move(options));
  outputs.root = readonly_root ? root : node;
  for (auto [i, index] : numbered) outputs.mounts[i] = Output(node.node(), index);
  return outputs;
}

Output File(Output base, std::vector<FileAction> actions, VertexOptions options) {
  if (actions.empty()) return base;
  return MakeNode(FileSpec{std::move(base), std::move(actions)}, std::move(options));
}

Output Merge(std::vector<Output> inputs, VertexOptions options) {
  std::erase_if(inputs, [](const Output& input) { return input.scratch(); });
  if (inputs.empty()) return {};
  if (inputs.size() == 1) return inputs.front();
  return MakeNode(MergeSpec{std::move(inputs)}, std::move(options));
}

Output Diff(Output lower, Output upper, VertexOptions options) {
  if (lower.scratch()) return upper;
  return MakeNode(DiffSpec{std::move(lower), std::move(upper)}, std::move(options));
}

}  // namespace kiln::llb
