// The changing half of LayerWriter.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/ids.h"
#include "base/strings.h"
#include "store/copy.h"
#include "store/layer_writer_internal.h"

namespace kiln::store {
namespace {

constexpr int kDirFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

using sys::KeepTimes;
using sys::ToTimespec;

Error NotDirectory(std::string_view path) {
  return FailedPrecondition("cannot copy to non-directory: {}", path);
}

Status SetTimesFd(int fd, const NodeMeta& meta) {
  if (!meta.mtime) return OkStatus();
  const timespec times[2] = {ToTimespec(meta.atime.value_or(*meta.mtime)), ToTimespec(*meta.mtime)};
  if (futimens(fd, times) != 0) return ErrnoError(errno, "set times");
  return OkStatus();
}

Status SetXattrsFd(int fd, const sys::Xattrs& xattrs) {
  for (const auto& [name, value] : xattrs) {
    if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) != 0 &&
        name == "security.capability") {
      return ErrnoError(errno, "set {}", name);
    }
  }
  return OkStatus();
}

}  // namespace

Status ApplyMetaFd(int fd, const NodeMeta& meta, const sys::Privileges& privileges) {
  struct stat st;
  if (fstat(fd, &st) != 0) return ErrnoError(errno, "stat");
  // What is right already costs no journal entry.
  const bool chowned = privileges.can_chown && (st.st_uid != meta.uid || st.st_gid != meta.gid);
  if (chowned && fchown(fd, meta.uid, meta.gid) != 0) {
    return ErrnoError(errno, "chown to {}:{}", meta.uid, meta.gid);
  }
  TRY(SetXattrsFd(fd, meta.xattrs));
  const bool differs = (st.st_mode & 07777) != (meta.mode & 07777) || chowned;
  if (differs && fchmod(fd, meta.mode & 07777) != 0) {
    return ErrnoError(errno, "chmod to {:o}", meta.mode);
  }
  return SetTimesFd(fd, meta);
}

Status ApplyMetaAt(int dir, const std::string& name, const NodeMeta& meta, bool is_symlink,
                   const sys::Privileges& privileges) {
  if (privileges.can_chown) TRY(sys::ChownAt(dir, name, meta.uid, meta.gid));
  for (const auto& [attribute, value] : meta.xattrs)
    (void)sys::SetXattrAt(dir, name, attribute, value);
  if (!is_symlink) {
    TRY(sys::ChmodAt(dir, name, meta.mode & 07777));
  }
  if (!meta.mtime) return OkStatus();
  return sys::SetTimesAt(dir, name, meta.atime.value_or(*meta.mtime), *meta.mtime);
}

Status LinkedInodes::Load() {
  for (const std::string& path : below_files) {
    TRY_ASSIGN(const std::string text, ReadFile(path, size_t{1} << 30));
    for (std::string_view line : Split(text, '\n')) {
      if (const auto inode = ParseUint(line)) below.insert(*inode);
    }
  }
  below_files.clear();
  return OkStatus();
}

Status LayerWriter::SetOpaque(int dir, const std::string& name) {
  return sys::SetXattrAt(dir, name, options_.privileges.opaque_attribute(), "y");
}

// Copies up the directory and its parents. Their times stay what they were.
Status LayerWriter::Materialize(WriterDir& dir) {
  if (dir.upper.valid()) return OkStatus();
  TRY_ASSIGN(Fd current, upper_.OpenDir("/"));
  std::string path;
  for (std::string_view part : Split(std::string_view(dir.path).substr(1), '/')) {
    const std::string name(part);
    path.append("/").append(name);
    Fd next(openat(current.get(), name.c_str(), kDirFlags));
    if (!next.valid()) {
      if (errno != ENOENT) return ErrnoError(errno, "{}", path);
      TRY_ASSIGN(const TreeEntry below, lower_.Lookup(path, Follow::kNo));
      TRY_ASSIGN(sys::Xattrs xattrs, lower_.Xattrs(below));
      sys::FileInfo info;
      info.mode = below.node->mode;
      info.uid = below.node->uid;
      info.gid = below.node->gid;
      info.mtime = info.atime = FromUnixNanos(below.node->mtime_ns);
      const KeepTimes keep(current.get());
      if (mkdirat(current.get(), name.c_str(), 0700) != 0)
        return ErrnoError(errno, "create {}", path);
      next = Fd(openat(current.get(), name.c_str(), kDirFlags));
      if (!next.valid()) return ErrnoError(errno, "open {}", path);
      TRY_CTX(ApplyMetaFd(next.get(), MetaOf(info, std::move(xattrs)), options_.privileges), "{}",
              path);
    }
    current = std::move(next);
  }
  dir.upper = std::move(current);
  return OkStatus();
}

