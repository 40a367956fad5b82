#pragma once

#include "base/thread_annotations.h"

// In which order the store's locks are taken (README.md, "Locks"). A mutex says ACQUIRED_AFTER the
// line above it and ACQUIRED_BEFORE the one below; clang (-Wthread-safety-beta) compares that with
// what each function takes.
namespace kiln::store::lock_order {

class CAPABILITY("line of the order") Line {};

// Above: what is held for as long as a whole operation takes (pruning, importing a chain).
inline constexpr Line kOperations{};
// Above: a room's own books (named directories, indexes).
inline constexpr Line kRooms ACQUIRED_AFTER(kOperations){};
// Above: who holds which record or blob. Below: what one object keeps (a record, a layer's index),
// and the queues of the database, the janitor and the gates, which hold nothing else.
inline constexpr Line kRecords ACQUIRED_AFTER(kRooms){};

}  // namespace kiln::store::lock_order
