#include "archive/apply.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <set>
#include <unordered_set>

#include "archive/sparse.h"
#include "base/strings.h"
#include "sys/file_info.h"

namespace kiln::archive {
namespace {

mode_t TypeBits(EntryType type) {
  switch (type) {
    case EntryType::kCharDevice:
      return S_IFCHR;
    case EntryType::kBlockDevice:
      return S_IFBLK;
    case EntryType::kFifo:
      return S_IFIFO;
    default:
      return S_IFREG;
  }
}

// Applies one layer; lives for one ApplyLayer.
class Applier {
 public:
  Applier(ByteSource& tar, const sys::RootedPath& root, const ApplyOptions& options,
          const CancelToken& cancel)
      : source_(tar),
        reader_(tar, options.limits),
        root_(root),
        options_(options),
        cancel_(cancel),
        opaque_name_(options.privileges.opaque_attribute()) {}

  Result<ApplyResult> Run() {
    TarEntry entry;
    for (;;) {
      TRY(cancel_.Check());
      TRY_ASSIGN(bool more, reader_.Next(&entry));
      if (!more) break;
      ++result_.entries;
      if (entry.path.empty()) continue;  // the root itself
      TRY_CTX(Apply(entry), "{}", Quoted(entry.path));
    }
    TRY(Drain(source_));
    for (const std::string& path : linked_below_) TRY_CTX(LinkOriginal(path), "{}", Quoted(path));
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
      // Gone again if a later entry replaced it.
      (void)root_.SetTimes(it->first, it->second, it->second);
    }
    return result_;
  }

 private:
  Status Apply(const TarEntry& entry) {
    std::string base = BaseName(entry.path);
    if (base == kOpaqueMarker) return Report(entry, Digest(), ApplyOpaque(DirOf(entry.path)));
    if (base.starts_with(kWhiteoutPrefix)) {
      std::string name = base.substr(kWhiteoutPrefix.size());
      if (name.empty() || name == "." || name == "..") {
        return InvalidArgument("invalid whiteout name {}", Quoted(base));
      }
      return Report(entry, Digest(), ApplyWhiteout(DirOf(entry.path), name));
    }
    Digest content;
    TRY(Place(entry, &content));
    Remember(entry.path);
    return Report(entry, content, OkStatus());
  }

  // Overlay's marks need no list of what the layer brings.
  void Remember(std::string path) {
    if (options_.overlay_whiteouts) return;
    while (!path.empty() && applied_.insert(path).second) path = DirOf(path);
  }

  Status Report(const TarEntry& entry, const Digest& content, Status status) {
    TRY(std::move(status));
    return options_.on_entry ? options_.on_entry({entry, content}) : OkStatus();
  }

  static std::string DirOf(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::string() : path.substr(0, slash);
  }

  // Opens the directory that will hold `path`, making what is missing.
  Status OpenParent(const std::string& path) {
    std::string dir = DirOf(path);
    if (parent_ && parent_path_ == dir) return OkStatus();
    if (!dir.empty()) TRY(MakeParents(dir));
    TRY_ASSIGN(auto fd, dir.empty() ? root_.OpenDir("/") : root_.OpenDir(dir));
    parent_ = std::move(fd);
    parent_path_ = std::move(dir);
    return OkStatus();
  }

  // What a layer needs but does not list gets the attributes it has below, else 0755 root.
  Status MakeParents(const std::string& dir) {
    TRY_ASSIGN(bool exists, root_.Exists(dir, sys::Follow::kYes));
    if (exists) return OkStatus();
    if (std::string above = DirOf(dir); !above.empty()) TRY(MakeParents(above));
    TRY_ASSIGN(auto made, root_.MakeDirs(dir, 0755));
    if (!options_.parent_attributes || made.empty()) return OkStatus();
    auto like = options_.parent_attributes(dir);
    if (!like) return OkStatus();
    TRY_ASSIGN(auto place, root_.OpenParent(made.back()));
    TarEntry attributes = *like;
    attributes.type = EntryType::kDirectory;
    TRY(SetAttributes(place.dir.get(), place.name, attributes));
    directories_.emplace_back(dir, like->mtime);
    return OkStatus();
  }

