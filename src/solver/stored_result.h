#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "solver/ids.h"

namespace kiln::solver {

// What an op produced and a cache source keeps; opaque to the solver, which passes it around by
// shared_ptr. While at least one pointer lives the data is leased: it is not collected, or, if
// lazy, its promise is kept. The destructor releases the lease, on whichever thread drops the last
// pointer; it must not block.
class StoredResult {
 public:
  virtual ~StoredResult() = default;
  // Not all data is here; reading it may find it gone (see lost.h). May change from true to false.
  virtual bool lazy() const = 0;
  // Of the data that is here, for export decisions and display.
  virtual int64_t size_bytes() const = 0;
  // Is that blob (named by the Lost error's `blobs`) in this result's chain?
  virtual bool Holds(const std::string& blob) const = 0;
};
using StoredResultPtr = std::shared_ptr<StoredResult>;

// A delivered result: leased data, and the edge and generation it came from, so that a holder who
// finds it lost can have it repaired (Scope::Repair). A value; copies share the lease.
class ResultHandle {
 public:
  ResultHandle() = default;
  ResultHandle(EdgeId edge, uint64_t generation, StoredResultPtr result)
      : edge_(edge), generation_(generation), result_(std::move(result)) {}

  const EdgeId& edge() const { return edge_; }
  uint64_t generation() const { return generation_; }
  // Null for an empty handle and for an empty result (scratch).
  const StoredResultPtr& result() const { return result_; }

 private:
  EdgeId edge_;
  uint64_t generation_ = 0;
  StoredResultPtr result_;
};

}  // namespace kiln::solver
