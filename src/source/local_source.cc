#include "source/local_source.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/strings.h"
#include "llb/source_key.h"
#include "session/files.h"
#include "source/folder_index.h"
#include "store/store.h"

namespace kiln::source {
namespace {

// When the client began to list what was received last, by its clock; kiln's clients say so.
constexpr const char* kListedLabel = "local.listed";

// The pinned session, then the others of the activity.
std::vector<std::string> Candidates(const progress::Activity& activity, const std::string& pinned) {
  std::vector<std::string> ids;
  if (!pinned.empty()) ids.push_back(pinned);
  for (std::string& id : activity.sessions->SessionIds()) {
    if (id != pinned) ids.push_back(std::move(id));
  }
  return ids;
}

Error NoSession() { return FailedPrecondition("could not access local files without session"); }

}  // namespace

std::string LocalFolder::FolderName() const {
  const size_t colon = spec_.session_id.find(':');
  if (colon == std::string::npos) return spec_.name;
  return spec_.session_id.substr(0, colon) + "-" + spec_.name;
}

bool LocalFolder::IsPinnedToNobody(const progress::Activity& activity) const {
  if (spec_.session_id.empty()) return false;
  const std::vector<std::string> mine = activity.sessions->SessionIds();
  return std::find(mine.begin(), mine.end(), spec_.session_id) == mine.end() &&
         services_.sessions.Find(spec_.session_id) == nullptr;
}

Result<SourceKey> LocalFolder::Key(const progress::Activity& activity, int /*part*/) {
  const std::vector<std::string> ids = Candidates(activity, spec_.session_id);
  if (ids.empty()) return NoSession();
  SourceKey key;
  key.key = llb::LocalKey(spec_, ids.front());
  // A session is never there again: what was fetched in place of its folder stands for it from then
  // on, as upstream has it, but in this daemon only.
  if (IsPinnedToNobody(activity)) key.key = "gone " + services_.daemon_id + " " + key.key;
  key.parts = {{"folder", spec_.name}, {"session", ids.front()}};
  return key;
}

std::optional<Material> LocalFolder::material() const {
  return Material{.kind = Material::Kind::kLocal, .name = spec_.name, .digest = {}, .platform = {}};
}

Result<store::SnapshotRef> LocalFolder::Fetch(const progress::Activity& activity) {
  std::optional<Error> last;
  for (const std::string& id : Candidates(activity, spec_.session_id)) {
    Result<store::SnapshotRef> ref = FetchFrom(activity, id);
    if (ref.ok() && IsPinnedToNobody(activity)) return services_.store.Solid(activity, *ref);
    if (ref.ok()) return ref;
    TRY(activity.Check());
    // A session that is gone or does not share the folder: another one may.
    const Code code = ref.error().code();
    const bool elsewhere = code == Code::kNotFound || code == Code::kUnavailable ||
                           code == Code::kDeadlineExceeded || code == Code::kUnknown;
    if (!elsewhere) return ref;
    if (!last) last = std::move(ref).error();
  }
  return last ? *std::move(last) : NoSession();
}

Result<store::NamedDir> LocalFolder::OpenDirectory(const progress::Activity& activity,
                                                   const std::string& shared_key) {
  store::NamedDirOptions options;
  options.key = "local:" + spec_.name + ":" + spec_.shared_key_hint + ":" + shared_key;
  if (spec_.metadata_only) options.key += ":metadata";
  options.type = store::kTypeLocalSource;
  options.description = "local source for " + spec_.name;
  options.sharing = store::Sharing::kPrivate;
  options.keep_if_dirty = false;
  return services_.store.OpenNamedDir(activity, options);
}

Result<store::SnapshotRef> LocalFolder::FetchFrom(const progress::Activity& activity,
                                                  const std::string& session_id) {
  progress::Activity only = activity;
  only.sessions = std::make_shared<progress::FixedSessions>(std::vector<std::string>{session_id});
  TRY_ASSIGN(const session::SessionPtr session,
             session::FindTreeSession(services_.sessions, only, session_id));
  TRY_ASSIGN(store::NamedDir dir, OpenDirectory(activity, session->shared_key()));
  TRY(dir.MarkDirty());
  Status received = Receive(activity, session, dir);
  if (received.ok()) received = dir.MarkClean();
  if (!received.ok()) {
    // Nobody can say what is in it now.
    dir.Discard();
    return std::move(received).error();
  }
  return services_.store.Freeze(std::move(dir), /*received=*/true);
}

Status LocalFolder::Receive(const progress::Activity& activity, const session::SessionPtr& session,
                            store::NamedDir& dir) {
  TRY_ASSIGN(const std::shared_ptr<store::LayerTree> index, dir.Index());
  Listing before;
  std::string listed_at;
  if (!dir.is_new()) {
    TRY_ASSIGN(before, ListingOf(*index));
    TRY_ASSIGN(listed_at, dir.Label(kListedLabel));
  }
  TRY_ASSIGN(const Fd root, OpenFile(dir.path(), O_RDONLY | O_DIRECTORY));
  const filesync::TreeRequest request{.name = FolderName(),
                                      .include = spec_.include_patterns,
                                      .exclude = spec_.exclude_patterns,
                                      .follow_paths = spec_.follow_paths};
  TRY_ASSIGN(const session::OpenedTree tree,
             session::OpenTree(services_.sessions, activity, session, request));
  progress::StatusScope status(activity, services_.clock, Digest(),
                               "transferring " + spec_.name + ":", "transferring");
  filesync::ReceiveOptions options;
  options.previous = std::move(before.entries);
  options.previous_listed_at_ns = ParseInt(listed_at).value_or(0);
  options.differ_none = spec_.differ == llb::Differ::kNone;
  options.metadata_only = spec_.metadata_only;
  options.content_patterns = spec_.metadata_exceptions;
  options.make_hasher = MakeEntryHasher;
  options.on_progress = [&status](int64_t bytes) { status.Update(bytes, 0); };
  TRY_ASSIGN(const filesync::ReceiveReport report,
             filesync::ReceiveTree(activity, *tree.stream, root.get(), std::move(options)));
  TRY(dir.SetLabel(kListedLabel,
                   report.listed_at_ns == 0 ? "" : std::to_string(report.listed_at_ns)));
  return UpdateIndex(*index, report, before);
}

}  // namespace kiln::source
