#pragma once

namespace kiln::solver {

// Mistakes the stress test can plant to prove that its oracle would see them. All false in
// production: only tests pass a plan (SolverOptions::faults).
struct FaultPlan {
  bool lost_cross_link = false;  // a commit links only the first alternative of each input
  bool follower_shares_failure = false;
  bool unfreed_slot = false;  // a failed run keeps its slot
  bool key_without_selector = false;
  bool stale_digest = false;  // a content digest outlives its input's generation
  bool claim_ignores_gone = false;
  bool pending_leak = false;  // a failed run's pending links stay
  bool cancel_not_told = false;
  bool newest_ignores_seq = false;  // the child asserted first wins
  bool double_completion = false;
  bool lock_order = false;     // locks taken as listed
  bool early_release = false;  // a run does not hold its inputs
  bool leaked_handle = false;
  bool forced_lookup = false;  // ignore-cache edges take candidates
  bool forced_follows = false;
  bool no_cycle_check = false;
  bool no_last_match = false;
  bool late_member_untold = false;  // who joins a running flight sees no start
  bool ask_leak = false;            // edges whose run begins keep asking their inputs
  bool one_output_saved = false;
  bool lost_not_barred = false;
  bool digest_not_used = false;  // a known content digest does not rule out other children
};

}  // namespace kiln::solver
