#include "store/layers_below.h"

#include <sys/stat.h>

#include "store/layer_writer_internal.h"
#include "sys/file_info.h"

namespace kiln::store {

LayersBelow::~LayersBelow() {
  if (copier_) (void)sys::RemoveTree(options_.copies);
}

Status LayersBelow::Look() {
  if (union_ || !failed_.ok()) return failed_;
  failed_ = [&]() -> Status {
    TRY(options_.ready());
    TRY_ASSIGN(TreeView view, options_.views->ViewOf(options_.chain, nullptr));
    union_.emplace(std::move(view), layer_,
                   LayerWriter::Options{options_.root->options().privileges, nullptr});
    return OkStatus();
  }();
  return failed_;
}

std::optional<archive::TarEntry> LayersBelow::Attributes(const std::string& path) {
  if (!Look().ok()) return std::nullopt;
  const TreeView& below = union_->lower();
  auto found = below.Lookup("/" + path, Follow::kNo);
  if (!found.ok() || !found->node->IsDirectory()) return std::nullopt;
  archive::TarEntry entry;
  entry.path = path;
  entry.type = archive::EntryType::kDirectory;
  entry.mode = found->node->mode & 07777;
  entry.uid = found->node->uid;
  entry.gid = found->node->gid;
  entry.mtime = FromUnixNanos(found->node->mtime_ns);
  if (auto xattrs = below.Xattrs(*found); xattrs.ok()) entry.xattrs = std::move(*xattrs);
  return entry;
}

Result<archive::FilesBelow::Found> LayersBelow::Find(const std::string& path) {
  TRY(Look());
  TRY_ASSIGN(const auto entry, union_->Stat("/" + path, Follow::kNo));
  if (!entry) return NotFound("no such file or directory");
  if (entry->info.IsDirectory()) return InvalidArgument("it is not a file");
  return Found{entry->path.substr(1), entry->in_upper};
}

Result<archive::FilesBelow::Place> LayersBelow::Copy(const std::string& path) {
  TRY(Look());
  const auto known = copied_.find(path);
  if (known != copied_.end()) return Place{copies_.upper.get(), known->second};
  TRY_ASSIGN(const auto file, union_->Stat("/" + path, Follow::kNo));
  if (!file || file->in_upper) return Internal("{} is no file of the layers below", path);
  TRY(MakePlaceForCopies());
  const std::string name = std::to_string(copied_.size());
  TRY(CopyAs(name, *file));
  copied_.emplace(path, name);
  return Place{copies_.upper.get(), name};
}

Status LayersBelow::MakePlaceForCopies() {
  if (copier_) return OkStatus();
  if (mkdir(options_.copies.c_str(), 0700) != 0)
    return ErrnoError(errno, "create {}", options_.copies);
  TRY_ASSIGN(sys::RootedPath place, sys::RootedPath::Open(options_.copies));
  copier_.emplace(TreeView(), std::move(place),
                  LayerWriter::Options{options_.root->options().privileges, nullptr});
  TRY_ASSIGN(copies_, copier_->OpenDir("/"));
  return OkStatus();
}

// A small layer may name large files.
Status LayersBelow::CopyAs(const std::string& name, const WriterEntry& file) {
  TRY_ASSIGN(sys::Xattrs xattrs, union_->Xattrs(file));
  const NodeMeta meta = MetaOf(file.info, std::move(xattrs));
  if (file.info.IsSymlink()) return copier_->PutSymlink(copies_, name, file.link_target, meta);
  if (!file.info.IsRegular())
    return copier_->PutNode(copies_, name, file.info.mode, file.info.rdev, meta);
  TRY(options_.root->CheckSpace(file.info.size));
  TRY_ASSIGN(const Fd content, union_->lower().Open(*file.lower));
  return copier_->PutFile(copies_, name, content.get(), file.info.size, meta);
}

}  // namespace kiln::store
