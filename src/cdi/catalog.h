#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cdi/spec.h"

namespace kiln::cdi {

// Devices of this class may be asked for by its name.
inline constexpr std::string_view kClassAnnotation = "org.mobyproject.buildkit.device.class";
// True: builds get the device without asking.
inline constexpr std::string_view kAutoAllowAnnotation =
    "org.mobyproject.buildkit.device.autoallow";

// What a step asks for: "vendor.com/class=name", "vendor.com/class" (the first of them),
// "vendor.com/class=*" (all), or a class that devices' annotations name.
struct Request {
  std::string name;
  bool optional = false;
};

struct Entry {
  std::string name;                  // "vendor.com/class=name"
  std::shared_ptr<const Spec> spec;  // that defines it
  const Device* device = nullptr;    // in `spec`
  Annotations annotations;           // the spec's, and over them the device's
  bool auto_allowed = false;
};

// The devices of one moment. A value that does not change: safe from any thread.
class Catalog {
 public:
  // `specs` with their files' paths, in ascending priority; `priority` is the folder's number. A
  // device that two files of one priority define does not exist. What is wrong is added to
  // `problems`.
  struct Source {
    std::string path;
    size_t priority = 0;
    std::shared_ptr<const Spec> spec;
  };
  Catalog() = default;
  Catalog(const std::vector<Source>& sources, const std::set<std::string>& auto_allowed,
          std::vector<std::string>* problems);

  // By name.
  const std::vector<Entry>& devices() const { return devices_; }
  const Entry* Get(std::string_view name) const;

  // The names of the devices that are meant, each once, in the order asked for.
  // `required device "x" is not registered`; of those that are optional the log speaks.
  Result<std::vector<std::string>> Find(const std::vector<Request>& requests) const;

  // What these requests change in a container, its device nodes complete.
  Result<ContainerEdits> EditsFor(const std::vector<Request>& requests) const;

 private:
  std::vector<std::string> Match(const std::string& request) const;

  std::vector<Entry> devices_;
};

}  // namespace kiln::cdi
