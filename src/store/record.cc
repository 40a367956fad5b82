#include "store/record.h"

#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "store/records.h"

namespace kiln::store {

// A long chain of layers must not become a deep recursion of destructors.
RecordState::~RecordState() {
  if (records != nullptr) {
    if (used) records->Used(row.num);
    records->Released();
  }
  RecordPtr next = std::move(parent);
  while (next != nullptr && next.use_count() == 1) {
    RecordPtr above = std::move(next->parent);
    next = std::move(above);
  }
}

namespace {

void Collect(const RecordPtr& top, std::vector<RecordPtr>* chain) {
  std::vector<RecordPtr> downwards;
  RecordPtr at = top;
  for (; at != nullptr && at->row.kind != RecordKind::kMerge; at = at->parent) {
    if (at->row.kind == RecordKind::kReused) {
      downwards.push_back(at->inputs.back());
      at = nullptr;
      break;
    }
    downwards.push_back(at);
  }
  if (at != nullptr) {
    for (const RecordPtr& input : at->inputs) Collect(input, chain);
  }
  chain->insert(chain->end(), downwards.rbegin(), downwards.rend());
}

}  // namespace

Status CountLayers(RecordState& record) {
  if (record.row.kind == RecordKind::kReused) return OkStatus();
  if (record.row.kind != RecordKind::kMerge) {
    record.layers = record.parent == nullptr ? 1 : record.parent->layers + 1;
    return OkStatus();
  }
  record.layers = 0;
  for (const RecordPtr& input : record.inputs) {
    record.layers += input->layers;
    if (record.layers > kMaxMergedLayers)
      return ResourceExhausted("a merge of more than {} layers is not served", kMaxMergedLayers);
  }
  return OkStatus();
}

std::vector<RecordPtr> ChainOf(const RecordPtr& top) {
  std::vector<RecordPtr> chain;
  if (top != nullptr) Collect(top, &chain);
  return chain;
}

std::vector<RecordPtr> VisibleChainOf(const RecordPtr& top) {
  std::vector<RecordPtr> chain = ChainOf(top);
  std::unordered_set<const RecordState*> seen;
  std::vector<RecordPtr> visible;
  for (auto at = chain.rbegin(); at != chain.rend(); ++at) {
    if (seen.insert(at->get()).second) visible.push_back(*at);
  }
  std::reverse(visible.begin(), visible.end());
  return visible;
}

}  // namespace kiln::store
