#include "dockerfile/lower.h"

#include <fmt/format.h>

#include <deque>
#include <set>
#include <utility>

#include "base/strings.h"
#include "dockerfile/epoch.h"
#include "dockerfile/errors.h"
#include "dockerfile/external.h"
#include "dockerfile/globals.h"
#include "dockerfile/parser.h"
#include "dockerfile/stage_names.h"
#include "dockerfile/suggest.h"

namespace kiln::dockerfile {
namespace {

struct StageWork {
  const Stage* stage = nullptr;
  std::string base;
  oci::Platform platform;
  bool reached = false;
  bool triggers_known = false;
  External* replacement = nullptr;  // a named context that stands for the whole stage
  int base_stage = -1;
  External* external = nullptr;
  std::vector<Instruction> triggers;
  int children = 0;  // stages that begin with this one and are not lowered yet
  StageState state;
};

class Lowering {
 public:
  explicit Lowering(const LowerInput& in)
      : in_(in), names_(in.file), externals_(in.options, in.host, in.options.IsMultiPlatform()) {}

  Result<Lowered> Convert() {
    TRY_ASSIGN(globals_,
               GlobalVariables(in_.options, in_.file, in_.source,
                               AutomaticVariables(in_.options, in_.file, in_.host.build_platform(),
                                                  in_.platform)));
    TRY(SetEpoch());
    TRY(OpenStages());
    TRY_ASSIGN(const int target, Target());
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
    work.platform = in_.platform;
    if (stage.from.platform.empty()) return OkStatus();
    TRY_ASSIGN(const Expanded platform, Expand(stage.from.platform, LookupIn(globals_), options));
    if (platform.text.empty()) {
      return Unknown("empty platform value from expression {}{}", stage.from.platform,
                     NearestGlobal(platform.missing));
    }
    TRY_ASSIGN_CTX(work.platform, oci::ParsePlatform(platform.text), "failed to parse platform {}",
                   platform.text);
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
    return Unknown("target stage {} could not be found{}", Quoted(in_.options.target),
                   DidYouMean(in_.options.target, names_.All()));
  }

  // Finds the stages and images the target needs. Base images may add triggers, and these new
  // needs.
  Status Reach(int target) {
    std::deque<int> queue = {target};
    if (in_.all_stages) {
      queue.clear();
      for (const Stage& stage : in_.file.stages) queue.push_back(stage.index);
    }
    while (true) {
      while (!queue.empty()) {
        const int index = queue.front();
        queue.pop_front();
        StageWork& work = work_[static_cast<std::size_t>(index)];
        if (std::exchange(work.reached, true)) continue;
        TRY(WithSource(ReachBase(work, queue), in_.source, work.stage->head.lines));
        if (work.replacement != nullptr) continue;
        for (const Instruction& instruction : work.stage->instructions) {
          TRY(WithSource(ReachFroms(work, instruction, instruction.lines, queue), in_.source,
                         instruction.lines));
        }
      }
      externals_.ResolvePending();
      TRY(FindTriggers(queue));
      if (queue.empty()) break;
    }
    externals_.ResolvePending();  // what the last triggers copy from
    return OkStatus();
  }

  Status ReachBase(StageWork& work, std::deque<int>& queue) {
    const LineRange lines = work.stage->head.lines;
    if (!work.stage->from.name.empty()) {
      TRY_ASSIGN(work.replacement, externals_.Context(work.stage->from.name, work.platform, lines));
      if (work.replacement != nullptr) return OkStatus();
    }
    if (const auto base = names_.Before(work.base, work.stage->index)) {
      work.base_stage = *base;
      ++work_[static_cast<std::size_t>(*base)].children;
      queue.push_back(*base);
      return OkStatus();
    }
    TRY_ASSIGN(work.external, externals_.Need(work.base, work.platform, lines));
    return OkStatus();
  }

