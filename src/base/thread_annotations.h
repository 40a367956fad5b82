#pragma once

// Clang's thread-safety analysis (https://clang.llvm.org/docs/ThreadSafetyAnalysis.html) under its
// usual names: which lock guards a member, which locks a function needs, takes or must not hold.
// gcc knows none of it and sees nothing.

#if defined(__clang__)
#define KILN_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define KILN_THREAD_ATTRIBUTE(x)
#endif

// Abseil, which comes with gRPC's headers, has some of the names and means the same by them.
#undef GUARDED_BY
#undef PT_GUARDED_BY
#undef ACQUIRED_BEFORE
#undef ACQUIRED_AFTER
#undef NO_THREAD_SAFETY_ANALYSIS

#define CAPABILITY(x) KILN_THREAD_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY KILN_THREAD_ATTRIBUTE(scoped_lockable)
// Read and written only while the lock is held; PT_: what the pointer points to.
#define GUARDED_BY(x) KILN_THREAD_ATTRIBUTE(guarded_by(x))
#define PT_GUARDED_BY(x) KILN_THREAD_ATTRIBUTE(pt_guarded_by(x))
// The order in which locks are taken. Stands on the mutex's declaration.
#define ACQUIRED_BEFORE(...) KILN_THREAD_ATTRIBUTE(acquired_before(__VA_ARGS__))
#define ACQUIRED_AFTER(...) KILN_THREAD_ATTRIBUTE(acquired_after(__VA_ARGS__))
// The caller holds the lock, before and after.
#define REQUIRES(...) KILN_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
// The caller does not hold the lock: the function takes it itself.
#define EXCLUDES(...) KILN_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) KILN_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) KILN_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define RELEASE(...) KILN_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define ASSERT_CAPABILITY(x) KILN_THREAD_ATTRIBUTE(assert_capability(x))
#define RETURN_CAPABILITY(x) KILN_THREAD_ATTRIBUTE(lock_returned(x))
// Says why beside it.
#define NO_THREAD_SAFETY_ANALYSIS KILN_THREAD_ATTRIBUTE(no_thread_safety_analysis)
