#include "cdi/registry.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "base/strings.h"

namespace kiln::cdi {
namespace {

constexpr size_t kMostFiles = 1024;  // of one folder
constexpr size_t kMostBytes = size_t{1} << 20;

struct File {
  std::string path;
  size_t priority = 0;
};

bool IsSpecName(const std::string& name) {
  return name.ends_with(".json") || name.ends_with(".yaml");
}

// The specification files of a folder, by name.
std::vector<std::string> FilesOf(const std::string& directory, std::vector<std::string>* problems) {
  std::vector<std::string> paths;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string path = entry->path().string();
    if (!IsSpecName(path)) continue;
    if (paths.size() == kMostFiles) {
      problems->push_back(fmt::format("{}: more than {} files", directory, kMostFiles));
      break;
    }
    paths.push_back(path);
  }
  if (error && error != std::errc::no_such_file_or_directory)
    problems->push_back(fmt::format("{}: {}", directory, error.message()));
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<Spec> Load(const std::string& path) {
  TRY_ASSIGN(const std::string text, ReadFile(path, kMostBytes));
  return ParseSpec(text);
}

}  // namespace

Registry::Registry(std::vector<std::string> directories, std::set<std::string> auto_allowed)
    : directories_(std::move(directories)), auto_allowed_(std::move(auto_allowed)) {}

std::shared_ptr<const Catalog> Registry::Current() {
  MutexLock lock(mutex_);
  std::vector<std::string> problems;
  std::vector<File> files;
  std::string seen;
  for (size_t priority = 0; priority < directories_.size(); ++priority) {
    for (std::string& path : FilesOf(directories_[priority], &problems)) {
      struct stat info{};
      if (stat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
      seen += fmt::format("{} {} {} {} {}.{} {}.{}\n", path, info.st_dev, info.st_ino, info.st_size,
                          info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_ctim.tv_sec,
                          info.st_ctim.tv_nsec);
      if (S_ISREG(info.st_mode)) {
        files.push_back({std::move(path), priority});
      } else {
        problems.push_back(fmt::format("{}: not a regular file", path));
      }
    }
  }
  for (const std::string& problem : problems) seen += problem + "\n";
  if (seen == seen_) return catalog_;
  std::vector<Catalog::Source> sources;
  for (const File& file : files) {
    auto spec = Load(file.path);
    if (spec.ok()) {
      sources.push_back({file.path, file.priority, std::make_shared<const Spec>(*std::move(spec))});
    } else {
      problems.push_back(fmt::format("{}: {}", file.path, spec.error().ToString()));
    }
  }
  catalog_ = std::make_shared<const Catalog>(sources, auto_allowed_, &problems);
  seen_ = std::move(seen);
  for (const std::string& problem : problems) LOG_WARNING("CDI: {}", problem);
  return catalog_;
}

}  // namespace kiln::cdi
