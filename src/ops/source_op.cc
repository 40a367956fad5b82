#include "ops/source_op.h"

#include <utility>

#include "cachedb/snapshot_result.h"
#include "llb/cache_key.h"

namespace kiln::ops {
namespace {

class SourceOp final : public solver::Op, public std::enable_shared_from_this<SourceOp> {
 public:
  SourceOp(const Services& services, const llb::Vertex& vertex, OpOptions options,
           source::SourcePtr source)
      : services_(services),
        name_(vertex.name),
        platform_(oci::Format(vertex.platform())),
        options_(std::move(options)),
        source_(std::move(source)) {}

  solver::OpIdentity identity() const override {
    return {.kind = "source", .name = name_, .platform = platform_, .location = options_.location};
  }

  bool ShowsKeyMap() const override { return source_->shows_key(); }

  void KeyMap(int part, progress::Activity activity,
              solver::Callback<solver::KeyMapPart> done) override {
    services_.pool.Submit([self = shared_from_this(), part, activity = std::move(activity),
                           done = std::move(done)] { done(self->KeyNow(part, activity)); });
  }

  void ContentDigest(int /*input*/, solver::ResultHandle /*result*/,
                     progress::Activity /*activity*/, solver::Callback<std::string> done) override {
    done(Internal("sources have no inputs"));
  }

  void Prepare(int /*input*/, solver::ResultHandle /*result*/, progress::Activity /*activity*/,
               solver::StatusCallback done) override {
    done(Internal("sources have no inputs"));
  }

  solver::RunNeeds needs() const override { return {.slot = solver::SlotKind::kSource}; }

  void Run(std::shared_ptr<solver::RunContext> context,
           solver::Callback<solver::RunOutput> done) override {
    services_.pool.Submit(
        [self = shared_from_this(), context = std::move(context), done = std::move(done)] {
          auto output = self->RunNow(*context);
          if (output.ok()) {
            done(std::move(output));
          } else {
            done(AsStepError(std::move(output).error()));
          }
        });
  }

 private:
  Result<solver::KeyMapPart> KeyNow(int part, const progress::Activity& activity) const {
    auto key = source_->Key(activity, part);
    if (!key.ok()) return AsStepError(std::move(key).error());
    solver::KeyMapPart result{.digest = llb::SourceKeyDigest(key->key), .last = key->last};
    for (auto& [label, value] : key->parts)
      result.parts.push_back({std::move(label), std::move(value)});
    return result;
  }

  Result<solver::RunOutput> RunNow(solver::RunContext& context) const {
    TRY(context.activity().Check());
    TRY_ASSIGN(store::SnapshotRef ref, source_->Fetch(context.activity()));
    TRY_ASSIGN(solver::StoredResultPtr result,
               cachedb::SnapshotResult::Make(services_.store, std::move(ref)));
    solver::RunOutput output;
    output.results.push_back(std::move(result));
    if (auto material = source_->material()) output.capture = EncodeMaterials({*material});
    return output;
  }

  const Services services_;
  const std::string name_;
  const std::string platform_;
  const OpOptions options_;
  const source::SourcePtr source_;
};

}  // namespace

OpMaker MakeSourceOps(const Services& services, const source::Sources& sources) {
  return [services, &sources](const llb::Vertex& vertex,
                              const OpOptions& options) -> Result<solver::OpPtr> {
    const auto& attrs = vertex.op.source().attrs();
    TRY_ASSIGN(llb::SourceId id,
               llb::ParseSource(vertex.op.source().identifier(), {attrs.begin(), attrs.end()}));
    TRY_ASSIGN(source::SourcePtr source, sources.Make(id, vertex.platform()));
    return solver::OpPtr(std::make_shared<SourceOp>(services, vertex, options, std::move(source)));
  };
}

}  // namespace kiln::ops
