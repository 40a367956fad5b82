#include "exporter/tree_exporter.h"

#include <set>

#include "archive/tar.h"
#include "base/parallel.h"
#include "base/strings.h"
#include "exporter/attributes.h"
#include "exporter/merged_tree.h"
#include "exporter/snapshot_tree.h"
#include "session/files.h"
#include "session/manager.h"
#include "store/store.h"

namespace kiln::exporter {
namespace {

constexpr size_t kChunkBytes = 256 << 10;

struct TreeAttributes {
  std::optional<bool> platform_split;  // unset: for map results; tars do so in any case
  bool delete_mode = false;
  std::string source;  // the folder whose content is exported; empty: all
  std::optional<std::optional<int64_t>> epoch_seconds;
};

struct PlatformPart {
  std::string id;
  std::optional<int64_t> epoch_seconds;
  store::TreeView view;
  std::string root = "/";  // what is exported lies below

  std::optional<int64_t> mtime_ns() const {
    return epoch_seconds ? std::optional(*epoch_seconds * 1'000'000'000) : std::nullopt;
  }
};

filesync::Entry PlatformFolder(const PlatformPart& part) {
  filesync::Entry entry;
  entry.path = PlatformFolderName(part.id);
  entry.mode = S_IFDIR | 0755;
  entry.mtime_ns = part.mtime_ns().value_or(0);
  return entry;
}

std::optional<archive::EntryType> TarTypeOf(const filesync::Entry& entry) {
  if (entry.IsHardLink()) return archive::EntryType::kHardlink;
  switch (entry.mode & S_IFMT) {
    case S_IFREG:
      return archive::EntryType::kFile;
    case S_IFDIR:
      return archive::EntryType::kDirectory;
    case S_IFLNK:
      return archive::EntryType::kSymlink;
    case S_IFCHR:
      return archive::EntryType::kCharDevice;
    case S_IFBLK:
      return archive::EntryType::kBlockDevice;
    case S_IFIFO:
      return archive::EntryType::kFifo;
    default:
      return std::nullopt;  // sockets have no place in a tar
  }
}

class TreeExporter final : public Exporter {
 public:
  TreeExporter(const Services& services, TreeAttributes attributes, bool tar, int index,
               std::string session_id)
      : services_(services),
        attributes_(std::move(attributes)),
        tar_(tar),
        index_(index),
        session_id_(std::move(session_id)) {}

  std::string name() const override {
    return tar_ ? "exporting to client tarball" : "exporting to client directory";
  }

  Result<Exported> Export(const progress::Activity& activity, const build::BuildResult& result,
                          const Digest& vertex) override {
    if (!result.attestations.empty()) return Unimplemented("exporting attestations is not served");
    TRY_ASSIGN(auto session, services_.sessions->Get(activity, session_id_));
    TRY_ASSIGN(auto platforms, build::PlatformsOf(result));
    if (!result.is_map && platforms.size() > 1)
      return InvalidArgument("unable to export multiple platforms without map");
    std::vector<PlatformPart> parts(platforms.size());
    TRY(ForEachParallel(*services_.blocking, kParallelPlatforms, parts.size(), [&](size_t i) {
      parts[i].id = platforms[i].id;
      return LoadPart(activity, result, parts[i]);
    }));
    bool split = attributes_.platform_split.value_or(result.is_map);
    Status sent = tar_ ? SendTar(activity, *session, parts, result.is_map, vertex)
                       : SendFolders(activity, *session, parts, split, vertex);
    TRY(std::move(sent));
    return Exported{};
  }

 private:
  Status LoadPart(const progress::Activity& activity, const build::BuildResult& result,
                  PlatformPart& part) {
    TRY_ASSIGN(part.epoch_seconds, EffectiveEpoch(attributes_.epoch_seconds, result, part.id));
    TRY_ASSIGN(const build::ReferencePtr reference, result.FindExported(part.id));
    if (reference) {
      TRY(reference->Use(activity, true, [&](const store::SnapshotRef& ref) -> Status {
        if (ref.is_scratch()) return OkStatus();
        TRY_ASSIGN(part.view, services_.store->Tree(ref));
        return OkStatus();
      }));
    }
    return SelectSource(part);
  }

  // Links of the result, and "..", lead no further up than its root.
  Status SelectSource(PlatformPart& part) const {
    if (attributes_.source.empty()) return OkStatus();
    auto found = part.view.Lookup(attributes_.source);
    if (!found.ok() && found.error().code() == Code::kNotFound)
      return NotFound("src={}: no such file or directory", attributes_.source);
    if (!found.ok()) return std::move(found.error().AddContext("src=" + attributes_.source));
    if (!found->node->IsDirectory())
      return InvalidArgument("src={}: not a directory", attributes_.source);
    part.root = found->path;
    return OkStatus();
  }

  std::unique_ptr<filesync::Tree> TreeOf(const PlatformPart& part, bool split) {
    auto tree = MakeSnapshotTree(part.view, part.mtime_ns(), part.root);
    if (!split) return tree;
    std::vector<std::pair<filesync::Entry, std::unique_ptr<filesync::Tree>>> folders;
    folders.emplace_back(PlatformFolder(part), std::move(tree));
    return filesync::Subfolders(std::move(folders));
  }

