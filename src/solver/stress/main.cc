// solver_stress --seeds A..B [--fault NAME|all] [--trace] [--threads N] [--replay PERCENT]
// Clean run: exit 0 if no seed violates a property. With --fault: exit 0 if some seed catches it.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "solver/stress/scenario.h"

namespace kiln::solver::stress {
namespace {

using FaultMember = bool FaultPlan::*;
const std::map<std::string, FaultMember>& Faults() {
  static const std::map<std::string, FaultMember> faults = {
      {"lost-cross-link", &FaultPlan::lost_cross_link},
      {"follower-shares-failure", &FaultPlan::follower_shares_failure},
      {"unfreed-slot", &FaultPlan::unfreed_slot},
      {"key-without-selector", &FaultPlan::key_without_selector},
      {"stale-digest", &FaultPlan::stale_digest},
      {"claim-ignores-gone", &FaultPlan::claim_ignores_gone},
      {"pending-leak", &FaultPlan::pending_leak},
      {"cancel-not-told", &FaultPlan::cancel_not_told},
      {"newest-ignores-seq", &FaultPlan::newest_ignores_seq},
      {"double-completion", &FaultPlan::double_completion},
      {"lock-order", &FaultPlan::lock_order},
      {"early-release", &FaultPlan::early_release},
      {"leaked-handle", &FaultPlan::leaked_handle},
      {"forced-lookup", &FaultPlan::forced_lookup},
      {"forced-follows", &FaultPlan::forced_follows},
      {"no-cycle-check", &FaultPlan::no_cycle_check},
      {"no-last-match", &FaultPlan::no_last_match},
      {"late-member-untold", &FaultPlan::late_member_untold},
      {"ask-leak", &FaultPlan::ask_leak},
      {"one-output-saved", &FaultPlan::one_output_saved},
      {"lost-not-barred", &FaultPlan::lost_not_barred},
      {"digest-not-used", &FaultPlan::digest_not_used},
  };
  return faults;
}

struct Flags {
  uint64_t first = 1, last = 500;
  std::string fault;
  bool trace = false;
  int threads = 1;
  int replay = 5;
};

struct Totals {
  uint64_t seeds = 0;
  long jobs = 0, runs = 0, hits = 0, failures = 0, repairs = 0, replays = 0;
  std::optional<uint64_t> bad;
  std::string violation;
};

Totals Sweep(const Flags& flags, const FaultPlan& faults, bool stop_early) {
  Totals totals;
  std::mutex mutex;
  std::atomic<uint64_t> next{flags.first};
  std::atomic<bool> stop{false};
  auto work = [&] {
    while (!stop) {
      const uint64_t seed = next.fetch_add(1);
      if (seed > flags.last) return;
      Outcome outcome = RunSeed(seed, faults, flags.trace);
      const bool replay = outcome.violation.empty() && flags.replay > 0 &&
                          seed % static_cast<uint64_t>(100 / flags.replay) == 0;
      if (replay && RunSeed(seed, faults, false).trace_hash != outcome.trace_hash) {
        outcome.violation = "replay: the same seed gave another trace";
      }
      const std::lock_guard lock(mutex);
      ++totals.seeds;
      totals.jobs += outcome.jobs;
      totals.runs += outcome.runs;
      totals.hits += outcome.hits;
      totals.failures += outcome.failures;
      totals.repairs += outcome.repairs;
      totals.replays += replay ? 1 : 0;
      if (flags.trace) std::fputs(outcome.trace.c_str(), stdout);
      if (outcome.violation.empty()) continue;
      if (!stop_early) fmt::print("seed {}: {}\n", seed, outcome.violation);
      if (!totals.bad || seed < *totals.bad) {
        totals.bad = seed;
        totals.violation = outcome.violation;
      }
      if (stop_early) stop = true;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < flags.threads; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  return totals;
}

int RunFaults(const Flags& flags) {
  int missed = 0;
  for (const auto& [name, member] : Faults()) {
    if (flags.fault != "all" && flags.fault != name) continue;
    FaultPlan plan;
    plan.*member = true;
    const Totals totals = Sweep(flags, plan, true);
    if (totals.bad) {
      fmt::print("{:24} caught by seed {:5}: {}\n", name, *totals.bad, totals.violation);
    } else {
      fmt::print("{:24} NOT CAUGHT in {} seeds\n", name, totals.seeds);
      ++missed;
    }
    std::fflush(stdout);
  }
  return missed == 0 ? 0 : 1;
}

int RunClean(const Flags& flags) {
  const auto begin = std::chrono::steady_clock::now();
  const Totals totals = Sweep(flags, FaultPlan{}, false);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print(
      "{} seeds in {:.1f} s ({:.0f}/s, {} threads): {} jobs, {} runs, {} hits, {} failed "
      "asks, {} repairs, {} replayed; {}\n",
      totals.seeds, seconds, static_cast<double>(totals.seeds) / seconds, flags.threads,
      totals.jobs, totals.runs, totals.hits, totals.failures, totals.repairs, totals.replays,
      totals.bad ? "VIOLATIONS" : "clean");
  return totals.bad ? 1 : 0;
}

int Main(int argc, char** argv) {
  SetLogLevel(LogLevel::kOff);  // failed saves are part of the game
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (arg == "--trace") {
      flags.trace = true;
      continue;
    }
    ++i;
    if (arg == "--seeds") {
      const char* dots = std::strstr(value, "..");
      flags.first = std::strtoull(value, nullptr, 10);
      flags.last = dots != nullptr ? std::strtoull(dots + 2, nullptr, 10) : flags.first;
    } else if (arg == "--fault" && (Faults().contains(value) || !std::strcmp(value, "all"))) {
      flags.fault = value;
    } else if (arg == "--threads") {
      flags.threads = std::max(1, std::atoi(value));
    } else if (arg == "--replay") {
      flags.replay = std::atoi(value);
    } else {
      fmt::print(stderr,
                 "usage: solver_stress --seeds A..B [--fault NAME|all] [--trace] "
                 "[--threads N] [--replay PERCENT]\nfaults:\n");
      for (const auto& [name, member] : Faults()) fmt::print(stderr, "  {}\n", name);
      return 2;
    }
  }
  return flags.fault.empty() ? RunClean(flags) : RunFaults(flags);
}

}  // namespace
}  // namespace kiln::solver::stress

int main(int argc, char** argv) { return kiln::solver::stress::Main(argc, argv); }
