#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "solver/op.h"
#include "solver/stress/rng.h"

namespace kiln::solver::stress {

enum class SourceKind { kNone, kStable, kTwoPart, kLocal };

// One step of the seeded universe that all jobs of a seed take their graphs from.
struct Node {
  struct In {
    int node = 0;
    int output = 0;
    std::string selector;  // "", "a" or "b"
    bool content = false;
  };
  int id = 0;
  SourceKind source = SourceKind::kNone;
  std::string d;         // of ops; sources make theirs from versions
  std::string identity;  // op digest; twins share d, not this
  int outputs = 1;
  std::vector<In> in;
  bool nondeterministic = false;
  int nested = -1;  // solves this node in a graph of its own
  RunNeeds needs;
  bool secret = false;  // fails for jobs whose secret is bad
  bool shows_key_map = false;
};

struct JobPlan {
  int id = 0;
  int session = 0;                         // jobs of one session see the same local sources
  std::vector<int> va, vb;                 // versions of each node's fields (sources)
  std::vector<int> manifest;               // of two-part sources
  std::set<int> ignore;                    // nodes under ignore-cache
  std::vector<std::pair<int, int>> roots;  // (node, output)
  bool bad_secret = false;
};

// The two fields of a value.
struct Value {
  std::string a, b;
  std::string Read(const std::string& selector) const {
    return selector == "a" ? a : selector == "b" ? b : a + "|" + b;
  }
  bool operator==(const Value&) const = default;
};

std::string Short(const std::string& text);
std::string ContentText(const std::string& read);

struct Universe {
  std::vector<Node> nodes;
  int jobs = 3;

  static Universe Make(Rng& rng);
  JobPlan Plan(Rng& rng, int id) const;
  // What nested graphs see: all versions 0.
  JobPlan Canonical() const;

  std::vector<KeyDigest> Digests(const JobPlan& job, const Node& node) const;
  std::set<int> Ancestors(const std::vector<int>& roots) const;
  bool Deterministic(int node) const;
  // A nested graph that would need the step it is solved for.
  bool ContainsItself(int node) const;
  // Must the result come from a run begun after the job's arrival?
  bool Tainted(const JobPlan& job, int node) const;
  // Does the node's key rest on a random one alone?
  bool RandomOnly(int node) const;
  Value SourceValue(const JobPlan& job, const Node& node, int output) const;
  // nonce: 0 for deterministic nodes.
  Value OpValue(const Node& node, int output, const std::vector<std::string>& reads,
                uint64_t nonce) const;
  const Value& Evaluate(const JobPlan& job, int node, int output);

 private:
  std::map<std::tuple<int, int, int>, Value> values_;  // (job, node, output)
};

}  // namespace kiln::solver::stress
