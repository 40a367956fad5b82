// A specification file of devices (Container Device Interface), YAML or JSON; and what requests
// make of it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "cdi/catalog.h"
#include "cdi/spec.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  kiln::SetLogLevel(kiln::LogLevel::kOff);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln;  // NOLINT: one file, one purpose
  auto parsed = cdi::ParseSpec({reinterpret_cast<const char*>(data), size});
  if (!parsed.ok()) return 0;
  const auto spec = std::make_shared<const cdi::Spec>(*std::move(parsed));
  std::vector<std::string> problems;
  const cdi::Catalog catalog({{"low", 0, spec}, {"high", 1, spec}}, {spec->kind}, &problems);
  // Every device is there once, and is found by its name and among all of its kind.
  if (!problems.empty() || catalog.devices().size() != spec->devices.size()) std::abort();
  for (const cdi::Entry& entry : catalog.devices()) {
    const auto found = catalog.Find({{entry.name}});
    if (!found.ok() || *found != std::vector<std::string>{entry.name}) std::abort();
    (void)catalog.EditsFor({{entry.name}});
  }
  (void)catalog.Find({{"none", true}});
  const auto all = catalog.Find({{spec->kind + "=*"}, {spec->kind}});
  if (!all.ok() || all->size() != spec->devices.size()) std::abort();
  return 0;
}
