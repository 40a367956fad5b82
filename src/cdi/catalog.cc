#include "cdi/catalog.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace kiln::cdi {
namespace {

struct Known {
  const Catalog::Source* source = nullptr;
  const Device* device = nullptr;
};

std::string_view KindOf(std::string_view name) { return name.substr(0, name.find('=')); }

Entry EntryOf(const std::string& name, const Known& known,
              const std::set<std::string>& auto_allowed) {
  Entry entry;
  entry.name = name;
  entry.spec = known.source->spec;
  entry.device = known.device;
  entry.annotations = known.device->annotations;
  entry.annotations.insert(entry.spec->annotations.begin(), entry.spec->annotations.end());
  const auto annotation = entry.annotations.find(std::string(kAutoAllowAnnotation));
  entry.auto_allowed =
      auto_allowed.contains(name) || auto_allowed.contains(entry.spec->kind) ||
      (annotation != entry.annotations.end() && ParseBool(annotation->second).value_or(false));
  return entry;
}

}  // namespace

Catalog::Catalog(const std::vector<Source>& sources, const std::set<std::string>& auto_allowed,
                 std::vector<std::string>* problems) {
  std::map<std::string, Known> known;
  std::set<std::string> conflicts;
  for (const Source& source : sources) {
    for (const Device& device : source.spec->devices) {
      const std::string name = source.spec->QualifiedName(device);
      Known& before = known[name];
      if (before.source != nullptr && before.source->priority == source.priority) {
        problems->push_back(fmt::format("conflicting device {} (specs {}, {})", Quoted(name),
                                        Quoted(source.path), Quoted(before.source->path)));
        conflicts.insert(name);
        continue;
      }
      before = {&source, &device};
    }
  }
  for (const auto& [name, one] : known) {
    if (!conflicts.contains(name)) devices_.push_back(EntryOf(name, one, auto_allowed));
  }
}

const Entry* Catalog::Get(std::string_view name) const {
  const auto found = std::lower_bound(
      devices_.begin(), devices_.end(), name,
      [](const Entry& entry, std::string_view wanted) { return entry.name < wanted; });
  return found != devices_.end() && found->name == name ? &*found : nullptr;
}

std::vector<std::string> Catalog::Match(const std::string& request) const {
  std::vector<std::string> names;
  const std::string_view kind = KindOf(request);
  if (!SplitKind(kind).first.empty()) {
    const std::string_view name =
        kind.size() == request.size() ? "" : std::string_view(request).substr(kind.size() + 1);
    for (const Entry& entry : devices_) {
      if (KindOf(entry.name) != kind) continue;
      if (name.empty() || name == "*" || entry.name == request) names.push_back(entry.name);
      if (name.empty()) break;
    }
  }
  if (!names.empty()) return names;
  for (const Entry& entry : devices_) {
    const auto found = entry.annotations.find(std::string(kClassAnnotation));
    if (found != entry.annotations.end() && found->second == request) names.push_back(entry.name);
  }
  return names;
}

Result<std::vector<std::string>> Catalog::Find(const std::vector<Request>& requests) const {
  std::vector<std::string> found;
  std::set<std::string> seen;
  for (const Request& request : requests) {
    const std::vector<std::string> names = Match(request.name);
    if (names.empty() && !request.optional)
      return FailedPrecondition("required device {} is not registered", Quoted(request.name));
    if (names.empty()) LOG_INFO("optional device {} is not registered", Quoted(request.name));
    for (const std::string& name : names) {
      if (seen.insert(name).second) found.push_back(name);
    }
  }
  return found;
}

Result<ContainerEdits> Catalog::EditsFor(const std::vector<Request>& requests) const {
  TRY_ASSIGN(const std::vector<std::string> names, Find(requests));
  ContainerEdits edits;
  std::set<const Spec*> specs;
  for (const std::string& name : names) {
    const Entry& entry = *Get(name);
    if (specs.insert(entry.spec.get()).second) edits.Append(entry.spec->edits);
    edits.Append(entry.device->edits);
  }
  TRY_CTX(FillFromHost(edits), "failed to inject devices");
  return edits;
}

}  // namespace kiln::cdi