Result<WriterDir> LayerWriter::EnterDir(WriterDir& dir, const std::string& name,
                                        const NodeMeta& meta, bool* created) {
  *created = false;
  Look look;
  if (!dir.fresh) {
    TRY_ASSIGN(look, LookAt(dir, name));
  }
  if (look.visible()) {
    if (!look.IsVisibleDirectory())
      return NotDirectory((dir.path == "/" ? "" : dir.path) + "/" + name);
    return Descend(dir, name, look);
  }
  TRY(Materialize(dir));
  WriterDir child;
  child.path = (dir.path == "/" ? "" : dir.path) + "/" + name;
  if (look.whiteout && unlinkat(dir.upper.get(), name.c_str(), 0) != 0)
    return ErrnoError(errno, "{}", child.path);
  if (mkdirat(dir.upper.get(), name.c_str(), 0700) != 0) {
    if (errno == EEXIST && dir.fresh) {
      dir.fresh = false;
      return EnterDir(dir, name, meta, created);
    }
    return ErrnoError(errno, "create {}", child.path);
  }
  if (look.lower) {
    TRY(SetOpaque(dir.upper.get(), name));
  }
  child.upper = Fd(openat(dir.upper.get(), name.c_str(), kDirFlags));
  if (!child.upper.valid()) return ErrnoError(errno, "open {}", child.path);
  child.fresh = true;
  *created = true;
  TRY_CTX(ApplyMetaFd(child.upper.get(), meta, options_.privileges), "{}", child.path);
  return child;
}

Status LayerWriter::FinishDir(WriterDir& dir, const NodeMeta& meta) {
  TRY(Materialize(dir));
  TRY_CTX(ApplyMetaFd(dir.upper.get(), meta, options_.privileges), "{}", dir.path);
  return OkStatus();
}

Status LayerWriter::RemoveIn(WriterDir& dir, const std::string& name) {
  TRY_ASSIGN(const Look look, LookAt(dir, name));
  if (!look.visible()) return OkStatus();
  TRY(Materialize(dir));
  if (look.upper) {
    TRY(sys::RemoveTreeAt(dir.upper.get(), name));
  }
  if (look.lower && mknodat(dir.upper.get(), name.c_str(), S_IFCHR, 0) != 0) {
    return ErrnoError(errno, "whiteout of {}/{}", dir.path, name);
  }
  return OkStatus();
}

Status LayerWriter::PrepareLeaf(WriterDir& dir, const std::string& name, bool* replace) {
  *replace = false;
  if (!dir.fresh) {
    TRY_ASSIGN(const Look look, LookAt(dir, name));
    if (look.IsVisibleDirectory()) {
      return FailedPrecondition("cannot replace to directory {} with file",
                                (dir.path == "/" ? "" : dir.path) + "/" + name);
    }
    *replace = look.in_delta();
  }
  return Materialize(dir);
}

// `create` makes a new entry under the name it is given, or fails with EEXIST.
Status LayerWriter::PutLeaf(WriterDir& dir, const std::string& name, const Create& create) {
  bool replace = false;
  TRY(PrepareLeaf(dir, name, &replace));
  const std::string path = (dir.path == "/" ? "" : dir.path) + "/" + name;
  if (!replace) {
    Status made = create(dir.upper.get(), name);
    if (made.ok() || made.error().code() != Code::kAlreadyExists) {
      TRY_CTX(std::move(made), "{}", path);
      return OkStatus();
    }
    dir.fresh = false;
    TRY(PrepareLeaf(dir, name, &replace));
  }
  const std::string temp = ".kiln-" + NewId();
  TRY_CTX(create(dir.upper.get(), temp), "{}", path);
  if (renameat(dir.upper.get(), temp.c_str(), dir.upper.get(), name.c_str()) != 0) {
    const int why = errno;
    (void)unlinkat(dir.upper.get(), temp.c_str(), 0);
    return ErrnoError(why, "create {}", path);
  }
  // rename(2) does nothing when both names are one inode.
  (void)unlinkat(dir.upper.get(), temp.c_str(), 0);
  return OkStatus();
}

