#include "ops/file_op.h"

#include <optional>
#include <utility>

#include "llb/indices.h"
#include "ops/file_actions.h"
#include "ops/file_copy.h"
#include "ops/owner.h"

namespace kiln::ops {
namespace {

const pb::ChownOpt* OwnerOf(const pb::FileAction& action) {
  if (action.has_mkdir() && action.mkdir().has_owner()) return &action.mkdir().owner();
  if (action.has_mkfile() && action.mkfile().has_owner()) return &action.mkfile().owner();
  if (action.has_symlink() && action.symlink().has_owner()) return &action.symlink().owner();
  if (action.has_copy() && action.copy().has_owner()) return &action.copy().owner();
  return nullptr;
}

// Runs the actions of one op. Index spaces: inputs first, then the actions' results.
class FileOpRun {
 public:
  FileOpRun(const Services& services, const llb::Vertex& vertex, const progress::Activity& activity,
            const std::vector<store::SnapshotRef>& inputs)
      : store_(services.store),
        vertex_(vertex),
        file_(vertex.op.file()),
        activity_(activity),
        inputs_(inputs),
        results_(file_.actions_size()),
        wanted_(file_.actions_size(), false),
        uses_(file_.actions_size(), 0) {}

  Result<StepOutput> Run() {
    FindWanted();
    for (int i = 0; i < file_.actions_size(); ++i) {
      if (!wanted_[i]) continue;
      if (Status status = RunAction(i); !status.ok()) {
        Error error = std::move(status).error();
        error.AddDetail({std::string(kFileActionDetailType), std::to_string(i)});
        return error;
      }
    }
    StepOutput output;
    output.results.resize(llb::OutputCount(vertex_.op));
    for (int i = 0; i < file_.actions_size(); ++i)
      if (int64_t index = file_.actions(i).output(); index != llb::kEmpty)
        output.results[index] = results_[i].ref;
    return output;
  }

 private:
  // Either still being written (`active`), for the one action that goes on from here, or committed.
  struct ActionResult {
    store::ActiveSnapshot active;
    std::optional<store::LayerWriter> writer;
    store::SnapshotRef ref;
  };

  int64_t input_count() const { return static_cast<int64_t>(inputs_.size()); }

  void Use(int64_t index, int weight) {
    if (index < input_count()) return;
    int action = static_cast<int>(index - input_count());
    uses_[action] += weight;
    wanted_[action] = true;
  }

  // From the outputs backwards: what they need, and how often each result is used. A use that reads
  // counts double, so that only a single use as input leaves a result uncommitted.
  void FindWanted() {
    for (int i = file_.actions_size() - 1; i >= 0; --i) {
      const pb::FileAction& action = file_.actions(i);
      if (action.output() != llb::kEmpty) Use(input_count() + i, 2);
      if (!wanted_[i]) continue;
      Use(action.input(), 1);
      Use(action.secondaryinput(), 2);
      if (const pb::ChownOpt* owner = OwnerOf(action)) {
        if (owner->user().has_byname()) Use(owner->user().byname().input(), 2);
        if (owner->group().has_byname()) Use(owner->group().byname().input(), 2);
      }
    }
  }

  Status RunAction(int i) {
    TRY(activity_.Check());
    const pb::FileAction& action = file_.actions(i);
    ActionResult& result = results_[i];
    TRY(Open(action.input(), result));
    TRY_ASSIGN(std::optional<FileOwner> owner, LookUpOwner(action));
    TRY(Apply(action, owner, result));
    if (uses_[i] == 1) return OkStatus();
    return Commit(result);
  }

  Status Commit(ActionResult& result) {
    result.writer.reset();
    TRY_ASSIGN(result.ref, store_.Commit(std::move(result.active), {.description = vertex_.name}));
    return OkStatus();
  }