  // What an instruction reads from: stages go on the queue, anything else is looked up.
  Status ReachFroms(StageWork& work, const Instruction& instruction, LineRange lines,
                    std::deque<int>& queue) {
    std::vector<std::pair<std::string, bool>> froms;
    if (const auto* copy = std::get_if<Copy>(&instruction.body))
      froms.emplace_back(copy->from, true);
    if (const auto* run = std::get_if<Run>(&instruction.body)) {
      for (const MountSpec& mount : run->mounts) froms.emplace_back(mount.from(), false);
    }
    for (const auto& [name, by_index] : froms) {
      if (name.empty() || name.find('$') != std::string::npos) continue;
      TRY_ASSIGN(const auto stage, names_.Resolve(name, work.stage->index, by_index));
      if (stage) {
        queue.push_back(*stage);
      } else if (!names_.Last(ToLower(name))) {  // a later stage is refused when it is used
        TRY_ASSIGN(const External* image, externals_.Need(name, in_.platform, lines));
        copied_from_.emplace_back(image, lines);
        extra_trees_ = true;
      }
    }
    return OkStatus();
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
    for (const auto& [image, lines] : copied_from_) show(*image, lines);
  }

  Status FindTriggers(std::deque<int>& queue) {
    for (StageWork& work : work_) {
      if (!work.reached || work.triggers_known || work.replacement != nullptr) continue;
      work.triggers_known = true;
      std::vector<std::string> texts;
      if (work.base_stage >= 0) {
        const StageWork& base = work_[static_cast<std::size_t>(work.base_stage)];
        if (base.replacement != nullptr) {
          texts = base.replacement->config.config.on_build;
        } else {
          for (const Instruction& instruction : base.stage->instructions) {
            const auto* onbuild = std::get_if<Onbuild>(&instruction.body);
            if (onbuild != nullptr) texts.push_back(onbuild->trigger);
          }
        }
      } else if (work.external != nullptr) {
        texts = work.external->config.config.on_build;
      }
      const LineRange lines = work.stage->head.lines;
      for (const std::string& text : texts) {
        auto trigger = ParseTrigger(text, in_.file.escape);
        if (!trigger.ok()) {
          return WithSource(std::move(trigger).error(), in_.source, lines);
        }
        TRY(WithSource(ReachFroms(work, *trigger, lines, queue), in_.source, lines));
        work.triggers.push_back(std::move(trigger).value());
      }
    }
    return OkStatus();
  }

