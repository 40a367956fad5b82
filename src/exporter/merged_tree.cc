#include "exporter/merged_tree.h"

#include <map>
#include <string>

#include "base/strings.h"

namespace kiln::exporter {
namespace {

struct WireOrder {
  bool operator()(const std::string& a, const std::string& b) const {
    return filesync::ComparePaths(a, b) < 0;
  }
};

class MergedTree final : public filesync::Tree {
 public:
  explicit MergedTree(std::vector<std::unique_ptr<filesync::Tree>> trees)
      : trees_(std::move(trees)) {}

  Status Walk(const progress::Activity& activity, const Visitor& visit) override {
    std::map<std::string, filesync::Entry, WireOrder> entries;
    for (const auto& tree : trees_) {
      TRY(tree->Walk(activity, [&](const filesync::Entry& entry) -> Status {
        auto [known, fresh] = entries.emplace(entry.path, entry);
        if (fresh) {
          if (!entry.IsDirectory()) owners_.emplace(entry.path, tree.get());
        } else if (!known->second.IsDirectory() || !entry.IsDirectory()) {
          return AlreadyExists("{} is there twice", Quoted(entry.path));
        }
        return OkStatus();
      }));
    }
    for (const auto& [path, entry] : entries) TRY(visit(entry));
    return OkStatus();
  }

  Result<filesync::Content> Open(const filesync::Entry& entry) override {
    const auto owner = owners_.find(entry.path);
    if (owner == owners_.end()) return NotFound("{}", Quoted(entry.path));
    return owner->second->Open(entry);
  }

 private:
  const std::vector<std::unique_ptr<filesync::Tree>> trees_;
  std::map<std::string, filesync::Tree*> owners_;  // complete before the first visit
};

}  // namespace

std::unique_ptr<filesync::Tree> MergeTrees(std::vector<std::unique_ptr<filesync::Tree>> trees) {
  return std::make_unique<MergedTree>(std::move(trees));
}

}  // namespace kiln::exporter
