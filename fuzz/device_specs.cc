// A file that says which devices builds may have (Container Device Interface).
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cdi/catalog.h"
#include "cdi/spec.h"
#include "cdi/yaml.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  kiln::SetLogLevel(kiln::LogLevel::kError);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kiln::cdi;  // NOLINT: one file, one purpose
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)ParseYaml(text);
  auto spec = ParseSpec(text);
  if (!spec.ok()) return 0;
  const auto shared = std::make_shared<const Spec>(*std::move(spec));
  std::vector<std::string> problems;
  const Catalog catalog({{"/a", 0, shared}, {"/b", 1, shared}}, {shared->kind}, &problems);
  for (const Entry& entry : catalog.devices()) (void)catalog.Find({{entry.name}});
  (void)catalog.Find({{shared->kind + "=*"}, {shared->kind}, {"none", true}});
  (void)catalog.EditsFor({{shared->kind + "=*"}});
  return 0;
}
