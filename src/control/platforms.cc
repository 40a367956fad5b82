#include "control/platforms.h"

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/fd.h"
#include "base/log.h"
#include "sys/spawner.h"

namespace kiln::control {
namespace {

constexpr std::chrono::seconds kProbeTime{5};
constexpr uint32_t kBase = 0x10000;
constexpr uint32_t kHeaderBytes = 52;
constexpr uint32_t kSegmentBytes = 32;

struct Machine {
  const char* architecture;
  std::vector<const char*> variants;
  uint16_t elf_machine;
  std::string_view code;  // ends with status 0
};

// mov eax,1; xor ebx,ebx; int 0x80
constexpr std::string_view k386Code("\xb8\x01\0\0\0\x31\xdb\xcd\x80", 9);
// mov r0,#0; mov r7,#1; svc 0
constexpr std::string_view kArmCode("\0\0\xa0\xe3\x01\x70\xa0\xe3\0\0\0\xef", 12);

void Put(std::string* to, uint32_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) to->push_back(static_cast<char>(value >> (8 * i)));
}

// The smallest 32-bit program there is: headers, one segment, its code.
std::string Program(const Machine& machine) {
  const uint32_t entry = kHeaderBytes + kSegmentBytes;
  const auto size = static_cast<uint32_t>(entry + machine.code.size());
  std::string elf(
      "\x7f"
      "ELF\x01\x01\x01",
      7);
  elf.resize(16, '\0');
  Put(&elf, 2, 2);  // executable
  Put(&elf, machine.elf_machine, 2);
  Put(&elf, 1, 4);
  Put(&elf, kBase + entry, 4);
  Put(&elf, kHeaderBytes, 4);  // the segment's header follows
  Put(&elf, 0, 4);
  Put(&elf, machine.elf_machine == 40 ? 0x05000000 : 0, 4);  // EABI 5
  for (const uint32_t value : {kHeaderBytes, kSegmentBytes, 1U, 40U, 0U, 0U}) Put(&elf, value, 2);
  for (const uint32_t value : {1U, 0U, kBase, kBase, size, size, 5U, 0x1000U}) Put(&elf, value, 4);
  return elf.append(machine.code);
}

bool Runs(sys::Spawner& spawner, const std::string& path) {
  sys::ProcessRequest request;
  request.program = path;
  request.argv = {path};
  auto child = spawner.Start(std::move(request));
  if (!child.ok()) return false;
  const auto ended = child->WaitFor(kProbeTime);
  return ended.ok() && *ended && (*ended)->ok();
}

std::vector<std::string> VariantsOfProcessor() {
  std::vector<std::string> variants;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v2")) variants.emplace_back("v2");
  if (__builtin_cpu_supports("x86-64-v3")) variants.emplace_back("v3");
  if (__builtin_cpu_supports("x86-64-v4")) variants.emplace_back("v4");
#endif
  return variants;
}

}  // namespace

std::vector<oci::Platform> MachinePlatforms(sys::Spawner& spawner, const std::string& scratch) {
  const oci::Platform& host = oci::HostPlatform();
  std::vector<oci::Platform> platforms = {host};
  for (const std::string& variant : VariantsOfProcessor()) {
    platforms.push_back(host);
    platforms.back().variant = variant;
  }
  const Machine machine = host.architecture == "amd64" ? Machine{"386", {""}, 3, k386Code}
                                                       : Machine{"arm", {"v7", "v6"}, 40, kArmCode};
  if (host.architecture != "amd64" && host.architecture != "arm64") return platforms;
  const std::string path = scratch + "/check";
  if (const Status written = WriteFileAtomically(path, Program(machine), 0500); !written.ok()) {
    LOG_WARNING("whether {} programs run is not known: {}", machine.architecture, written.error());
    return platforms;
  }
  if (Runs(spawner, path)) {
    for (const char* variant : machine.variants)
      platforms.push_back({host.os, machine.architecture, variant, "", {}});
  }
  ::unlink(path.c_str());
  return platforms;
}

}  // namespace kiln::control
