#include "ops/snapshot_op.h"

#include <utility>

#include "base/strings.h"
#include "cachedb/snapshot_result.h"
#include "oci/platform.h"
#include "solver/lost.h"
#include "store/content_hash.h"

namespace kiln::ops {
namespace {

std::vector<store::HashSelector> ToHashSelectors(
    const std::vector<llb::ContentSelector>& selectors) {
  std::vector<store::HashSelector> result;
  for (const llb::ContentSelector& selector : selectors)
    result.push_back({.path = selector.path,
                      .wildcard = selector.wildcard,
                      .follow_links = selector.follow_links,
                      .include = selector.include_patterns,
                      .exclude = selector.exclude_patterns,
                      .required_paths = selector.required_paths,
                      .follows_as_copies_do = selector.of_copy});
  return result;
}

std::string LabelOf(const llb::KeyInput& input) {
  if (!input.content) return "";
  std::vector<std::string> paths;
  for (const llb::ContentSelector& selector : input.selectors) paths.push_back(selector.path);
  return "content of " + Join(paths, ", ");
}

bool IsLarge(const pb::Op& op) { return op.ByteSizeLong() > (64 << 10); }

}  // namespace

Status EnsureLocal(store::Store& store, const progress::Activity& activity,
                   const solver::StoredResultPtr& result) {
  if (result == nullptr || !result->lazy()) return OkStatus();
  TRY(cachedb::ToSolverError(store.EnsureLocal(activity, cachedb::RefOf(result))));
  static_cast<cachedb::SnapshotResult&>(*result).MarkLocal();
  return OkStatus();
}

Error AsStepError(Error error) {
  switch (error.code()) {
    case Code::kCancelled:
    case Code::kDeadlineExceeded:
    case Code::kResourceExhausted:
    case Code::kInternal:
    case Code::kUnavailable:
    case Code::kUnimplemented:
      return error;
    default:
      if (!solver::IsLost(error)) error.set_code(Code::kUnknown);
      return error;
  }
}

SnapshotOp::SnapshotOp(const Services& services, llb::Vertex vertex, OpOptions options,
                       llb::KeyMap key)
    : services_(services),
      vertex_(std::move(vertex)),
      options_(std::move(options)),
      key_(std::move(key)),
      large_parts_(IsLarge(vertex_.op) ? KeyPartsOf(vertex_) : std::vector<solver::KeyPart>()),
      output_count_(static_cast<int>(llb::OutputCount(vertex_.op))) {}

solver::OpIdentity SnapshotOp::identity() const {
  return {.kind = std::string(llb::KindName(vertex_.kind())),
          .name = vertex_.name,
          .platform = oci::Format(vertex_.platform()),
          .location = options_.location};
}

void SnapshotOp::KeyMap(int /*part*/, progress::Activity /*activity*/,
                        solver::Callback<solver::KeyMapPart> done) {
  solver::KeyMapPart part;
  part.digest = key_.digest.ToString();
  for (const llb::KeyInput& input : key_.inputs)
    part.inputs.push_back({.selector = input.selector ? input.selector->ToString() : "",
                           .has_content_digest = input.content,
                           .label = LabelOf(input)});
  done(std::move(part));
}

std::vector<solver::KeyPart> SnapshotOp::KeyParts() const {
  return large_parts_.empty() ? KeyPartsOf(vertex_) : large_parts_;
}

Result<std::string> SnapshotOp::DigestOf(int input, const solver::ResultHandle& result,
                                         const progress::Activity& activity) const {
  CHECK(input >= 0 && static_cast<size_t>(input) < key_.inputs.size());
  auto selectors = ToHashSelectors(key_.inputs[input].selectors);
  store::SnapshotRef ref = cachedb::RefOf(result);
  if (ref.is_scratch()) {
    TRY_ASSIGN(Digest digest, store::ScratchContentDigest(selectors));
    return digest.ToString();
  }
  TRY(EnsureLocal(services_.store, activity, result.result()));
  auto compute = [&]() -> Result<Digest> {
    TRY_ASSIGN(store::TreeView tree, services_.store.Tree(ref));
    return store::ContentDigest(activity, tree, selectors);
  };
  auto digest = compute();
  if (!digest.ok()) {
    Error error = cachedb::ToSolverError(std::move(digest).error());
    if (!solver::IsLost(error))
      error.AddContext(fmt::format("failed to calculate checksum of ref {}", ref.id()));
    return error;
  }
  return digest->ToString();
}

void SnapshotOp::ContentDigest(int input, solver::ResultHandle result, progress::Activity activity,
                               solver::Callback<std::string> done) {
  services_.pool.Submit([self = shared_from_this(), input, result = std::move(result),
                         activity = std::move(activity), done = std::move(done)] {
    auto digest = self->DigestOf(input, result, activity);
    if (digest.ok()) {
      done(std::move(digest));
    } else {
      done(AsStepError(std::move(digest).error()));
    }
  });
}

void SnapshotOp::Prepare(int input, solver::ResultHandle result, progress::Activity activity,
                         solver::StatusCallback done) {
  if (!ReadsInput(input) || result.result() == nullptr || !result.result()->lazy())
    return done(OkStatus());
  services_.pool.Submit([self = shared_from_this(), result = std::move(result),
                         activity = std::move(activity), done = std::move(done)] {
    Status status = EnsureLocal(self->services_.store, activity, result.result());
    if (status.ok()) {
      done(OkStatus());
    } else {
      done(AsStepError(std::move(status).error()));
    }
  });
}

Result<solver::RunOutput> SnapshotOp::RunNow(solver::RunContext& context) {
  TRY(context.activity().Check());
  std::vector<store::SnapshotRef> inputs;
  for (const solver::ResultHandle& input : context.inputs())
    inputs.push_back(cachedb::RefOf(input));
  auto output = RunStep(context, inputs);
  if (!output.ok()) return AsStepError(std::move(output).error());
  if (output->results.size() != static_cast<size_t>(output_count_))
    return Internal("{} yielded {} results, not {}", vertex_.name, output->results.size(),
                    output_count_);
  solver::RunOutput run;
  run.capture = std::move(output->capture);
  for (store::SnapshotRef& ref : output->results) {
    TRY_ASSIGN(solver::StoredResultPtr result,
               cachedb::SnapshotResult::Make(services_.store, std::move(ref)));
    run.results.push_back(std::move(result));
  }
  return run;
}

void SnapshotOp::Run(std::shared_ptr<solver::RunContext> context,
                     solver::Callback<solver::RunOutput> done) {
  services_.pool.Submit([self = shared_from_this(), context = std::move(context),
                         done = std::move(done)] { done(self->RunNow(*context)); });
}

}  // namespace kiln::ops
