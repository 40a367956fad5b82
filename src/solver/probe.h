#pragma once

#include <string>
#include <vector>

#include "solver/cache_source.h"
#include "solver/ids.h"

namespace kiln::solver {

// What tests look at while the engine works. Called on the loop.
class Probe {
 public:
  struct Alternative {
    KeyId parent;
    std::string selector;
  };
  struct RunStart {
    uint64_t flight = 0;
    VertexId vertex;
    int output = 0;
    KeyDigest digest;
    // Per input the local ids that may be looked up now, by the rules of matching.
    std::vector<std::vector<Alternative>> usable;
    std::vector<KeyId> root_ids;          // of ops without inputs
    std::vector<std::vector<KeyId>> ids;  // per output; empty: not to be saved
    bool forced = false;
    bool save_only = false;
    bool solitary = false;  // flies beside another of the same id
    std::vector<std::pair<uint64_t, RecordId>> barred;
  };
  struct Hit {
    VertexId vertex;
    int output = 0;
    RecordInfo record;
    uint64_t source = 0;
    uint64_t edge = 0;  // serial
    uint64_t seq = 0;   // smallest over the inputs, of the child that the record is of
    // What else could have been chosen from that source: (seq, record).
    std::vector<std::pair<uint64_t, RecordInfo>> rivals;
    // Content keys known of inputs when the record was chosen; "" where none.
    std::vector<KeyId> content;
  };
  virtual ~Probe() = default;
  virtual void OnRunStart(const RunStart&) {}
  virtual void OnRunWithdrawn(uint64_t /*flight*/) {}
  virtual void OnHit(const Hit&) {}
  virtual void OnImporterLate() {}
  // The edge's result was lost; these records of its sources with it.
  virtual void OnLost(uint64_t /*edge*/,
                      const std::vector<std::pair<uint64_t, RecordId>>& /*records*/) {}
};

}  // namespace kiln::solver
