#pragma once

// Inside source only.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/mutex.h"
#include "oci/descriptor.h"
#include "progress/activity.h"
#include "source/git_revision.h"
#include "source/http_file.h"

namespace kiln::source {

// What names that may change were found to stand for in one build. Safe from any thread.
class JobView {
 public:
  using Found = std::variant<HttpFile, GitRevision, oci::Descriptor>;

  explicit JobView(std::shared_ptr<const progress::SessionGroup> sessions)
      : sessions_(std::move(sessions)) {}

  bool IsOf(const std::vector<std::string>& session_ids) const;
  std::optional<Found> Find(const std::string& key) const EXCLUDES(mutex_);
  // What was found first counts: that, or `found` if nothing was.
  Found Keep(const std::string& key, const Found& found) EXCLUDES(mutex_);

 private:
  const std::shared_ptr<const progress::SessionGroup> sessions_;
  mutable Mutex mutex_;
  std::map<std::string, Found> found_ GUARDED_BY(mutex_);
};

// The views of the builds that are under way: a source that works for the sessions of one sees what
// it has seen, whoever asked (a frontend, or the step itself).
class JobViews {
 public:
  // Known as long as somebody holds it.
  std::shared_ptr<JobView> Open(std::shared_ptr<const progress::SessionGroup> sessions)
      EXCLUDES(mutex_);

  template <typename T>
  std::optional<T> Find(const progress::Activity& activity, const std::string& key) const {
    for (const auto& view : ViewsOf(activity)) {
      if (const auto found = view->Find(key)) return std::get<T>(*found);
    }
    return std::nullopt;
  }
  // What the build goes on with.
  template <typename T>
  T Keep(const progress::Activity& activity, const std::string& key, T found) const {
    for (const auto& view : ViewsOf(activity)) found = std::get<T>(view->Keep(key, found));
    return found;
  }

 private:
  std::vector<std::shared_ptr<JobView>> ViewsOf(const progress::Activity& activity) const
      EXCLUDES(mutex_);

  mutable Mutex mutex_;
  mutable std::vector<std::weak_ptr<JobView>> views_ GUARDED_BY(mutex_);
};

}  // namespace kiln::source
