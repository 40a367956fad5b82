#include "solver/stress/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

namespace kiln::solver::stress {

std::string Short(const std::string& text) { return Sha256Of(text).hex().substr(0, 16); }
std::string ContentText(const std::string& read) { return Sha256Of("content:" + read).ToString(); }

namespace {

constexpr SlotKind kKinds[] = {SlotKind::kExec, SlotKind::kFile, SlotKind::kSource};

Node MakeSource(Rng& rng, int id) {
  Node node;
  node.id = id;
  node.source = static_cast<SourceKind>(1 + rng.Below(3));
  node.outputs = rng.Percent(15) ? 2 : 1;
  node.shows_key_map = rng.Percent(50);
  node.secret = rng.Percent(15);
  node.needs.slot = SlotKind::kSource;
  node.identity = fmt::format("source {}", id);
  return node;
}

Node MakeOp(Rng& rng, int id, const std::vector<Node>& before) {
  Node node;
  node.id = id;
  node.d = Sha256Of(fmt::format("op {}", id)).ToString();
  node.identity = fmt::format("op {}", id);
  node.outputs = rng.Percent(25) ? 2 : 1;
  const int inputs = 1 + rng.Below(3);
  for (int i = 0; i < inputs; ++i) {
    // Near ones, for depth; any, for diamonds.
    const int from = rng.Percent(60) ? std::max(0, id - 1 - rng.Below(3)) : rng.Below(id);
    Node::In in;
    in.node = from;
    in.output = rng.Below(before[static_cast<size_t>(from)].outputs);
    in.selector = std::array{"", "a", "b"}[static_cast<size_t>(rng.Below(3))];
    in.content = rng.Percent(40);
    node.in.push_back(in);
  }
  node.nondeterministic = rng.Percent(12);
  node.secret = rng.Percent(12);
  node.needs.slot = kKinds[rng.Below(3)];
  for (const char* lock : {"z", "m", "a"}) {
    if (rng.Percent(20)) node.needs.locks.push_back(lock);
  }
  if (node.needs.locks.size() > 1 && rng.Percent(50)) {
    std::swap(node.needs.locks.front(), node.needs.locks.back());
  }
  return node;
}

}  // namespace

Universe Universe::Make(Rng& rng) {
  Universe universe;
  const int size = 3 + rng.Below(9);
  const int sources = 1 + rng.Below(3);
  for (int id = 0; id < size; ++id) {
    if (id < sources) {
      universe.nodes.push_back(MakeSource(rng, id));
      continue;
    }
    Node node = MakeOp(rng, id, universe.nodes);
    if (id > sources && rng.Percent(25)) {
      // A twin: the same op under another identity, perhaps reading another part of an input.
      const int twin = sources + rng.Below(id - sources);
      const Node& other = universe.nodes[static_cast<size_t>(twin)];
      node = other;
      node.id = id;
      node.identity = fmt::format("twin {} of {}", id, other.id);
      if (rng.Percent(40)) node.in[0].selector = node.in[0].selector == "a" ? "b" : "a";
    } else if (rng.Percent(15)) {
      node.nested = rng.Percent(12) ? id : rng.Below(id);
      node.needs = {};
    }
    universe.nodes.push_back(std::move(node));
  }
  // Two steps that solve each other.
  if (size - sources >= 2 && rng.Percent(5)) {
    Node& x = universe.nodes[static_cast<size_t>(size - 1)];
    Node& y = universe.nodes[static_cast<size_t>(size - 2)];
    const bool alone =
        std::all_of(universe.nodes.begin(), universe.nodes.end() - 2,
                    [&](const Node& node) { return node.d != x.d && node.d != y.d; });
    if (alone && x.d != y.d) {
      x.nested = y.id;
      y.nested = x.id;
      x.needs = y.needs = {};
    }
  }
  universe.jobs = 1 + rng.Below(6);
  return universe;
}

JobPlan Universe::Plan(Rng& rng, int id) const {
  JobPlan plan;
  plan.id = id;
  plan.session = rng.Percent(25) ? 0 : id + 1;
  const int ignore_percent = rng.Percent(35) ? 20 : 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    // One session sees one state of its folder.
    const bool fixed = nodes[i].source == SourceKind::kLocal && plan.session == 0;
    plan.va.push_back(!fixed && rng.Percent(25) ? 1 : 0);
    plan.vb.push_back(!fixed && rng.Percent(25) ? 1 : 0);
    plan.manifest.push_back(rng.Percent(30) ? 1 : 0);
    if (rng.Percent(ignore_percent)) plan.ignore.insert(static_cast<int>(i));
  }
  const int roots = 1 + rng.Below(2);
  for (int i = 0; i < roots; ++i) {
    const int size = static_cast<int>(nodes.size());
    const int node = rng.Percent(70) ? size - 1 - rng.Below(std::min(size, 2)) : rng.Below(size);
    plan.roots.emplace_back(node, rng.Below(nodes[static_cast<size_t>(node)].outputs));
  }
  plan.bad_secret = rng.Percent(15);
  return plan;
}