  void ForgetParent() { parent_.Reset(); }

  Status Place(const TarEntry& entry, Digest* content) {
    TRY(OpenParent(entry.path));
    std::string name = BaseName(entry.path);
    auto old = sys::StatAt(parent_.get(), name);
    if (!old.ok() && old.error().code() != Code::kNotFound) return old.error();
    bool hides_below = false;
    bool keep = old.ok() && old->IsDirectory() && entry.type == EntryType::kDirectory;
    if (old.ok() && !keep) {
      hides_below =
          options_.overlay_whiteouts && old->IsWhiteout() && entry.type == EntryType::kDirectory;
      TRY(sys::RemoveTreeAt(parent_.get(), name));
    }
    TRY(Create(entry, name, keep, content));
    if (LeftOut(entry)) return OkStatus();
    if (hides_below) TRY(sys::SetXattrAt(parent_.get(), name, opaque_name_, "y"));
    if (entry.type == EntryType::kHardlink) return SetAttributesOfLinked(entry, name);
    TRY(SetAttributes(parent_.get(), name, entry));
    if (entry.type == EntryType::kDirectory) {
      directories_.emplace_back(entry.path, entry.mtime);
    } else {
      TRY(sys::SetTimesAt(parent_.get(), name, entry.mtime, entry.mtime));
    }
    // A directory or link may have taken the place of what a cached parent was reached through.
    if (entry.type != EntryType::kFile && old.ok() && !keep) ForgetParent();
    return OkStatus();
  }

  bool LeftOut(const TarEntry& entry) const {
    const bool device =
        entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice;
    return device && !options_.privileges.can_mknod;
  }

  Status Create(const TarEntry& entry, const std::string& name, bool keep, Digest* content) {
    int dir = parent_.get();
    switch (entry.type) {
      case EntryType::kFile:
        return WriteFile(entry, name, content);
      case EntryType::kDirectory:
        if (!keep && ::mkdirat(dir, name.c_str(), 0700) != 0)
          return ErrnoError(errno, "create directory");
        return OkStatus();
      case EntryType::kSymlink:
        if (::symlinkat(entry.link.c_str(), dir, name.c_str()) != 0)
          return ErrnoError(errno, "create link");
        return OkStatus();
      case EntryType::kHardlink:
        return MakeHardLink(entry, name);
      case EntryType::kCharDevice:
      case EntryType::kBlockDevice:
        if (LeftOut(entry)) return OkStatus();
        [[fallthrough]];
      case EntryType::kFifo: {
        dev_t device =
            entry.type == EntryType::kFifo ? 0 : makedev(entry.device_major, entry.device_minor);
        if (options_.overlay_whiteouts && entry.type == EntryType::kCharDevice && device == 0) {
          return InvalidArgument("character device 0:0 is not allowed in a layer");
        }
        if (::mknodat(dir, name.c_str(), TypeBits(entry.type) | 0600, device) != 0) {
          return ErrnoError(errno, "create node");
        }
        return OkStatus();
      }
    }
    return OkStatus();
  }

  Status MakeHardLink(const TarEntry& entry, const std::string& name) {
    Status linked = LinkTo(entry.link, name);
    const bool missing = !linked.ok() && linked.error().code() == Code::kNotFound;
    if (missing && options_.files_below != nullptr) linked = LinkBelow(entry.link, name);
    TRY_CTX(std::move(linked), "link to {}", Quoted(entry.link));
    return OkStatus();
  }

  // To a file that this layer has.
  Status LinkTo(const std::string& path, const std::string& name) {
    TRY_ASSIGN(auto target, root_.OpenParent(path));
    TRY_ASSIGN(auto info, sys::StatAt(target.dir.get(), target.name));
    if (info.IsDirectory() || info.IsWhiteout()) return InvalidArgument("it is not a file");
    return LinkAt(target.dir.get(), target.name, parent_.get(), name);
  }

