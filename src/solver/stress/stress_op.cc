#include "solver/stress/stress_op.h"

#include <algorithm>

#include "solver/lost.h"

namespace kiln::solver::stress {

std::vector<VertexSpec> GraphOf(Field& field, const JobPlan& job, const std::vector<int>& roots,
                                std::map<int, size_t>& at) {
  std::vector<VertexSpec> graph;
  for (const int id : field.universe.Ancestors(roots)) {
    const Node& node = field.universe.nodes[static_cast<size_t>(id)];
    VertexSpec spec;
    spec.name = fmt::format("node {}", id);
    spec.op_digest = node.identity;
    for (const KeyDigest& digest : field.universe.Digests(job, node)) spec.op_digest += digest;
    std::string seen = spec.op_digest;
    for (const Node::In& in : node.in) {
      spec.inputs.push_back({at.at(in.node), in.output});
      seen += graph[at.at(in.node)].digest.ToString();
    }
    spec.digest = Sha256Of(seen);
    spec.ignore_cache = job.ignore.contains(id);
    spec.op = std::make_shared<StressOp>(field, node, job);
    at[id] = graph.size();
    graph.push_back(std::move(spec));
  }
  return graph;
}

void StressOp::KeyMap(int part, progress::Activity, Callback<KeyMapPart> done) {
  field_.agenda.Later(fmt::format("key {}", node_.id), [this, part, done] {
    const auto digests = field_.universe.Digests(job_, node_);
    KeyMapPart map;
    map.digest = digests.at(static_cast<size_t>(part));
    map.last = static_cast<size_t>(part) + 1 == digests.size();
    for (const Node::In& in : node_.in) map.inputs.push_back({in.selector, in.content, ""});
    map.parts.push_back({"d", map.digest});
    done(std::move(map));
  });
}

void StressOp::ContentDigest(int input, ResultHandle handle, progress::Activity,
                             Callback<std::string> done) {
  auto& used = field_.in_use[static_cast<size_t>(SlotKind::kHash)];
  if (++used > field_.slots[static_cast<size_t>(SlotKind::kHash)]) {
    field_.book.Fail("bounds", "more digests than hash slots");
  }
  field_.agenda.Later(fmt::format("digest {}", node_.id), [this, input, handle, done] {
    --field_.in_use[static_cast<size_t>(SlotKind::kHash)];
    if (handle.result() == nullptr) {
      field_.book.Fail("lease", "a result was released while it was digested");
      return done(Internal("no result"));
    }
    StressResult& result = AsStress(handle.result());
    if (result.lazy() && field_.book.Lost(*result.payload())) {
      ++field_.book.excuses["lost"];
      return done(LostError(result.payload()->blobs, "blob unknown"));
    }
    result.Fetch();
    done(ContentText(result.payload()->value.Read(node_.in[static_cast<size_t>(input)].selector)));
  });
}

void StressOp::Prepare(int, ResultHandle handle, progress::Activity, StatusCallback done) {
  field_.agenda.Later(fmt::format("prepare {}", node_.id), [this, handle, done] {
    StressResult& result = AsStress(handle.result());
    if (result.lazy() && field_.book.Lost(*result.payload())) {
      return done(LostError({result.payload()->blobs.front()}, "blob unknown"));
    }
    result.Fetch();
    done(OkStatus());
  });
}

void StressOp::TakeResources() {
  const auto kind = static_cast<size_t>(node_.needs.slot);
  if (node_.needs.slot != SlotKind::kNone && ++field_.in_use[kind] > field_.slots[kind]) {
    field_.book.Fail("bounds", fmt::format("more runs than slots of kind {}", kind));
  }
  const std::set<std::string> locks(node_.needs.locks.begin(), node_.needs.locks.end());
  for (const std::string& lock : locks) {
    if (++field_.locks[lock] > 1) field_.book.Fail("bounds", "two runs hold lock " + lock);
  }
}

void StressOp::FreeResources() {
  if (node_.needs.slot != SlotKind::kNone) {
    --field_.in_use[static_cast<size_t>(node_.needs.slot)];
  }
  const std::set<std::string> locks(node_.needs.locks.begin(), node_.needs.locks.end());
  for (const std::string& lock : locks) --field_.locks[lock];
}

void StressOp::Run(std::shared_ptr<RunContext> context, Callback<RunOutput> done) {
  for (const ResultHandle& input : context->inputs()) {
    if (input.result() != nullptr) continue;
    field_.book.Fail("lease", "an input was released before the run");
    return done(Internal("no input"));
  }
  TakeResources();
  Book& book = field_.book;
  RunRecord run;
  run.id = static_cast<int>(book.runs.size());
  run.node = node_.id;
  run.job = job_.id;
  run.d = field_.universe.Digests(job_, node_).front();
  run.began = book.turn;
  for (size_t i = 0; i < node_.in.size(); ++i) {
    const StressResult& input = AsStress(context->inputs()[i].result());
    run.inputs.push_back(input.payload());
    run.selectors.push_back(node_.in[i].selector);
    run.reads.push_back(input.payload()->value.Read(node_.in[i].selector));
    const RunRecord& from = book.runs[static_cast<size_t>(input.payload()->run)];
    if (job_.id >= 0 && field_.universe.Tainted(job_, node_.in[i].node) &&
        from.began < field_.arrivals.at(job_.id)) {
      book.Fail("forced", fmt::format("run {} reads run {}, begun before job {} came", run.id,
                                      from.id, job_.id));
    }
  }
  book.Trace(fmt::format("run {} of node {} for job {}", run.id, node_.id, job_.id));
  ++(node_.source != SourceKind::kNone ? field_.source_runs : field_.op_runs);
  for (const std::string& session : context->activity().sessions->SessionIds()) {
    if (field_.gone_sessions.contains(session)) {
      book.Fail("isolation", "a run was given the session of a discarded job");
    }
  }
  if (context->activity().sessions->SessionIds().empty()) {
    book.Fail("isolation", fmt::format("run {} was given no session", run.id));
  }
  auto going = std::make_shared<Going>();
  going->context = context;
  going->done = std::move(done);
  going->run = run.id;
  going->steps = field_.rng.Below(3);
  going->stall = field_.rng.Percent(field_.weather.stall);
  going->deaf = field_.rng.Percent(field_.weather.ignore_cancel);
  going->fails = field_.rng.Percent(field_.weather.fail) || (node_.secret && job_.bad_secret);
  field_.live[run.id] = {run.id, this, context, context->activity().cancel};
  book.runs.push_back(std::move(run));
  Log(*going);
  if (node_.nested >= 0) SolveNested(going);
  field_.agenda.Later(fmt::format("run {}", node_.id), [this, going] { Step(going); });
}

void StressOp::Log(const Going& going) {
  progress::VertexLog log;
  log.timestamp = field_.clock.Now();
  log.data = fmt::format("{} {}", going.run, field_.logged[going.run]++);
  going.context->activity().sink->OnLog(log);
}

void StressOp::SolveNested(const std::shared_ptr<Going>& going) {
  auto scope = going->context->OpenScope();
  if (!scope.ok()) {
    going->nested_failed = true;
    return;
  }
  going->scope = *scope;
  std::map<int, size_t> at;
  auto ids = going->scope->Load(GraphOf(field_, field_.universe.Canonical(), {node_.nested}, at));
  going->nested_open = true;
  going->scope->Get({(*ids)[at.at(node_.nested)], 0}, [this, going](Result<ResultHandle> result) {
    going->nested_open = false;
    if (!result.ok() || result->result() == nullptr) {
      going->nested_failed = true;
      if (field_.book.keep_trace) field_.book.Trace("a nested graph fails");
      return;
    }
    field_.book.runs[static_cast<size_t>(going->run)].nested = AsStress(result->result()).payload();
  });
}

void StressOp::Step(const std::shared_ptr<Going>& going) {
  const bool cancelled = going->context->activity().cancel.cancelled();
  const bool heard = cancelled && !going->deaf;
  const bool waits =
      going->nested_open || (going->stall && !field_.weather.drain) || going->steps-- > 0;
  if (!heard && waits) {
    if (!going->stall && !going->nested_open) Log(*going);
    field_.agenda.Later(fmt::format("run {}", node_.id), [this, going] { Step(going); });
    return;
  }
  if (heard) return End(going, Cancelled("context canceled"));
  if (going->fails || going->nested_failed) {
    return End(going, Unknown("fail:{}:{}", job_.id, node_.id));
  }
  End(going, Output(*going));
}

RunOutput StressOp::Output(const Going& going) {
  Book& book = field_.book;
  const RunRecord& run = book.runs[static_cast<size_t>(going.run)];
  std::vector<std::string> reads = run.reads;
  if (run.nested != nullptr) reads.push_back(run.nested->value.Read(""));
  RunOutput output;
  for (int n = 0; n < node_.outputs; ++n) {
    auto payload = std::make_shared<Payload>();
    payload->value =
        node_.source != SourceKind::kNone
            ? field_.universe.SourceValue(job_, node_, n)
            : field_.universe.OpValue(node_, n, reads, node_.nondeterministic ? run.id + 1 : 0);
    payload->run = going.run;
    payload->output = n;
    payload->blobs.push_back(fmt::format("blob {}.{}", going.run, n));
    if (!run.inputs.empty()) {  // a layer on its first input's chain
      const auto& below = run.inputs.front()->blobs;
      payload->blobs.insert(payload->blobs.end(), below.begin(), below.end());
    }
    book.payloads.push_back(payload);
    output.results.push_back(std::make_shared<StressResult>(book, payload, false));
  }
  return output;
}

void StressOp::End(const std::shared_ptr<Going>& going, Result<RunOutput> output) {
  field_.book.Trace(
      fmt::format("run {} ends: {}", going->run, output.ok() ? "ok" : output.error().ToString()));
  FreeResources();
  if (!output.ok()) ++field_.book.failed[field_.book.runs[static_cast<size_t>(going->run)].d];
  field_.live.erase(going->run);
  if (going->scope != nullptr) going->scope->Discard();
  going->scope = nullptr;
  going->context = nullptr;
  const auto done = std::move(going->done);
  going->done = nullptr;
  done(std::move(output));
}

}  // namespace kiln::solver::stress
