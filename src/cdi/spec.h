#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cdi/edits.h"

namespace kiln::cdi {

using Annotations = std::map<std::string, std::string>;

struct Device {
  std::string name;
  Annotations annotations;
  ContainerEdits edits;  // not empty
};

// One specification file (Container Device Interface 1.1.0, SPEC.md), checked.
struct Spec {
  std::string version;
  std::string kind;  // "vendor.com/class"
  Annotations annotations;
  std::vector<Device> devices;  // at least one, each name once
  ContainerEdits edits;         // made once if any of the devices is used

  std::string QualifiedName(const Device& device) const { return kind + "=" + device.name; }
};

// YAML or JSON, of versions 0.1.0 to 1.1.0. Fields that are not known, and those newer than the
// version says, are errors.
Result<Spec> ParseSpec(std::string_view text);

// The parts of "vendor/class"; an empty vendor where there are not two.
std::pair<std::string_view, std::string_view> SplitKind(std::string_view kind);

}  // namespace kiln::cdi
