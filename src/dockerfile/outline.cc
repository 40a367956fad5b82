#include "dockerfile/outline.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/strings.h"
#include "dockerfile/errors.h"
#include "dockerfile/expand.h"
#include "dockerfile/lower_stage.h"
#include "dockerfile/mount.h"

namespace kiln::dockerfile {
namespace {

template <typename T>
std::vector<T> SortedByLine(std::map<std::string, T> items) {
  std::vector<T> sorted;
  for (auto& [name, item] : items) sorted.push_back(std::move(item));
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const T& a, const T& b) { return a.lines.first < b.lines.first; });
  return sorted;
}

}  // namespace

// What the target and the stages it reads from use; the first to name something describes it.
struct OutlineObserver::Found {
  std::set<int> visited;
  std::map<std::string, Outline::Arg> args;
  std::map<std::string, Outline::Need> secrets;
  std::map<std::string, Outline::Need> agents;
};

std::string DescriptionIn(const std::vector<std::string>& comments, const std::string& name) {
  if (name.empty()) return "";
  for (const std::string& comment : comments) {
    if (comment.starts_with(name + " ")) return comment.substr(name.size() + 1);
  }
  return "";
}

Result<OutlineObserver> OutlineObserver::Start(const Options& options, const Dockerfile& file,
                                               const SourceFile& source,
                                               const Variables& automatic) {
  OutlineObserver observer(options, file);
  TRY_ASSIGN(observer.globals_, GlobalVariables(options, file, source, automatic));
  TRY(observer.DefineGlobals(source, automatic));
  return observer;
}

Status OutlineObserver::DefineGlobals(const SourceFile& source, Variables variables) {
  ExpandOptions expand;
  expand.escape = file_->escape;
  for (const Instruction& instruction : file_->global_args) {
    for (const Arg::Item& item : std::get<Arg>(instruction.body).items) {
      Definition definition;
      definition.arg = {item.key, DescriptionIn(instruction.comments, item.key), "",
                        instruction.lines};
      std::optional<std::string> value = options_->BuildArg(item.key);
      if (!value && item.value) {
        auto expanded =
            WithSource(Expand(*item.value, LookupIn(variables), expand), source, instruction.lines);
        if (!expanded.ok()) return std::move(expanded).error();
        definition.uses.insert(expanded->used.begin(), expanded->used.end());
        // A default made from an earlier one of the same name stands on what that stood on.
        if (definition.uses.erase(item.key) > 0) {
          definition.uses.merge(std::set(global_definitions_[item.key].uses));
        }
        value = std::move(expanded->text);
      }
      if (value) {
        definition.arg.value = *value;
        variables[item.key] = *std::move(value);
      }
      global_definitions_[item.key] = std::move(definition);
    }
  }
  return OkStatus();
}

std::set<std::string> OutlineObserver::UsedByFrom(const From& from) const {
  ExpandOptions expand;
  expand.escape = file_->escape;
  std::set<std::string> used;
  for (const std::string& text : {from.base, from.platform}) {
    const auto expanded = Expand(text, LookupIn(globals_), expand);
    if (expanded.ok()) used.insert(expanded->used.begin(), expanded->used.end());
  }
  return used;
}

void OutlineObserver::OnStage(const Stage& stage, int base) {
  if (base >= 0) bases_[stage.index] = base;
  stages_[stage.index].used = UsedByFrom(stage.from);
}

void OutlineObserver::After(const Instruction& instruction, LineRange lines,
                            const StageState& state) {
  StageOutline& stage = stages_[state.index];
  if (std::holds_alternative<Arg>(instruction.body)) AddArgs(instruction, lines, state, stage);
  if (const auto* copy = std::get_if<Copy>(&instruction.body)) {
    AddFrom(copy->from, state.index, /*by_index=*/true, stage);
  }
  if (const auto* run = std::get_if<Run>(&instruction.body)) {
    for (const MountSpec& mount : run->mounts) {
      AddFrom(mount.from(), state.index, /*by_index=*/false, stage);
    }
    AddMounts(*run, lines, state, stage);
  }
}

