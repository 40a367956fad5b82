#include <algorithm>
#include <map>

#include "base/strings.h"
#include "filesync/tree.h"

namespace kiln::filesync {
namespace {

class WithFiles final : public Tree {
 public:
  WithFiles(std::unique_ptr<Tree> base, std::vector<VirtualFile> files)
      : base_(std::move(base)), files_(std::move(files)) {
    std::sort(files_.begin(), files_.end(), [](const VirtualFile& a, const VirtualFile& b) {
      return ComparePaths(a.entry.path, b.entry.path) < 0;
    });
  }

  Status Walk(const progress::Activity& activity, const Visitor& visit) override {
    size_t next = 0;
    const auto visit_files_before = [&](const std::string* path) -> Status {
      for (; next < files_.size(); ++next) {
        if (path != nullptr && ComparePaths(files_[next].entry.path, *path) > 0) break;
        if (path != nullptr && files_[next].entry.path == *path) {
          return AlreadyExists("{} is there twice", Quoted(*path));
        }
        TRY(visit(files_[next].entry));
      }
      return OkStatus();
    };
    if (base_) {
      TRY(base_->Walk(activity, [&](const Entry& entry) -> Status {
        TRY(visit_files_before(&entry.path));
        return visit(entry);
      }));
    }
    return visit_files_before(nullptr);
  }

  Result<Content> Open(const Entry& entry) override {
    for (const VirtualFile& file : files_) {
      if (file.entry.path == entry.path) return Content{{}, file.data};
    }
    if (!base_) return NotFound("{}", Quoted(entry.path));
    return base_->Open(entry);
  }

 private:
  std::unique_ptr<Tree> base_;
  std::vector<VirtualFile> files_;
};

class WithSubfolders final : public Tree {
 public:
  explicit WithSubfolders(std::vector<std::pair<Entry, std::unique_ptr<Tree>>> parts) {
    for (auto& [entry, tree] : parts) {
      std::string name = entry.path;
      parts_.emplace(std::move(name), std::pair(std::move(entry), std::move(tree)));
    }
  }

  Status Walk(const progress::Activity& activity, const Visitor& visit) override {
    for (auto& [name, part] : parts_) {
      TRY(visit(part.first));
      TRY(part.second->Walk(activity, [&](const Entry& entry) -> Status {
        Entry moved = entry;
        moved.path = name + "/" + entry.path;
        if (entry.IsHardLink()) moved.linkname = name + "/" + entry.linkname;
        return visit(moved);
      }));
    }
    return OkStatus();
  }

  Result<Content> Open(const Entry& entry) override {
    const size_t slash = entry.path.find('/');
    const auto part = parts_.find(entry.path.substr(0, slash));
    if (slash == std::string::npos || part == parts_.end())
      return NotFound("{}", Quoted(entry.path));
    Entry inner = entry;
    inner.path = entry.path.substr(slash + 1);
    return part->second.second->Open(inner);
  }

 private:
  std::map<std::string, std::pair<Entry, std::unique_ptr<Tree>>>
      parts_;  // siblings sort by name bytes
};

}  // namespace

std::unique_ptr<Tree> AddFiles(std::unique_ptr<Tree> base, std::vector<VirtualFile> files) {
  return std::make_unique<WithFiles>(std::move(base), std::move(files));
}

std::unique_ptr<Tree> Subfolders(std::vector<std::pair<Entry, std::unique_ptr<Tree>>> parts) {
  return std::make_unique<WithSubfolders>(std::move(parts));
}

}  // namespace kiln::filesync