JobPlan Universe::Canonical() const {
  JobPlan plan;
  plan.id = -1;
  plan.session = -1;
  plan.va.assign(nodes.size(), 0);
  plan.vb = plan.manifest = plan.va;
  return plan;
}

std::vector<KeyDigest> Universe::Digests(const JobPlan& job, const Node& node) const {
  const auto at = static_cast<size_t>(node.id);
  const std::string content = fmt::format("{} {} {}", node.id, job.va[at], job.vb[at]);
  switch (node.source) {
    case SourceKind::kNone:
      return {node.d};
    case SourceKind::kStable:
      return {Sha256Of("stable " + content).ToString()};
    case SourceKind::kTwoPart:
      return {Sha256Of(fmt::format("manifest {} {}", content, job.manifest[at])).ToString(),
              Sha256Of("chain " + content).ToString()};
    case SourceKind::kLocal:
      return {"random:" + Short(fmt::format("session {} {}", job.session, node.id))};
  }
  return {};
}

std::set<int> Universe::Ancestors(const std::vector<int>& roots) const {
  std::set<int> found;
  std::vector<int> todo = roots;
  while (!todo.empty()) {
    const int id = todo.back();
    todo.pop_back();
    if (!found.insert(id).second) continue;
    for (const Node::In& in : nodes[static_cast<size_t>(id)].in) todo.push_back(in.node);
  }
  return found;
}

bool Universe::Deterministic(int id) const {
  for (const int node : Ancestors({id})) {
    const Node& at = nodes[static_cast<size_t>(node)];
    if (at.nondeterministic) return false;
    if (at.nested >= 0 && !ContainsItself(node) && !Deterministic(at.nested)) return false;
  }
  return true;
}

bool Universe::ContainsItself(int id) const {
  // Does a chain of nested graphs from here come back to a key that encloses it?
  std::function<bool(int, const std::set<std::string>&)> walk =
      [&](int node, const std::set<std::string>& open) -> bool {
    for (const int at : Ancestors({node})) {
      const Node& step = nodes[static_cast<size_t>(at)];
      if (step.nested < 0) continue;
      std::set<std::string> inner = open;
      if (!inner.insert(step.d).second) return true;
      if (walk(step.nested, inner)) return true;
    }
    return false;
  };
  return walk(id, {});
}

bool Universe::Tainted(const JobPlan& job, int id) const {
  if (job.ignore.contains(id)) return true;
  for (const Node::In& in : nodes[static_cast<size_t>(id)].in) {
    if (!in.content && Tainted(job, in.node)) return true;
  }
  return false;
}

bool Universe::RandomOnly(int id) const {
  const Node& node = nodes[static_cast<size_t>(id)];
  if (node.source == SourceKind::kLocal) return true;
  for (const Node::In& in : node.in) {
    if (!in.content && RandomOnly(in.node)) return true;
  }
  return false;
}

Value Universe::SourceValue(const JobPlan& job, const Node& node, int output) const {
  const auto at = static_cast<size_t>(node.id);
  return {Short(fmt::format("src {} {} a{}", node.id, output, job.va[at])),
          Short(fmt::format("src {} {} b{}", node.id, output, job.vb[at]))};
}

Value Universe::OpValue(const Node& node, int output, const std::vector<std::string>& reads,
                        uint64_t nonce) const {
  std::string all = fmt::format("{} {} {}", node.d, output, nonce);
  for (const std::string& read : reads) all += " " + read;
  return {Short(all + " a"), Short(all + " b")};
}

const Value& Universe::Evaluate(const JobPlan& job, int id, int output) {
  const auto key = std::make_tuple(job.id, id, output);
  if (const auto found = values_.find(key); found != values_.end()) return found->second;
  const Node& node = nodes[static_cast<size_t>(id)];
  if (node.source != SourceKind::kNone) return values_[key] = SourceValue(job, node, output);
  std::vector<std::string> reads;
  for (const Node::In& in : node.in) {
    reads.push_back(Evaluate(job, in.node, in.output).Read(in.selector));
  }
  if (node.nested >= 0) reads.push_back(Evaluate(Canonical(), node.nested, 0).Read(""));
  return values_[key] = OpValue(node, output, reads, 0);
}

}  // namespace kiln::solver::stress
