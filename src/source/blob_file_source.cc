#include "source/blob_file_source.h"

#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "llb/source_key.h"
#include "oci/reference.h"
#include "source/blob_sources.h"
#include "source/layout_content.h"
#include "source/writer_sink.h"
#include "store/store.h"

namespace kiln::source {
namespace {

// A single, plain component.
Result<std::string> SafeName(const llb::BlobSource& spec, const Digest& digest) {
  if (spec.filename.empty()) return digest.hex();
  const std::string& name = spec.filename;
  const bool plain = name != "." && name != ".." && name.size() <= 255 &&
                     name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
  if (!plain) return InvalidArgument("invalid filename {} for {}", Quoted(name), spec.ref);
  return name;
}

class BlobFile final : public Source {
 public:
  BlobFile(const Services& services, llb::BlobSource spec, oci::Reference reference,
           std::string filename)
      : services_(services),
        spec_(std::move(spec)),
        reference_(std::move(reference)),
        digest_(*reference_.digest()),
        filename_(std::move(filename)) {}

  Result<SourceKey> Key(const progress::Activity& /*activity*/, int /*part*/) override {
    SourceKey key;
    key.key = llb::BlobKey(digest_, filename_, spec_.mode, spec_.uid, spec_.gid).ToString();
    key.parts = {{"blob", spec_.ref}, {"file name", filename_}};
    return key;
  }
  bool shows_key() const override { return false; }

  Result<store::SnapshotRef> Fetch(const progress::Activity& activity) override {
    TRY_ASSIGN(const store::BlobRef blob, Blob(activity));
    TRY_ASSIGN(store::ActiveSnapshot active, services_.store.Prepare(activity, {}));
    TRY(PutFile(active, blob));
    store::CommitOptions options;
    options.description = "blob " + spec_.ref;
    return services_.store.Commit(std::move(active), options);
  }

  std::optional<Material> material() const override {
    return Material{
        .kind = spec_.oci_layout ? Material::Kind::kOciLayoutBlob : Material::Kind::kImageBlob,
        .name = spec_.ref,
        .digest = digest_.ToString(),
        .platform = std::nullopt};
  }

 private:
  LayoutContent Content() const {
    return {services_.sessions, spec_.session_id, "oci:" + spec_.store_id};
  }

  Result<store::BlobRef> Blob(const progress::Activity& activity) const {
    auto here = services_.store.GetBlob(digest_);
    if (here.ok()) return here;
    oci::Descriptor descriptor;
    descriptor.digest = digest_;
    if (spec_.oci_layout) {
      TRY_ASSIGN(descriptor.size, Content().Stat(activity, digest_));
    } else {
      TRY_ASSIGN(descriptor.size, services_.registry.Open(reference_).StatBlob(activity, digest_));
    }
    TRY_ASSIGN(store::BlobWriter writer, services_.store.Ingest());
    WriterSink sink(writer);
    const progress::StatusScope status(activity, services_.clock, Digest(), digest_.ToString());
    if (spec_.oci_layout) {
      TRY(Content().Read(activity, descriptor, sink));
    } else {
      TRY(services_.registry.Open(reference_).FetchBlob(activity, descriptor, sink));
    }
    return writer.Commit(digest_, static_cast<uint64_t>(descriptor.size));
  }

  Status PutFile(store::ActiveSnapshot& active, const store::BlobRef& blob) const {
    TRY_ASSIGN(store::LayerWriter writer, active.Writer());
    TRY_ASSIGN(store::WriterDir root, writer.OpenDir("/"));
    TRY_ASSIGN(const Fd content, blob.Open());
    const store::NodeMeta meta{
        .mode = spec_.mode & 07777, .uid = spec_.uid, .gid = spec_.gid, .mtime = WallTime()};
    return writer.PutFile(root, filename_, content.get(), blob.size(), meta);
  }

  const Services services_;
  const llb::BlobSource spec_;
  const oci::Reference reference_;
  const Digest digest_;
  const std::string filename_;
};

}  // namespace

Result<SourcePtr> MakeBlobFile(const Services& services, const llb::BlobSource& spec) {
  TRY_ASSIGN(oci::Reference reference, oci::Reference::ParseNormalized(spec.ref));
  if (!reference.digest()) {
    return InvalidArgument("reference {} must have digest", Quoted(spec.ref));
  }
  if (spec.oci_layout && spec.store_id.empty()) {
    return InvalidArgument("oci-layout source {} names no store (attribute oci.store)",
                           Quoted(spec.ref));
  }
  TRY_ASSIGN(std::string filename, SafeName(spec, *reference.digest()));
  return SourcePtr(
      std::make_shared<BlobFile>(services, spec, std::move(reference), std::move(filename)));
}

}  // namespace kiln::source