void OutlineObserver::AddFrom(const std::string& name, int index, bool by_index,
                              StageOutline& stage) const {
  if (name.empty()) return;
  const auto from = names_.Resolve(name, index, by_index);
  if (from.ok() && *from) stage.from.push_back(**from);
}

void OutlineObserver::AddArgs(const Instruction& instruction, LineRange lines,
                              const StageState& state, StageOutline& stage) const {
  const std::vector<Arg::Item>& items = std::get<Arg>(instruction.body).items;
  if (state.args.size() < items.size()) return;
  const std::size_t begin = state.args.size() - items.size();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Arg::Item& item = items[i];
    stage.used.insert(item.key);
    const bool given = item.value || options_->BuildArg(item.key);
    // It only brings in what is defined for all stages.
    if (!given && globals_.contains(item.key)) continue;
    Definition definition;
    definition.arg = {item.key, DescriptionIn(instruction.comments, item.key),
                      state.args[begin + i].value.value_or(""), lines};
    stage.definitions[item.key] = std::move(definition);
  }
}

void OutlineObserver::AddMounts(const Run& run, LineRange lines, const StageState& state,
                                StageOutline& stage) const {
  ExpandOptions options;
  options.escape = file_->escape;
  const VariableLookup lookup = [&](std::string_view name) { return state.env.Get(name); };
  const ExpandWord expand = [&](std::string_view text) -> Result<std::string> {
    TRY_ASSIGN(Expanded expanded, Expand(text, lookup, options));
    return std::move(expanded.text);
  };
  for (const MountSpec& spec : run.mounts) {
    const auto mount = ResolveMount(spec, expand);
    if (!mount.ok()) continue;
    if (mount->type == MountType::kSecret) {
      std::string id = mount->source.empty() ? mount->id : mount->source;
      if (id.empty()) id = BaseName(mount->target);
      stage.secrets.try_emplace(id, Outline::Need{id, mount->required, lines});
    }
    if (mount->type == MountType::kSsh) {
      const std::string id = mount->id.empty() ? "default" : mount->id;
      stage.agents.try_emplace(id, Outline::Need{id, mount->required, lines});
    }
  }
}

void OutlineObserver::Collect(int index, Found& found) const {
  std::vector<int> stack = {index};
  while (!stack.empty()) {
    const int at = stack.back();
    stack.pop_back();
    const auto known = stages_.find(at);
    if (known == stages_.end() || !found.visited.insert(at).second) continue;
    const StageOutline& stage = known->second;
    std::vector<std::string> names(stage.used.begin(), stage.used.end());
    std::set<std::string> seen = stage.used;
    while (!names.empty()) {
      const std::string name = std::move(names.back());
      names.pop_back();
      const auto own = stage.definitions.find(name);
      const auto global = global_definitions_.find(name);
      if (own == stage.definitions.end() && global == global_definitions_.end()) continue;
      const Definition& definition = own != stage.definitions.end() ? own->second : global->second;
      found.args.try_emplace(name, definition.arg);
      for (const std::string& use : definition.uses) {
        if (seen.insert(use).second) names.push_back(use);
      }
    }
    found.secrets.insert(stage.secrets.begin(), stage.secrets.end());
    found.agents.insert(stage.agents.begin(), stage.agents.end());
    stack.insert(stack.end(), stage.from.rbegin(), stage.from.rend());
    const auto base = bases_.find(at);
    if (base != bases_.end()) stack.push_back(base->second);
  }
}

Outline OutlineObserver::Take(const Options& options) const {
  int target = file_->stages.back().index;
  if (!options.target.empty()) {
    target = names_.Last(ToLower(options.target)).value_or(target);
  }
  const Stage& stage = file_->stages[static_cast<std::size_t>(target)];
  Found found;
  Collect(target, found);
  Outline outline;
  outline.name = stage.from.name;
  outline.description = DescriptionIn(stage.head.comments, stage.from.name);
  outline.args = SortedByLine(std::move(found.args));
  outline.secrets = SortedByLine(std::move(found.secrets));
  outline.agents = SortedByLine(std::move(found.agents));
  return outline;
}

}  // namespace kiln::dockerfile