  Status LowerStages(int target) {
    const LowerContext context{in_.options,
                               in_.source,
                               in_.llb_source,
                               in_.file.escape,
                               globals_,
                               in_.options.IsMultiPlatform(),
                               epoch_,
                               in_.main_context,
                               [this](const std::string& name, int user, const Mount* mount) {
                                 return TreeOf(name, user, mount);
                               },
                               in_.observer};
    for (StageWork& work : work_) {
      if (!work.reached || (work.stage->index > target && !in_.all_stages)) continue;
      TRY(WithSource(Begin(context, work), in_.source, work.stage->head.lines));
      if (work.replacement != nullptr) continue;
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
    state = std::move(kept);
  }

  void Inherit(StageWork& base, StageState& state) {
    state = base.state;
    if (--base.children == 0) KeepOnlyTree(base.state);
  }

  Status Begin(const LowerContext& context, StageWork& work) {
    StageState& state = work.state;
    const Stage& stage = *work.stage;
    if (work.base_stage >= 0 && work.replacement == nullptr) {
      Inherit(work_[static_cast<std::size_t>(work.base_stage)], state);
      state.image.config.on_build.clear();
      state.cmd_seen = false;
      // What the configuration says moves behind what ARG added.
      if (work_[static_cast<std::size_t>(work.base_stage)].external == nullptr ||
          !work_[static_cast<std::size_t>(work.base_stage)].external->scratch) {
        AdoptImageConfig(state);
      }
      if (state.local != nullptr) state.local->UseAll();
    } else {
      state.platform = work.platform;
    }
    state.index = stage.index;
    state.step = 0;
    state.display_name = DisplayName(stage);
    state.no_cache = in_.options.no_cache || NoCacheNamed(stage.from.name);
    state.steps = CountSteps(work);
    External* external = work.replacement != nullptr ? work.replacement : work.external;
    if (external == nullptr) return OkStatus();
    if (external->failure) {
      return WithNearestTree(*external->failure, external->name, names_.All());
    }
    return BeginFrom(context, *external, work);
  }

  Status BeginFrom(const LowerContext& context, const External& external, StageWork& work) {
    StageState& state = work.state;
    state.image = external.config;
    state.image.created.clear();
    state.image.config.on_build.clear();
    if (external.has_config && work.replacement == nullptr) {
      state.base_image = external.config;
      if (!external.context_key.empty()) state.base_image->created.clear();
    }
    const bool image = external.request && !external.scratch;
    if (external.scratch && !external.has_config) {
      // Nothing has no platform of its own: what is built on it is the target's.
      state.platform = in_.platform;
      state.image = oci::DefaultImageConfig(in_.platform);
    } else if (external.local != nullptr && work.replacement == nullptr) {
      external.local->UseAll();
    }
    state.local = external.local;
    std::string name = "FROM " + external.ref;
    if (image && external.context_key.empty()) {
      AdoptImageConfig(state);
      name = NextPrefix(context, state) + name;
      state.tree = WithLocations(external, name, context, work);
      return OkStatus();
    }
    state.tree = external.Tree(name, in_.options);
    AdoptImageConfig(state);
    return OkStatus();
  }

  llb::Output WithLocations(const External& external, const std::string& name,
                            const LowerContext& context, const StageWork& work) const {
    return external.Tree(name, in_.options, LocationsOf(context, work.stage->head.lines),
                         work.stage->head.original);
  }

  bool NoCacheNamed(const std::string& name) const {
    for (const auto& stage : in_.options.no_cache_stages) {
      if (!name.empty() && stage == name) return true;
    }
    return false;
  }

  // One stage alone needs no name, unless other trees appear beside it.
  std::string DisplayName(const Stage& stage) const {
    bool alone = in_.file.stages.size() == 1 && !extra_trees_;
    for (const Instruction& instruction : stage.instructions) {
      const auto* run = std::get_if<Run>(&instruction.body);
      if (run == nullptr) continue;
      for (const MountSpec& mount : run->mounts) alone = alone && !mount.from().empty();
    }
    if (alone) return "";
    return stage.from.name.empty() ? fmt::format("stage-{}", stage.index) : stage.from.name;
  }

  static int CountSteps(const StageWork& work) {
    if (work.replacement != nullptr) return 0;
    int steps = work.external != nullptr && !work.external->scratch ? 1 : 0;
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

  Result<FromTree> TreeOf(const std::string& name, int user, const Mount* mount) {
    TRY_ASSIGN(const auto stage, names_.Resolve(name, user, mount == nullptr));
    if (stage) {
      const StageState& state = work_[static_cast<std::size_t>(*stage)].state;
      return FromTree{state.tree, state.local};
    }
    if (const auto later = names_.Last(ToLower(name)))
      return names_.TooLate(name, user, *later, mount);
    External* external = externals_.Find(name, in_.platform);
    if (external == nullptr) return Internal("{} was not looked up", name);
    if (external->failure) {
      return WithNearestTree(*external->failure, external->name, names_.All());
    }
    return FromTree{external->Tree("FROM " + external->ref, in_.options), external->local};
  }

  Result<Lowered> Finish(StageWork& work) {
    oci::ImageConfig& image = work.state.image;
    for (const auto& [key, value] : in_.options.labels) image.config.labels[key] = value;
    if (in_.explicit_platform) SetPlatform(image.platform);
    image.platform = oci::Normalize(std::move(image.platform));
    image.unknown.clear();
    image.config.unknown.clear();
    return Lowered{std::move(work.state.tree), std::move(image), std::move(work.state.base_image),
                   epoch_};
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
  Externals externals_;
  Variables globals_;
  std::optional<std::int64_t> epoch_;
  std::vector<StageWork> work_;
  bool extra_trees_ = false;
  std::vector<std::pair<const External*, LineRange>> copied_from_;
};

}  // namespace

Result<Lowered> Lower(const LowerInput& input) { return Lowering(input).Convert(); }

}  // namespace kiln::dockerfile