  // What the action works on: the unfinished result of an earlier one, or a new layer on a finished
  // one.
  Status Open(int64_t index, ActionResult& result) {
    if (index >= input_count()) {
      ActionResult& earlier = results_[index - input_count()];
      if (earlier.active.valid()) {
        result.active = std::move(earlier.active);
        result.writer = std::move(earlier.writer);
        earlier.writer.reset();
        return OkStatus();
      }
    }
    TRY_ASSIGN(result.active, store_.Prepare(activity_, RefAt(index)));
    TRY_ASSIGN(result.writer, result.active.Writer());
    return OkStatus();
  }

  store::SnapshotRef RefAt(int64_t index) const {
    if (index == llb::kEmpty) return {};
    return index < input_count() ? inputs_[index] : results_[index - input_count()].ref;
  }

  Result<store::TreeView> TreeAt(int64_t index) const {
    store::SnapshotRef ref = RefAt(index);
    if (ref.is_scratch()) return store::TreeView();
    return store_.Tree(ref);
  }

  Result<std::optional<FileOwner>> LookUpOwner(const pb::FileAction& action) const {
    const pb::ChownOpt* owner = OwnerOf(action);
    if (owner == nullptr) return std::optional<FileOwner>();
    auto tree_of = [&](const pb::UserOpt& user) -> Result<store::TreeView> {
      if (!user.has_byname()) return store::TreeView();
      int64_t index = user.byname().input();
      if (index < 0 || index >= input_count() + file_.actions_size())
        return Unknown("invalid user index: {}", index);
      return TreeAt(index);
    };
    TRY_ASSIGN(store::TreeView users, tree_of(owner->user()));
    TRY_ASSIGN(store::TreeView groups, tree_of(owner->group()));
    TRY_ASSIGN(FileOwner found, ResolveOwner(*owner, users, groups));
    return std::optional<FileOwner>(found);
  }

  Status Apply(const pb::FileAction& action, const std::optional<FileOwner>& owner,
               ActionResult& result) {
    store::LayerWriter& writer = *result.writer;
    switch (action.action_case()) {
      case pb::FileAction::kMkdir:
        return MakeDirectory(action.mkdir(), owner, writer);
      case pb::FileAction::kMkfile:
        return MakeFile(action.mkfile(), owner, writer);
      case pb::FileAction::kSymlink:
        return MakeSymlink(action.symlink(), owner, writer);
      case pb::FileAction::kRm:
        return RemovePath(action.rm(), [&] { return result.active.Tree(); }, writer);
      case pb::FileAction::kCopy: {
        TRY_ASSIGN(store::TreeView tree, TreeAt(action.secondaryinput()));
        return CopyPath({.activity = activity_,
                         .source = tree,
                         .source_is_never_written = RefAt(action.secondaryinput()).is_ephemeral(),
                         .owner = owner,
                         .writer = writer},
                        action.copy());
      }
      case pb::FileAction::ACTION_NOT_SET:
        break;
    }
    return Internal("file action without a kind");
  }

  store::Store& store_;
  const llb::Vertex& vertex_;
  const pb::FileOp& file_;
  const progress::Activity& activity_;
  const std::vector<store::SnapshotRef>& inputs_;
  std::vector<ActionResult> results_;
  std::vector<bool> wanted_;
  std::vector<int> uses_;
};

class FileOp final : public SnapshotOp {
 public:
  using SnapshotOp::SnapshotOp;
  solver::RunNeeds needs() const override { return {.slot = solver::SlotKind::kFile}; }

 protected:
  Result<StepOutput> RunStep(solver::RunContext& context,
                             const std::vector<store::SnapshotRef>& inputs) override {
    return FileOpRun(services(), vertex(), context.activity(), inputs).Run();
  }
};

}  // namespace

Result<solver::OpPtr> MakeFileOp(const Services& services, const llb::Vertex& vertex,
                                 const OpOptions& options) {
  TRY_ASSIGN(llb::KeyMap key, llb::KeyMapOf(vertex));
  return solver::OpPtr(std::make_shared<FileOp>(services, vertex, options, std::move(key)));
}

}  // namespace kiln::ops