  // To one that the layers below have, or that is reached through directories of theirs.
  Status LinkBelow(const std::string& path, const std::string& name) {
    TRY_ASSIGN(const FilesBelow::Found found, options_.files_below->Find(path));
    if (found.in_layer) return LinkTo(found.path, name);
    TRY_ASSIGN(const FilesBelow::Place copy, options_.files_below->Copy(found.path));
    TRY(LinkAt(copy.dir, copy.name, parent_.get(), name));
    linked_below_.insert(found.path);
    return OkStatus();
  }

  // The name that the file has below becomes one of the copy that this layer has linked to, unless
  // the layer, which may say so behind the link, removes or replaces it.
  Status LinkOriginal(const std::string& path) {
    const auto found = options_.files_below->Find(path);
    if (!found.ok() && found.error().code() != Code::kNotFound) return found.error();
    if (!found.ok() || found->in_layer || found->path != path) return OkStatus();
    TRY(OpenParent(path));
    TRY_ASSIGN(const FilesBelow::Place copy, options_.files_below->Copy(path));
    return LinkAt(copy.dir, copy.name, parent_.get(), BaseName(path));
  }

  static Status LinkAt(int from_dir, const std::string& from, int dir, const std::string& name) {
    if (::linkat(from_dir, from.c_str(), dir, name.c_str(), 0) != 0)
      return ErrnoError(errno, "create link");
    return OkStatus();
  }

  Status WriteFile(const TarEntry& entry, const std::string& name, Digest* content) {
    int fd = ::openat(parent_.get(), name.c_str(),
                      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return ErrnoError(errno, "create file");
    Fd file(fd);
    hash_.Reset();
    int64_t written = 0;
    for (;;) {
      TRY_ASSIGN(size_t count, reader_.Read(buffer_.data(), buffer_.size()));
      if (count == 0) break;
      written += static_cast<int64_t>(count);
      result_.bytes += static_cast<int64_t>(count);
      if (result_.bytes > options_.max_bytes) {
        return ResourceExhausted("the layer unpacks to more than {} bytes", options_.max_bytes);
      }
      TRY(cancel_.Check());
      if (options_.on_entry) hash_.Update(buffer_.data(), count);
      TRY(AppendContent(file.get(), entry, {buffer_.data(), count}, written));
    }
    if (written != entry.size)
      return DataLoss("has {} bytes, its header says {}", written, entry.size);
    if (options_.on_entry) *content = hash_.Finish();
    return OkStatus();
  }

  // Owner, xattrs, mode, in this order: chown clears setuid and capabilities.
  Status SetAttributes(int dir, const std::string& name, const TarEntry& entry) {
    if (options_.privileges.can_chown) {
      if (entry.uid > UINT32_MAX - 1 || entry.gid > UINT32_MAX - 1) {
        return InvalidArgument("owner {}:{} is out of range", entry.uid, entry.gid);
      }
      TRY(sys::ChownAt(dir, name, static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid)));
    }
    for (const auto& [key, value] : entry.xattrs) TRY(SetXattr(dir, name, entry, key, value));
    if (entry.type == EntryType::kSymlink) return OkStatus();
    return sys::ChmodAt(dir, name, entry.mode);
  }

  // A second name of a file brings attributes too; those of the last name count.
  Status SetAttributesOfLinked(const TarEntry& entry, const std::string& name) {
    TRY_ASSIGN(const sys::FileInfo info, sys::StatAt(parent_.get(), name));
    TarEntry attributes = entry;
    attributes.type = info.IsSymlink() ? EntryType::kSymlink : EntryType::kFile;
    TRY(SetAttributes(parent_.get(), name, attributes));
    return sys::SetTimesAt(parent_.get(), name, entry.mtime, entry.mtime);
  }

  // trusted.* would let a layer forge overlayfs's own marks, user.overlay.* likewise.
  Status SetXattr(int dir, const std::string& name, const TarEntry& entry, const std::string& key,
                  const std::string& value) {
    if (key.starts_with("trusted.") || key.starts_with("user.overlay.")) return OkStatus();
    auto set = sys::SetXattrAt(dir, name, key, value);
    if (set.ok() || set.error().code() == Code::kUnimplemented) return OkStatus();
    bool special = entry.type != EntryType::kFile && entry.type != EntryType::kDirectory;
    bool refused = set.error().code() == Code::kPermissionDenied;
    if (refused && (special || options_.privileges.userxattr)) return OkStatus();
    return set;
  }

