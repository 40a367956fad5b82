#include "http/ca_bundles.h"

#include <utility>

#include "base/error.h"
#include "base/fd.h"

namespace kiln::http {
namespace {

constexpr size_t kMaxCaBytes = size_t{32} << 20;
// Each is a few hundred kilobytes; a daemon's configuration names few.
constexpr size_t kMaxKnown = 32;

}  // namespace

std::vector<CaBundles::Stamp> CaBundles::StampsOf(const std::string& system,
                                                  const std::vector<std::string>& files) {
  std::vector<Stamp> stamps;
  const auto add = [&](const std::string& path) {
    struct stat info{};
    Stamp stamp;
    if (stat(path.c_str(), &info) == 0) {
      stamp = {info.st_dev, info.st_ino, info.st_size,
               int64_t{info.st_ctim.tv_sec} * 1'000'000'000 + info.st_ctim.tv_nsec};
    }
    stamps.push_back(stamp);
  };
  add(system);
  for (const std::string& file : files) add(file);
  return stamps;
}

Result<std::shared_ptr<const std::string>> CaBundles::Get(const std::string& system,
                                                          const std::vector<std::string>& files) {
  // Before they are read: what changes meanwhile is read again next time.
  std::vector<Stamp> stamps = StampsOf(system, files);
  {
    const MutexLock lock(mutex_);
    const auto found = known_.find(files);
    if (found != known_.end() && found->second.stamps == stamps) return found->second.text;
  }
  std::string text;
  if (auto roots = ReadFile(system, kMaxCaBytes)) text = *std::move(roots);
  for (const std::string& file : files) {
    TRY_ASSIGN_CTX(const std::string extra, ReadFile(file, kMaxCaBytes), "reading CA certificates");
    text += "\n" + extra;
  }
  auto shared = std::make_shared<const std::string>(std::move(text));
  const MutexLock lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_[files] = {std::move(stamps), shared};
  return shared;
}

}  // namespace kiln::http