namespace {

// A new regular file, filled and dressed; gone again if that fails.
template <typename Fill>
Status CreateFile(int dir, const std::string& name, const NodeMeta& meta,
                  const sys::Privileges& privileges, const Fill& fill) {
  const Fd fd(openat(dir, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                     meta.mode & 0777));
  if (!fd.valid()) return ErrnoError(errno, "create");
  Status status = fill(fd.get());
  if (status.ok()) status = ApplyMetaFd(fd.get(), meta, privileges);
  if (!status.ok()) (void)unlinkat(dir, name.c_str(), 0);
  return status;
}

}  // namespace

Status LayerWriter::PutFile(WriterDir& dir, const std::string& name, int content_fd, uint64_t size,
                            const NodeMeta& meta) {
  return PutLeaf(dir, name, [&](int at, const std::string& as) {
    return CreateFile(at, as, meta, options_.privileges,
                      [&](int fd) { return CopyContent(content_fd, fd, size); });
  });
}

Status LayerWriter::PutData(WriterDir& dir, const std::string& name, std::string_view data,
                            const NodeMeta& meta) {
  return PutLeaf(dir, name, [&](int at, const std::string& as) {
    return CreateFile(at, as, meta, options_.privileges,
                      [&](int fd) { return WriteAll(fd, data); });
  });
}

Status LayerWriter::PutSymlink(WriterDir& dir, const std::string& name, std::string_view target,
                               const NodeMeta& meta) {
  const std::string text(target);
  return PutLeaf(dir, name, [&](int at, const std::string& as) -> Status {
    if (symlinkat(text.c_str(), at, as.c_str()) != 0) return ErrnoError(errno, "symlink");
    return ApplyMetaAt(at, as, meta, true, options_.privileges);
  });
}

Status LayerWriter::PutNode(WriterDir& dir, const std::string& name, mode_t type, dev_t device,
                            const NodeMeta& meta) {
  const bool whiteout = S_ISCHR(type) && device == 0;
  if ((S_ISCHR(type) || S_ISBLK(type)) && !whiteout && !options_.privileges.can_mknod)
    return OkStatus();
  return PutLeaf(dir, name, [&](int at, const std::string& as) -> Status {
    if (mknodat(at, as.c_str(), (type & S_IFMT) | 0600, device) != 0)
      return ErrnoError(errno, "mknod");
    return ApplyMetaAt(at, as, meta, false, options_.privileges);
  });
}

Status LayerWriter::PutHardLink(WriterDir& dir, const std::string& name,
                                std::string_view existing) {
  TRY_ASSIGN(const sys::RootedPath::Parent source, upper_.OpenParent(existing));
  return PutLeaf(dir, name, [&](int at, const std::string& as) -> Status {
    if (linkat(source.dir.get(), source.name.c_str(), at, as.c_str(), 0) != 0)
      return ErrnoError(errno, "link");
    return OkStatus();
  });
}

Result<bool> LayerWriter::PutInode(WriterDir& dir, const std::string& name, int source_dir,
                                   const std::string& source_name, uint64_t inode) {
  if (options_.links == nullptr) return false;
  TRY(options_.links->Load());
  if (options_.links->below.contains(inode) || options_.links->own.contains(inode)) return false;
  bool refused = false;
  const Status put = PutLeaf(dir, name, [&](int at, const std::string& as) -> Status {
    if (linkat(source_dir, source_name.c_str(), at, as.c_str(), 0) == 0) return OkStatus();
    refused = errno == EXDEV || errno == EMLINK || errno == EPERM || errno == ENOENT;
    return ErrnoError(errno, "link");
  });
  if (refused) return false;
  TRY(put);
  options_.links->own.insert(inode);
  return true;
}

