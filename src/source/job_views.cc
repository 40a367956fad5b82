#include "source/job_views.h"

#include <algorithm>

namespace kiln::source {

bool JobView::IsOf(const std::vector<std::string>& session_ids) const {
  const std::vector<std::string> mine = sessions_->SessionIds();
  return std::any_of(mine.begin(), mine.end(), [&](const std::string& id) {
    return std::find(session_ids.begin(), session_ids.end(), id) != session_ids.end();
  });
}

std::optional<JobView::Found> JobView::Find(const std::string& key) const {
  const MutexLock lock(mutex_);
  const auto it = found_.find(key);
  if (it == found_.end()) return std::nullopt;
  return it->second;
}

JobView::Found JobView::Keep(const std::string& key, const Found& found) {
  const MutexLock lock(mutex_);
  return found_.emplace(key, found).first->second;
}

std::shared_ptr<JobView> JobViews::Open(std::shared_ptr<const progress::SessionGroup> sessions) {
  auto view = std::make_shared<JobView>(std::move(sessions));
  const MutexLock lock(mutex_);
  std::erase_if(views_, [](const auto& known) { return known.expired(); });
  views_.push_back(view);
  return view;
}

std::vector<std::shared_ptr<JobView>> JobViews::ViewsOf(const progress::Activity& activity) const {
  const std::vector<std::string> ids = activity.sessions->SessionIds();
  std::vector<std::shared_ptr<JobView>> views;
  {
    const MutexLock lock(mutex_);
    for (const auto& known : views_) {
      if (auto view = known.lock()) views.push_back(std::move(view));
    }
  }
  std::erase_if(views, [&](const auto& view) { return !view->IsOf(ids); });
  return views;
}

}  // namespace kiln::source
