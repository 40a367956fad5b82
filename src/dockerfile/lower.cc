#include "dockerfile/lower.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "base/strings.h"
#include "dockerfile/epoch.h"
#include "dockerfile/errors.h"
#include "dockerfile/external.h"
#include "dockerfile/globals.h"
#include "dockerfile/parser.h"
#include "dockerfile/stage_graph.h"
#include "dockerfile/stage_names.h"
#include "dockerfile/suggest.h"

namespace kiln::dockerfile {
namespace {

struct StageWork {
  const Stage* stage = nullptr;
  std::string base;
  oci::Platform platform;
  bool reached = false;
  int pass = 0;                     // of the search for what is needed, in which it was reached
  bool begun = false;               // its tree can be read
  External* replacement = nullptr;  // a named context that stands for the whole stage
  int base_stage = -1;
  External* external = nullptr;
  std::deque<Instruction> triggers;  // they stay where they are
  int children = 0;                  // stages that begin with this one and are not lowered yet
  StageState state;
};

class Lowering {
 public:
  explicit Lowering(const LowerInput& in)
      : in_(in),
        names_(in.file),
        graph_(in.file),
        externals_(in.options, in.host, in.options.IsMultiPlatform()) {}

  Result<Lowered> Convert() {
    TRY_ASSIGN(globals_,
               GlobalVariables(in_.options, in_.file, in_.source,
                               AutomaticVariables(in_.options, in_.file, in_.host.build_platform(),
                                                  in_.platform)));
    TRY(SetEpoch());
    TRY(OpenStages());
    TRY_ASSIGN(const int target, Target());
    TRY(graph_.Link(in_.file, in_.source));
    TRY(Reach(target));
    ShowImages();
    TRY(LowerStages(target));
    StageWork& work = work_[static_cast<std::size_t>(target)];
    if (work.state.local != nullptr) work.state.local->UseAll();
    externals_.FinishLocals();
    return Finish(work);
  }

 private:
  const Stage& StageAt(int index) const { return in_.file.stages[static_cast<std::size_t>(index)]; }

  // From now on the variable holds what it stands for, if that is known.
  Status SetEpoch() {
    std::string text = in_.options.BuildArg(kEpochArg).value_or("");
    const auto global = globals_.find(kEpochArg);
    if (text.empty() && global != globals_.end()) text = global->second;
    TRY_ASSIGN(epoch_, ResolveEpoch(text, in_, globals_, externals_));
    if (global == globals_.end()) return OkStatus();
    if (epoch_) {
      global->second = fmt::format("{}", *epoch_);
    } else {
      globals_.erase(global);
    }
    return OkStatus();
  }

  // Expands what FROM lines say.
  Status OpenStages() {
    work_.resize(in_.file.stages.size());
    for (const Stage& stage : in_.file.stages) {
      StageWork& work = work_[static_cast<std::size_t>(stage.index)];
      work.stage = &stage;
      TRY(WithSource(OpenStage(stage, work), in_.source, stage.head.lines));
    }
    return OkStatus();
  }

  Status OpenStage(const Stage& stage, StageWork& work) const {
    ExpandOptions options;
    options.escape = in_.file.escape;
    TRY_ASSIGN(Expanded base, Expand(stage.from.base, LookupIn(globals_), options));
    if (base.text.empty()) {
      return Unknown("base name ({}) should not be blank", stage.from.base);
    }
    work.base = std::move(base.text);
    work.base_stage = names_.Before(work.base, stage.index).value_or(-1);
    work.platform = in_.platform;
    if (stage.from.platform.empty()) return OkStatus();
    TRY_ASSIGN_CTX(const Expanded platform,
                   Expand(stage.from.platform, LookupIn(globals_), options),
                   "failed to process arguments for platform ");
    if (platform.text.empty()) {
      return Unknown("empty platform value from expression {}{}", stage.from.platform,
                     NearestGlobal(platform.missing));
    }
    TRY_ASSIGN_CTX(work.platform, oci::ParsePlatform(platform.text), "failed to parse platform {}",
                   stage.from.platform);
    work.platform = oci::Normalize(std::move(work.platform));
    return OkStatus();
  }

  // " (did you mean X?)" for the first of some unset variables that looks like one there is.
  std::string NearestGlobal(const std::set<std::string, std::less<>>& missing) const {
    std::vector<std::string> known;
    for (const auto& [name, value] : globals_) known.push_back(name);
    for (const std::string& name : missing) {
      const std::string nearest = NearestVariable(name, known);
      if (!nearest.empty()) return fmt::format(" (did you mean {}?)", nearest);
    }
    return "";
  }