  std::unique_ptr<filesync::Tree> Merge(const std::vector<PlatformPart>& parts, bool split) {
    if (!split) {
      std::vector<std::unique_ptr<filesync::Tree>> trees;
      for (const auto& part : parts) trees.push_back(TreeOf(part, false));
      return trees.size() == 1 ? std::move(trees[0]) : MergeTrees(std::move(trees));
    }
    std::vector<std::pair<filesync::Entry, std::unique_ptr<filesync::Tree>>> folders;
    for (const auto& part : parts) {
      folders.emplace_back(PlatformFolder(part),
                           MakeSnapshotTree(part.view, part.mtime_ns(), part.root));
    }
    return filesync::Subfolders(std::move(folders));
  }

  // Without folders of their own, platforms must not bring the same path.
  Status CheckOverlap(const progress::Activity& activity, const std::vector<PlatformPart>& parts) {
    std::map<std::string, std::string> owners;
    for (const auto& part : parts) {
      auto tree = MakeSnapshotTree(part.view, {}, part.root);
      TRY(tree->Walk(activity, [&](const filesync::Entry& entry) -> Status {
        if (entry.IsDirectory()) return OkStatus();
        auto [owner, fresh] = owners.emplace(entry.path, part.id);
        if (fresh) return OkStatus();
        return InvalidArgument("cannot overwrite {} from {} with {} when split option is disabled",
                               entry.path, owner->second, part.id);
      }));
    }
    return OkStatus();
  }

  Status SendOne(const progress::Activity& activity, session::Session& session,
                 filesync::Tree& tree, bool all_platforms, const std::string& id,
                 const Digest& vertex) {
    progress::StatusScope status(activity, *services_.clock, vertex, id, "transferring");
    filesync::SendOptions options;
    options.chunk_bytes = kChunkBytes;
    options.on_progress = [&](int64_t bytes) { status.Update(bytes, 0); };
    TRY(session::SendTree(activity, session, index_, all_platforms, tree, options));
    return OkStatus();
  }

  Status SendFolders(const progress::Activity& activity, session::Session& session,
                     const std::vector<PlatformPart>& parts, bool split, const Digest& vertex) {
    if (!split && parts.size() > 1) TRY(CheckOverlap(activity, parts));
    if (attributes_.delete_mode) {
      return SendOne(activity, session, *Merge(parts, split), true, "copying files", vertex);
    }
    return ForEachParallel(*services_.blocking, kParallelPlatforms, parts.size(), [&](size_t i) {
      std::string id =
          parts.size() == 1 && !split ? "copying files" : "copying files " + parts[i].id;
      return SendOne(activity, session, *TreeOf(parts[i], split), false, id, vertex);
    });
  }

  Status SendTar(const progress::Activity& activity, session::Session& session,
                 const std::vector<PlatformPart>& parts, bool split, const Digest& vertex) {
    progress::StatusScope status(activity, *services_.clock, vertex, "sending tarball");
    TRY_ASSIGN(auto stream, session::OpenFileStream(activity, session, index_, {}));
    archive::TarWriter tar(*stream);
    auto tree = Merge(parts, split);
    TRY(tree->Walk(activity,
                   [&](const filesync::Entry& entry) { return AddToTar(tar, *tree, entry); }));
    TRY(tar.Finish());
    return stream->Finish();
  }

  static Status AddToTar(archive::TarWriter& tar, filesync::Tree& tree,
                         const filesync::Entry& entry) {
    auto type = TarTypeOf(entry);
    if (!type) return OkStatus();
    archive::TarEntry header;
    header.path = entry.path;
    header.type = *type;
    header.mode = entry.mode & 07777;
    header.uid = entry.uid;
    header.gid = entry.gid;
    header.size = entry.size;
    header.mtime = std::chrono::round<std::chrono::seconds>(FromUnixNanos(entry.mtime_ns));
    header.link = entry.linkname;
    header.device_major = entry.devmajor;
    header.device_minor = entry.devminor;
    header.xattrs = {entry.xattrs.begin(), entry.xattrs.end()};
    if (*type != archive::EntryType::kFile || entry.size == 0) return tar.Add(header);
    TRY_ASSIGN(auto content, tree.Open(entry));
    if (content.fd) return tar.AddFile(header, content.fd.get());
    TRY(tar.Add(header));
    return tar.WriteData(content.data);
  }

  const Services services_;
  const TreeAttributes attributes_;
  const bool tar_;
  const int index_;
  const std::string session_id_;
};

}  // namespace

std::string PlatformFolderName(std::string id) {
  for (char& c : id) {
    if (c == '/' || c == '\\' || c == ':') c = '_';
  }
  if (id == "." || id == "..") return std::string(id.size(), '_');
  return id;
}

Result<std::unique_ptr<Exporter>> MakeTreeExporter(const Services& services, const Request& request,
                                                   int index, const std::string& session_id) {
  auto attrs = request.attrs;
  TreeAttributes attributes;
  if (attrs.contains("platform-split")) {
    TRY_ASSIGN(attributes.platform_split, TakeBool(attrs, "platform-split", true, std::nullopt));
  }
  if (auto mode = attrs.find("mode"); mode != attrs.end() && request.type == "local") {
    if (mode->second != "copy" && mode->second != "delete" && !mode->second.empty()) {
      return InvalidArgument("invalid local exporter mode {}", Quoted(mode->second));
    }
    attributes.delete_mode = mode->second == "delete";
  }
  if (auto source = attrs.find("src"); source != attrs.end()) {
    if (source->second.empty())
      return InvalidArgument("empty value for src; omit it to export the entire filesystem");
    attributes.source = source->second;
  }
  TRY_ASSIGN(attributes.epoch_seconds, TakeEpoch(attrs));
  return std::unique_ptr<Exporter>(std::make_unique<TreeExporter>(
      services, std::move(attributes), request.type == "tar", index, session_id));
}

}  // namespace kiln::exporter
