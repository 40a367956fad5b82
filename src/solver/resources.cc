#include "solver/resources.h"

#include <algorithm>

namespace kiln::solver {

Resources::Ticket Resources::Request(RunNeeds needs, uint64_t build,
                                     std::function<void()> granted) {
  const Ticket ticket = next_++;
  RequestState& request = requests_[ticket];
  request.locks = std::move(needs.locks);
  if (!faults_.lock_order) std::sort(request.locks.begin(), request.locks.end());
  request.locks.erase(std::unique(request.locks.begin(), request.locks.end()), request.locks.end());
  request.slot = needs.slot;
  request.build = build;
  request.granted = std::move(granted);
  Advance(ticket);
  return ticket;
}

void Resources::Advance(Ticket ticket) {
  RequestState& request = requests_.at(ticket);
  while (request.locks_taken < request.locks.size()) {
    Lock& lock = locks_[request.locks[request.locks_taken]];
    if (lock.holder == 0) lock.holder = ticket;
    if (lock.holder != ticket) {
      lock.line.push_back(ticket);
      return;
    }
    ++request.locks_taken;
  }
  if (request.slot != SlotKind::kNone && !request.has_slot && !TakeSlot(ticket, request)) return;
  if (request.granted) std::exchange(request.granted, nullptr)();
}

bool Resources::MayTake(SlotKind kind, const Share& share) const {
  const auto index = static_cast<size_t>(kind);
  const int limit = build_limits_[index];
  return slots_[index].in_use < std::max(1, limits_[index]) && (limit == 0 || share.in_use < limit);
}

bool Resources::TakeSlot(Ticket ticket, RequestState& request) {
  Pool& pool = slots_[static_cast<size_t>(request.slot)];
  Share& share = pool.builds[request.build];
  if (!MayTake(request.slot, share)) {
    share.line.push_back(ticket);
    return false;
  }
  ++pool.in_use;
  ++share.in_use;
  pool.served_last = request.build;
  request.has_slot = true;
  return true;
}

void Resources::LeaveLine(const RequestState& request, Ticket ticket) {
  auto& builds = slots_[static_cast<size_t>(request.slot)].builds;
  const auto share = builds.find(request.build);
  if (share == builds.end()) return;
  std::erase(share->second.line, ticket);
  if (share->second.in_use == 0 && share->second.line.empty()) builds.erase(share);
}

void Resources::Release(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  const RequestState request = std::move(found->second);
  requests_.erase(found);
  if (request.has_slot) {
    FreeSlot(request.slot, request.build);
  } else if (request.slot != SlotKind::kNone) {
    LeaveLine(request, ticket);
  }
  for (size_t i = 0; i < request.locks.size(); ++i) {
    if (i < request.locks_taken) {
      FreeLock(request.locks[i], ticket);
    } else if (const auto lock = locks_.find(request.locks[i]); lock != locks_.end()) {
      std::erase(lock->second.line, ticket);
    }
  }
}

void Resources::LeakSlot(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found != requests_.end()) found->second.has_slot = false;
  Release(ticket);
}

// Gives the slot back, and to the next build after the one served last that may take one.
void Resources::FreeSlot(SlotKind kind, uint64_t build) {
  Pool& pool = slots_[static_cast<size_t>(kind)];
  const auto mine = pool.builds.find(build);
  --pool.in_use;
  --mine->second.in_use;
  if (mine->second.in_use == 0 && mine->second.line.empty()) pool.builds.erase(mine);
  auto next = pool.builds.upper_bound(pool.served_last);
  for (size_t seen = 0; seen < pool.builds.size(); ++seen, ++next) {
    if (next == pool.builds.end()) next = pool.builds.begin();
    Share& share = next->second;
    if (share.line.empty() || !MayTake(kind, share)) continue;
    const Ticket ticket = share.line.front();
    share.line.pop_front();
    Advance(ticket);
    return;
  }
}

void Resources::FreeLock(const std::string& name, Ticket ticket) {
  const auto lock = locks_.find(name);
  if (lock == locks_.end() || lock->second.holder != ticket) return;
  if (lock->second.line.empty()) {
    locks_.erase(lock);
    return;
  }
  const Ticket next = lock->second.line.front();
  lock->second.line.pop_front();
  lock->second.holder = next;
  Advance(next);
}

size_t Resources::slots_in_use() const {
  size_t sum = 0;
  for (const Pool& pool : slots_) sum += static_cast<size_t>(pool.in_use);
  return sum;
}

}  // namespace kiln::solver