Status LayerWriter::MakeDir(std::string_view path, const NodeMeta& meta) {
  std::string name;
  TRY_ASSIGN(WriterDir parent, OpenParent(path, &name));
  TRY_ASSIGN(const auto existing, StatIn(parent, name));
  if (existing) return AlreadyExists("mkdir {}: file exists", path);
  bool created = false;
  TRY(EnterDir(parent, name, meta, &created));
  return OkStatus();
}

Result<std::vector<std::string>> LayerWriter::MakeDirs(std::string_view path,
                                                       const NodeMeta& meta) {
  TRY_ASSIGN(const std::string resolved, Resolve(path, Follow::kYes));
  std::vector<WriterDir> made;
  TRY_ASSIGN(WriterDir current, RootDir());
  for (std::string_view part : Split(std::string_view(resolved).substr(1), '/')) {
    if (part.empty()) continue;
    bool created = false;
    auto next = EnterDir(current, std::string(part), meta, &created);
    if (!next.ok()) {
      if (next.error().code() == Code::kFailedPrecondition)
        return FailedPrecondition("mkdir {}: not a directory", path);
      return std::move(next).error();
    }
    if (current.fresh) made.push_back(std::move(current));
    current = std::move(*next);
  }
  if (current.fresh) made.push_back(std::move(current));
  std::vector<std::string> paths;
  for (size_t i = made.size(); i-- > 0;) {
    TRY_CTX(SetTimesFd(made[i].upper.get(), meta), "{}", made[i].path);
  }
  for (const WriterDir& dir : made) paths.push_back(dir.path);
  return paths;
}

Status LayerWriter::WriteFile(std::string_view path, std::string_view data, const NodeMeta& meta) {
  std::string name;
  TRY_ASSIGN(WriterDir parent, OpenParent(path, &name));
  return PutData(parent, name, data, meta);
}

Status LayerWriter::Symlink(std::string_view target, std::string_view path, const NodeMeta& meta) {
  std::string name;
  TRY_ASSIGN(WriterDir parent, OpenParent(path, &name));
  TRY_ASSIGN(const auto existing, StatIn(parent, name));
  if (existing) return AlreadyExists("symlink {}: file exists", path);
  return PutSymlink(parent, name, target, meta);
}

Status LayerWriter::SetMeta(std::string_view path, const NodeMeta& meta) {
  TRY_ASSIGN(const auto found, Stat(path, Follow::kNo));
  if (!found) return NotFound("{}: no such file or directory", path);
  if (found->info.IsDirectory()) {
    TRY_ASSIGN(WriterDir dir, OpenDir(found->path));
    return FinishDir(dir, meta);
  }
  std::string name;
  TRY_ASSIGN(WriterDir parent, OpenParent(found->path, &name));
  return Recreate(parent, name, *found, meta);
}

// A non-directory anew, so that no other name of its inode changes.
Status LayerWriter::Recreate(WriterDir& dir, const std::string& name, const WriterEntry& entry,
                             const NodeMeta& meta) {
  if (entry.info.IsSymlink()) return PutSymlink(dir, name, entry.link_target, meta);
  if (!entry.info.IsRegular()) return PutNode(dir, name, entry.info.mode, entry.info.rdev, meta);
  Fd content;
  if (entry.in_upper) {
    TRY_ASSIGN(content, sys::OpenRegularAt(dir.upper.get(), name));
  } else {
    TRY_ASSIGN(content, lower_.Open(*entry.lower));
  }
  return PutFile(dir, name, content.get(), entry.info.size, meta);
}

Status LayerWriter::RemoveTree(std::string_view path) {
  const std::string clean = CleanAbsolute(path);
  if (clean != "/") {
    std::string name;
    auto parent = OpenParent(path, &name);
    if (!parent.ok())
      return parent.error().code() == Code::kNotFound ? OkStatus()
                                                      : Status(std::move(parent).error());
    return RemoveIn(*parent, name);
  }
  TRY_ASSIGN(const std::vector<std::string> names, List("/"));
  TRY_ASSIGN(WriterDir root, RootDir());
  for (const std::string& name : names) {
    TRY(RemoveIn(root, name));
  }
  return OkStatus();
}

}  // namespace kiln::store