  Status ApplyOpaque(const std::string& dir) {
    if (dir.empty() && options_.overlay_whiteouts)
      return OkStatus();  // the root: hidden by the caller's choice of lowers
    if (!dir.empty()) {
      TRY(ReplaceWhiteoutByDirectory(dir));
      TRY(MakeParents(dir));
    }
    if (options_.overlay_whiteouts) return root_.SetXattr(dir, opaque_name_, "y");
    TRY_ASSIGN(auto handle, root_.OpenDir(dir.empty() ? "/" : dir));
    TRY_ASSIGN(auto children, sys::ReadDir(handle.get()));
    for (const auto& child : children) TRY(RemoveUnlessApplied(handle.get(), dir, child.name));
    ForgetParent();
    return OkStatus();
  }

  // Without overlay: deletes what is not of this layer, at any depth.
  Status RemoveUnlessApplied(int dir, const std::string& dir_path, const std::string& name) {
    std::string path = dir_path.empty() ? name : dir_path + "/" + name;
    if (!applied_.contains(path)) return sys::RemoveTreeAt(dir, name);
    TRY_ASSIGN(auto info, sys::StatAt(dir, name));
    if (!info.IsDirectory()) return OkStatus();
    TRY_ASSIGN(auto handle, sys::OpenDirAt(dir, name));
    TRY_ASSIGN(auto children, sys::ReadDir(handle.get()));
    for (const auto& child : children) TRY(RemoveUnlessApplied(handle.get(), path, child.name));
    return OkStatus();
  }

  Status ReplaceWhiteoutByDirectory(const std::string& dir) {
    auto info = root_.Stat(dir);
    if (!info.ok() || !info->IsWhiteout()) return OkStatus();
    TRY(root_.Unlink(dir));
    ForgetParent();
    return OkStatus();
  }

  Status ApplyWhiteout(const std::string& dir, const std::string& name) {
    std::string path = dir.empty() ? name : dir + "/" + name;
    TRY(OpenParent(path));
    auto old = sys::StatAt(parent_.get(), name);
    if (!old.ok() && old.error().code() != Code::kNotFound) return old.error();
    if (!options_.overlay_whiteouts) {
      // What this layer itself brings is not meant.
      if (!old.ok() || applied_.contains(path)) return OkStatus();
      TRY(sys::RemoveTreeAt(parent_.get(), name));
      ForgetParent();
      return OkStatus();
    }
    if (old.ok()) {
      return old->IsDirectory() ? sys::SetXattrAt(parent_.get(), name, opaque_name_, "y")
                                : OkStatus();
    }
    if (::mknodat(parent_.get(), name.c_str(), S_IFCHR, makedev(0, 0)) != 0) {
      return ErrnoError(errno, "create whiteout");
    }
    return OkStatus();
  }

  ByteSource& source_;
  TarReader reader_;
  const sys::RootedPath& root_;
  const ApplyOptions& options_;
  const CancelToken& cancel_;
  const std::string opaque_name_;
  ApplyResult result_;
  // Where whiteouts delete: paths of this layer and the directories above them.
  std::unordered_set<std::string> applied_;
  std::vector<std::pair<std::string, WallTime>> directories_;  // times to set at the end
  std::set<std::string> linked_below_;  // files of the layers below that links have named
  Fd parent_;                           // of the last entry
  std::string parent_path_;
  Sha256 hash_;
  std::array<char, 128 << 10> buffer_;
};

}  // namespace

Result<ApplyResult> ApplyLayer(ByteSource& tar, const sys::RootedPath& root,
                               const ApplyOptions& options, const CancelToken& cancel) {
  return std::make_unique<Applier>(tar, root, options, cancel)->Run();
}

}  // namespace kiln::archive