  Result<int> Target() const {
    if (in_.options.target.empty()) return static_cast<int>(work_.size()) - 1;
    const auto found = names_.Last(ToLower(in_.options.target));
    if (found) return *found;
    const std::string nearest = NearestVariable(in_.options.target, graph_.StageNames());
    return Unknown("target stage {} could not be found{}", Quoted(in_.options.target),
                   nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest));
  }

  // Finds the stages and images the target needs. Base images may add triggers, and these new
  // needs.
  Status Reach(int target) {
    std::vector<int> queue = {target};
    if (in_.all_stages) {
      queue.clear();
      for (const Stage& stage : in_.file.stages) queue.push_back(stage.index);
    }
    for (int pass = 0; !queue.empty(); ++pass) {
      TRY_ASSIGN(const std::vector<int> found, ReachFrom(std::move(queue), pass));
      TRY(CheckNames());
      externals_.ResolvePending();
      for (const int index : found) TRY(CheckFound(graph_.node(index)));
      TRY_ASSIGN(queue, FindTriggers(found));
    }
    return OkStatus();
  }

  // What the nodes of `queue` lead to and was not known to be needed before, in order.
  Result<std::vector<int>> ReachFrom(std::vector<int> queue, int pass) {
    std::vector<int> found;
    while (!queue.empty()) {
      const int index = queue.back();
      queue.pop_back();
      TreeNode& node = graph_.node(index);
      if (node.stage < 0) {
        if (node.external != nullptr) continue;
        Result<External*> external = externals_.Need(node.name, in_.platform);
        TRY_ASSIGN(node.external, WithSource(std::move(external), in_.source, node.place));
      } else {
        StageWork& work = work_[static_cast<std::size_t>(node.stage)];
        if (std::exchange(work.reached, true)) continue;
        work.pass = pass;
        TRY(WithSource(ReachBase(work, queue), in_.source, node.place));
        const std::vector<int>& needs = graph_.NeedsOf(node.stage);
        queue.insert(queue.end(), needs.begin(), needs.end());
      }
      found.push_back(index);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  Status ReachBase(StageWork& work, std::vector<int>& queue) {
    if (!work.stage->from.name.empty()) {
      TRY_ASSIGN(work.replacement, externals_.Context(work.stage->from.name, work.platform));
      if (work.replacement != nullptr) {
        work.base_stage = -1;
        return OkStatus();
      }
    }
    if (work.base_stage >= 0) {
      ++work_[static_cast<std::size_t>(work.base_stage)].children;
      queue.push_back(work.base_stage);
      return OkStatus();
    }
    TRY_ASSIGN(work.external, externals_.Need(work.base, work.platform));
    return OkStatus();
  }

  // Also what no target needs has to have a name that could be an image's.
  Status CheckNames() {
    for (; checked_names_ < static_cast<int>(graph_.size()); ++checked_names_) {
      const TreeNode& node = graph_.node(checked_names_);
      std::string name = node.name;
      if (node.stage >= 0) {
        const StageWork& work = work_[static_cast<std::size_t>(node.stage)];
        if (work.base_stage >= 0) continue;
        name = work.base;
      }
      TRY(WithSource(CheckTreeName(name), in_.source, node.place));
    }
    return OkStatus();
  }

  // What was looked up for a node has to be there.
  Status CheckFound(const TreeNode& node) const {
    const External* external = node.external;
    if (node.stage >= 0) {
      const StageWork& work = work_[static_cast<std::size_t>(node.stage)];
      external = work.replacement != nullptr ? work.replacement : work.external;
    }
    if (external == nullptr || !external->failure) return OkStatus();
    Error error = *external->failure;
    if (external->context_key.empty()) {
      error = WithNearestTree(std::move(error), external->name, graph_.StageNames());
    }
    return WithSource(std::move(error), in_.source, node.place);
  }

  // Tells of the images that were found.
  void ShowImages() const {
    if (in_.observer == nullptr) return;
    const auto show = [this](const External& image, LineRange lines) {
      const bool known = image.request && image.context_key.empty() && !image.failure &&
                         !image.scratch && image.has_config;
      if (known) in_.observer->OnImage(image.name, lines, image.platform, image.config.platform);
    };
    for (const StageWork& work : work_) {
      if (work.reached && work.external != nullptr) show(*work.external, work.stage->head.lines);
    }
    for (int i = 0; i < static_cast<int>(graph_.size()); ++i) {
      const TreeNode& node = graph_.node(i);
      if (node.external != nullptr) show(*node.external, node.lines);
    }
  }

  // Reads the triggers that stages have from what they begin with; returns what these need.
  Result<std::vector<int>> FindTriggers(const std::vector<int>& nodes) {
    std::vector<int> needed;
    for (const int index : nodes) {
      const int stage = graph_.node(index).stage;
      if (stage < 0) continue;
      StageWork& work = work_[static_cast<std::size_t>(stage)];
      const LineRange lines = work.stage->head.lines;
      for (const std::string& text : TriggersFor(work)) {
        auto trigger = ParseTrigger(text, in_.file.escape);
        if (!trigger.ok()) return WithSource(std::move(trigger).error(), in_.source, lines);
        work.triggers.push_back(std::move(trigger).value());
        const Instruction& kept = work.triggers.back();
        TRY(WithSource(graph_.LinkTrigger(stage, kept, lines, in_.file.escape), in_.source, lines));
        const std::vector<int>& sources = graph_.Sources(kept);
        needed.insert(needed.end(), sources.begin(), sources.end());
      }
    }
    return needed;
  }

  std::vector<std::string> TriggersFor(const StageWork& work) const {
    std::vector<std::string> texts;
    if (work.base_stage >= 0) {
      const StageWork& base = work_[static_cast<std::size_t>(work.base_stage)];
      for (const Instruction& instruction : base.stage->instructions) {
        const auto* onbuild = std::get_if<Onbuild>(&instruction.body);
        if (onbuild != nullptr) texts.push_back(onbuild->trigger);
      }
      return texts;
    }
    const External* external = work.replacement != nullptr ? work.replacement : work.external;
    return external->config.config.on_build;
  }

  Status LowerStages(int target) {
    const LowerContext context{
        in_.options,
        in_.source,
        in_.llb_source,
        in_.file.escape,
        globals_,
        in_.options.IsMultiPlatform(),
        epoch_,
        in_.main_context,
        [this](const Instruction& instruction, int user, std::size_t place, const Mount* mount) {
          return TreeOf(instruction, user, place, mount);
        },
        in_.observer};
    for (StageWork& work : work_) {  // these are there, wherever they stand
      if (work.replacement == nullptr) continue;
      TRY(WithSource(Begin(context, work), in_.source, work.stage->head.lines));
    }
    for (StageWork& work : work_) {
      if (!work.reached || work.replacement != nullptr) continue;
      TRY(WithSource(Begin(context, work), in_.source, work.stage->head.lines));
      if (in_.observer != nullptr) in_.observer->OnStage(*work.stage, work.base_stage);
      StageLowering lowering(context, work.state);
      // Every trigger counts, but not for the FROM before them.
      work.state.steps += static_cast<int>(work.triggers.size());
      for (const Instruction& trigger : work.triggers) {
        TRY(lowering.ApplyTrigger(trigger, work.stage->head.lines));
      }
      for (const Instruction& instruction : work.stage->instructions) {
        TRY(lowering.Apply(instruction));
      }
      if (work.children == 0 && work.stage->index != target) KeepOnlyTree(work.state);
    }
    return OkStatus();
  }

  // A stage whose configuration nobody inherits any more: a long file must not hold one copy per
  // stage.
  static void KeepOnlyTree(StageState& state) {
    StageState kept;
    kept.tree = state.tree;
    kept.local = state.local;
    kept.tree_has_platform = state.tree_has_platform;
    state = std::move(kept);
  }

  void Inherit(StageWork& base, StageState& state) {
    state = base.state;
    if (--base.children == 0) KeepOnlyTree(base.state);
  }

  Status Begin(const LowerContext& context, StageWork& work) {
    StageState& state = work.state;
    const Stage& stage = *work.stage;
    work.begun = true;
    if (work.base_stage >= 0) {
      StageWork& base = work_[static_cast<std::size_t>(work.base_stage)];
      Inherit(base, state);
      state.image.config.on_build.clear();
      state.cmd_seen = false;
      // What the configuration says moves behind what ARG added.
      if (base.external == nullptr || base.external->name != "scratch") {
        TRY(AdoptImageConfig(state));
      }
    } else {
      state.platform = work.platform;
    }
    state.index = stage.index;
    state.display_name = graph_.StageName(stage.index);
    state.no_cache = in_.options.no_cache || NoCacheNamed(stage.from.name);
    state.steps = CountSteps(work);
    // BuildKit counts the FROM in each pass, and once more when its step is named.
    state.step = work.base_stage < 0 && work.base != "scratch" ? work.pass : 0;
    const External* external = work.replacement != nullptr ? work.replacement : work.external;
    return external == nullptr ? OkStatus() : BeginFrom(context, *external, work);
  }

  Status BeginFrom(const LowerContext& context, const External& external, StageWork& work) {
    StageState& state = work.state;
    const bool context_tree = !external.context_key.empty();
    if (external.name == "scratch" && !context_tree) {
      // Nothing has no platform of its own: what is built on it is the target's.
      state.platform = in_.platform;
      state.tree_has_platform = false;
      state.image = oci::DefaultImageConfig(in_.platform);
      return AdoptImageConfig(state);
    }
    state.image = external.config;
    state.image.created.clear();
    state.image.config.on_build.clear();
    state.lists_layers = external.has_config && !external.config.rootfs.type.empty();
    state.local = external.local;
    if (work.replacement != nullptr) {
      state.tree = external.Tree("", in_.options, {}, "");
      if (!external.has_config) {  // says nothing, not even for which platform it is
        state.image = oci::ImageConfig();
        state.image.rootfs.type.clear();
      } else if (!external.config.platform.os.empty() &&
                 !external.config.platform.architecture.empty()) {
        state.platform = external.config.platform;
      }
      return OkStatus();  // no step of it is lowered: PATH is for those who build on it
    }
    state.base_image = external.config;
    state.tree_has_platform = context_tree || !external.scratch;
    if (context_tree) state.base_image->created.clear();
    TRY(AdoptImageConfig(state));
    std::string name = "FROM " + external.ref;
    if (external.request && !external.scratch && !context_tree) {
      name = NextPrefix(context, state) + name;
    }
    state.tree =
        external.Tree(name, in_.options, LocationsOf(in_.llb_source, work.stage->head.lines),
                      work.stage->head.original);
    return OkStatus();
  }

  bool NoCacheNamed(const std::string& name) const {
    for (const auto& stage : in_.options.no_cache_stages) {
      if (!name.empty() && stage == name) return true;
    }
    return false;
  }

  static int CountSteps(const StageWork& work) {
    if (work.replacement != nullptr) return 0;
    int steps = work.base_stage < 0 && work.base != "scratch" ? 1 : 0;
    const auto count = [&](const std::vector<Instruction>& instructions) {
      for (const Instruction& instruction : instructions) {
        const bool step = std::holds_alternative<Run>(instruction.body) ||
                          std::holds_alternative<Copy>(instruction.body) ||
                          std::holds_alternative<Workdir>(instruction.body);
        steps += step ? 1 : 0;
      }
    };
    count(work.stage->instructions);
    return steps;
  }

  Result<FromTree> TreeOf(const Instruction& instruction, int user, std::size_t place,
                          const Mount* mount) {
    TreeNode& node = graph_.node(graph_.Sources(instruction).at(place));
    if (node.stage < 0) {
      if (!node.tree) {
        node.tree = node.external->Tree("FROM " + node.external->ref, in_.options,
                                        LocationsOf(in_.llb_source, node.place), "");
      }
      return FromTree{*node.tree, node.external->local};
    }
    const StageWork& work = work_[static_cast<std::size_t>(node.stage)];
    if (work.begun) return FromTree{work.state.tree, work.state.local};
    if (mount != nullptr) {
      return Unknown(
          "cannot mount from stage {} to {}, stage needs to be defined before current command",
          Quoted(mount->from), Quoted(mount->target));
    }
    return Unknown("cannot copy from stage {}, it needs to be defined before current stage {}",
                   Quoted(std::get<Copy>(instruction.body).from), Quoted(graph_.StageName(user)));
  }

  Result<Lowered> Finish(StageWork& work) {
    oci::ImageConfig& image = work.state.image;
    for (const auto& [key, value] : in_.options.labels) image.config.labels[key] = value;
    if (in_.explicit_platform) SetPlatform(image.platform);
    const bool for_none = image.platform.architecture.empty();
    image.platform = oci::Normalize(std::move(image.platform));
    if (for_none) image.platform.architecture.clear();
    image.unknown.clear();
    image.config.unknown.clear();
    return Lowered{std::move(work.state.tree), std::move(image), std::move(work.state.base_image),
                   epoch_, work.state.lists_layers};
  }

  void SetPlatform(oci::Platform& platform) const {
    const oci::Platform& wanted = in_.platform;
    const bool other = platform.os != wanted.os || platform.architecture != wanted.architecture;
    platform.os = wanted.os;
    platform.architecture = wanted.architecture;
    if (other || !wanted.variant.empty()) platform.variant = wanted.variant;
    if (other || !wanted.os_version.empty()) platform.os_version = wanted.os_version;
    if (other || !wanted.os_features.empty()) platform.os_features = wanted.os_features;
  }

  const LowerInput& in_;
  StageNames names_;
  StageGraph graph_;
  Externals externals_;
  Variables globals_;
  std::optional<std::int64_t> epoch_;
  std::vector<StageWork> work_;
  int checked_names_ = 0;
};

}  // namespace

Result<Lowered> Lower(const LowerInput& input) { return Lowering(input).Convert(); }

}  // namespace kiln::dockerfile
