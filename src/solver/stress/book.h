#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "solver/stored_result.h"
#include "solver/stress/model.h"

namespace kiln::solver::stress {

struct Payload;
using PayloadPtr = std::shared_ptr<Payload>;

// One run, as the oracle remembers it.
struct RunRecord {
  int id = 0;
  int node = 0;
  int job = 0;  // whose op it was
  std::string d;
  int began = 0;  // turn
  std::vector<PayloadPtr> inputs;
  std::vector<std::string> selectors;
  std::vector<std::string> reads;
  PayloadPtr nested;
};

// The data of one output of one run.
struct Payload {
  Value value;
  int run = 0;
  int output = 0;
  std::vector<std::string> blobs;  // its own first
  int leases = 0;
};

// What the oracle knows and finds.
struct Book {
  std::vector<RunRecord> runs;
  std::vector<PayloadPtr> payloads;
  std::set<std::string> lost_blobs;
  std::map<KeyId, int> excuses;       // why an id may run once more
  std::map<KeyId, int> starts;        // runs of an id
  std::map<std::string, int> failed;  // runs of a D that failed or were cancelled
  int leases = 0;
  int turn = 0;
  std::string trace;
  bool keep_trace = false;
  uint64_t trace_hash = 1469598103934665603ull;
  std::string violation;  // the first

  void Trace(const std::string& line) {
    for (const char c : line)
      trace_hash = (trace_hash ^ static_cast<uint8_t>(c)) * 1099511628211ull;
    if (keep_trace) trace += fmt::format("{:4} {}\n", turn, line);
  }
  void Fail(const std::string& row, const std::string& what) {
    if (violation.empty()) violation = row + ": " + what;
    Trace("VIOLATION " + row + ": " + what);
  }
  bool Lost(const Payload& payload) const {
    for (const std::string& blob : payload.blobs) {
      if (lost_blobs.contains(blob)) return true;
    }
    return false;
  }
};

// A leased payload, as the solver holds it.
class StressResult final : public StoredResult {
 public:
  StressResult(Book& book, PayloadPtr payload, bool lazy)
      : book_(book), payload_(std::move(payload)), lazy_(lazy) {
    ++payload_->leases;
    ++book_.leases;
  }
  ~StressResult() override {
    --payload_->leases;
    --book_.leases;
  }
  bool lazy() const override { return lazy_; }
  void Fetch() { lazy_ = false; }
  int64_t size_bytes() const override { return 1; }
  bool Holds(const std::string& blob) const override {
    for (const std::string& mine : payload_->blobs) {
      if (mine == blob) return true;
    }
    return false;
  }
  const PayloadPtr& payload() const { return payload_; }

 private:
  Book& book_;
  PayloadPtr payload_;
  bool lazy_;
};

inline StressResult& AsStress(const StoredResultPtr& result) {
  return static_cast<StressResult&>(*result);
}

// Outside work that waits for the test loop to pick it.
class Agenda {
 public:
  explicit Agenda(Rng& rng) : rng_(rng) {}
  void Later(std::string what, std::function<void()> complete) {
    items_.emplace_back(std::move(what), std::move(complete));
  }
  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  // Takes one, at random or the oldest.
  std::pair<std::string, std::function<void()>> Take(bool oldest) {
    const size_t at = oldest ? 0 : static_cast<size_t>(rng_.Below(static_cast<int>(items_.size())));
    auto item = std::move(items_[at]);
    items_.erase(items_.begin() + static_cast<long>(at));
    return item;
  }
  void Clear() { items_.clear(); }

 private:
  Rng& rng_;
  std::vector<std::pair<std::string, std::function<void()>>> items_;
};

}  // namespace kiln::solver::stress
