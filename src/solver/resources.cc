#include "solver/resources.h"

#include <algorithm>

namespace kiln::solver {

Resources::Ticket Resources::Request(RunNeeds needs, std::function<void()> granted) {
  const Ticket ticket = next_++;
  RequestState& request = requests_[ticket];
  request.locks = std::move(needs.locks);
  if (!faults_.lock_order) std::sort(request.locks.begin(), request.locks.end());
  request.locks.erase(std::unique(request.locks.begin(), request.locks.end()), request.locks.end());
  request.slot = needs.slot;
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
  if (request.slot != SlotKind::kNone) {
    const auto kind = static_cast<size_t>(request.slot);
    if (in_use_[kind] >= std::max(1, limits_[kind])) {
      slot_lines_[kind].push_back(ticket);
      return;
    }
    ++in_use_[kind];
    request.has_slot = true;
  }
  if (request.granted) std::exchange(request.granted, nullptr)();
}

void Resources::Release(Ticket ticket) {
  const auto found = requests_.find(ticket);
  if (found == requests_.end()) return;
  const RequestState request = std::move(found->second);
  requests_.erase(found);
  std::erase(slot_lines_[static_cast<size_t>(request.slot)], ticket);
  if (request.has_slot) FreeSlot(request.slot);
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

void Resources::FreeSlot(SlotKind kind) {
  const auto index = static_cast<size_t>(kind);
  --in_use_[index];
  if (slot_lines_[index].empty()) return;
  const Ticket next = slot_lines_[index].front();
  slot_lines_[index].pop_front();
  Advance(next);
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
  for (const int count : in_use_) sum += static_cast<size_t>(count);
  return sum;
}

}  // namespace kiln::solver
