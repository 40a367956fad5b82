#include "cmd/fsck_command.h"

#include <fmt/format.h>

#include "cachedb/check.h"
#include "cmd/print.h"
#include "store/fsck.h"

namespace kiln::cmd {
namespace {

constexpr int kCannotLook = 2;

Result<std::vector<std::string>> Look(const std::string& root, bool repair) {
  TRY_ASSIGN(const store::FsckReport report, store::Fsck({.root = root, .repair = repair}));
  std::vector<std::string> findings = report.findings;
  if (!report.readable) return findings;  // nobody can say what the cache should point to
  TRY_ASSIGN(const std::vector<std::string> cached,
             cachedb::Check(root + "/cache.db", report.record_ids, repair));
  findings.insert(findings.end(), cached.begin(), cached.end());
  return findings;
}

}  // namespace

int RunFsck(const std::string& root, bool repair) {
  auto findings = Look(root, repair);
  if (!findings.ok()) {
    PrintError(fmt::format("kiln: {}\n", findings.error()));
    return kCannotLook;
  }
  for (const std::string& finding : *findings) Print(finding + "\n");
  if (findings->empty()) return 0;
  PrintError(fmt::format("{} findings{}\n", findings->size(),
                         repair ? ", mended" : "; --repair drops what is broken"));
  return repair ? 0 : 1;
}

}  // namespace kiln::cmd
