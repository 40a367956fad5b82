#include "exporter/archive_exporter.h"

#include "archive/tar.h"
#include "base/strings.h"
#include "exporter/image_writer.h"
#include "oci/image_config.h"
#include "oci/json.h"
#include "oci/layout.h"
#include "oci/media_type.h"
#include "oci/reference.h"
#include "session/content.h"
#include "session/files.h"
#include "session/manager.h"
#include "store/store.h"

namespace kiln::exporter {
namespace {

constexpr std::string_view kExportStore = "export";

// What lies under one name of the archive: text, or a layer.
struct Item {
  uint32_t mode = 0444;
  const std::string* text = nullptr;
  const ImageLayer* layer = nullptr;
};
using Items = std::map<std::string, Item>;

class ArchiveExporter final : public Exporter {
 public:
  ArchiveExporter(const Services& services, ImageAttributes attributes, bool docker, bool tar,
                  int index, std::string session_id)
      : services_(services),
        attributes_(std::move(attributes)),
        docker_(docker),
        tar_(tar),
        index_(index),
        session_id_(std::move(session_id)) {}

  std::string name() const override {
    return docker_ ? "exporting to docker image format" : "exporting to oci image format";
  }

  Result<Exported> Export(const progress::Activity& activity, const build::BuildResult& result,
                          const Digest& vertex) override {
    if (docker_ && result.is_map) {
      return InvalidArgument("docker exporter does not currently support exporting manifest lists");
    }
    TRY_ASSIGN(auto names, NamesOf(result));
    TRY_ASSIGN(auto content, WriteImage(activity, services_, result, attributes_, vertex));
    TRY_ASSIGN(auto epoch, EffectiveEpoch(attributes_.epoch_seconds, result, ""));
    content.root.annotations.try_emplace(std::string(oci::kAnnotationCreated),
                                         CreatedOf(content, epoch));
    Exported exported;
    exported.response = ResponseOf(content);
    exported.image = ImageOf(content);
    if (!names.empty()) {
      std::vector<std::string> texts;
      for (const auto& reference : names) texts.push_back(reference.ToString());
      exported.response["image.name"] = Join(texts, ",");
    }
    TRY_ASSIGN(auto session, services_.sessions->Get(activity, session_id_));
    if (tar_) {
      TRY(SendArchive(activity, *session, content, names, exported.response, vertex));
    } else {
      TRY(StoreContent(activity, *session, content, vertex));
    }
    return exported;
  }

 private:
  Result<std::vector<oci::Reference>> NamesOf(const build::BuildResult& result) const {
    std::vector<std::string> texts = attributes_.names;
    if (auto it = result.metadata.find("image.name");
        attributes_.name_from_metadata && it != result.metadata.end()) {
      for (auto part : Split(it->second, ',')) texts.emplace_back(part);
    } else if (attributes_.name_from_metadata) {
      texts.emplace_back("*");  // nobody named it: refused below
    }
    std::vector<oci::Reference> names;
    for (const auto& text : texts) {
      TRY_ASSIGN_CTX(auto reference, oci::Reference::ParseNormalized(text), "failed to parse {}",
                     text);
      names.push_back(reference.WithDefaultTag());
    }
    return names;
  }

  // The epoch, else the image's own time: the same image gives the same archive whenever it is
  // exported. In whole seconds.
  std::string CreatedOf(const ImageContent& content, std::optional<int64_t> epoch) const {
    if (epoch) return FormatRfc3339(WallTime(std::chrono::seconds(*epoch)));
    auto config = oci::DecodeImageConfig(content.configs.front().content);
    WallTime created = services_.clock->Now();
    if (config.ok() && !config->created.empty()) {
      if (auto parsed = ParseRfc3339(config->created); parsed.ok()) created = *parsed;
    }
    return FormatRfc3339(std::chrono::floor<std::chrono::seconds>(created));
  }

  static std::string LayoutIndex(const ImageContent& content,
                                 const std::vector<oci::Reference>& names) {
    oci::Index index;
    index.media_type = oci::kOciIndex;
    for (const auto& reference : names) {
      oci::Descriptor named = content.root;
      named.annotations[std::string(oci::kAnnotationImageName)] = reference.ToString();
      named.annotations[std::string(oci::kAnnotationRefName)] =
          reference.tag().empty() ? reference.ToString() : reference.tag();
      index.manifests.push_back(std::move(named));
    }
    if (names.empty()) index.manifests.push_back(content.root);
    return oci::EncodeLayoutIndex(index);
  }

  static std::string DockerManifest(const ImageContent& content,
                                    const std::vector<oci::Reference>& names,
                                    const std::vector<oci::Descriptor>& layers) {
    oci::JsonWriter json;
    json.BeginArray().BeginObject();
    json.Key("Config").String(oci::LayoutBlobPath(content.config->digest));
    json.Key("RepoTags");
    if (names.empty()) {
      json.Null();
    } else {
      json.BeginArray();
      for (const auto& reference : names) json.String(reference.Familiar());
      json.EndArray();
    }
    json.Key("Layers").BeginArray();
    for (const auto& layer : layers) json.String(oci::LayoutBlobPath(layer.digest));
    json.EndArray().EndObject().EndArray();
    return json.Take();
  }

  Status SendArchive(const progress::Activity& activity, session::Session& session,
                     const ImageContent& content, const std::vector<oci::Reference>& names,
                     const std::map<std::string, std::string>& response, const Digest& vertex) {
    progress::StatusScope status(activity, *services_.clock, vertex, "sending tarball");
    std::string marker = oci::EncodeLayoutMarker();
    std::string index = LayoutIndex(content, names);
    std::string docker_manifest;
    Items items;
    items[std::string(oci::kLayoutMarkerFile)] = {0444, &marker, nullptr};
    items[std::string(oci::kLayoutIndexFile)] = {0644, &index, nullptr};
    for (const auto* documents : {&content.configs, &content.manifests}) {
      for (const auto& document : *documents) {
        items[oci::LayoutBlobPath(document.descriptor.digest)] = {0444, &document.content, nullptr};
      }
    }
    for (const auto& layer : content.layers)
      items[oci::LayoutBlobPath(layer.descriptor.digest)] = {0444, nullptr, &layer};
    if (docker_) {
      TRY_ASSIGN(auto manifest, oci::DecodeManifest(content.manifests.back().content));
      docker_manifest = DockerManifest(content, names, manifest.layers);
      items["manifest.json"] = {0644, &docker_manifest, nullptr};
    }
    TRY_ASSIGN(auto stream, session::OpenFileStream(activity, session, index_, response));
    archive::TarWriter tar(*stream);
    for (const char* dir : {"blobs", "blobs/sha256"}) {
      archive::TarEntry entry;
      entry.type = archive::EntryType::kDirectory;
      entry.path = dir;
      entry.mode = 0755;
      TRY(tar.Add(entry));
    }
    for (const auto& [path, item] : items) TRY(AddItem(activity, tar, path, item));
    TRY(tar.Finish());
    return stream->Finish();
  }

  Status AddItem(const progress::Activity& activity, archive::TarWriter& tar,
                 const std::string& path, const Item& item) {
    archive::TarEntry entry;
    entry.path = path;
    entry.mode = item.mode;
    if (item.text != nullptr) {
      entry.size = static_cast<int64_t>(item.text->size());
      TRY(tar.Add(entry));
      return tar.WriteData(*item.text);
    }
    TRY_ASSIGN(auto blob, services_.store->EnsureBlob(activity, item.layer->blob));
    entry.size = static_cast<int64_t>(blob.size());
    TRY_ASSIGN(auto fd, blob.Open());
    return tar.AddFile(entry, fd.get());
  }

  // Children first; the client writes index.json itself.
  Status StoreContent(const progress::Activity& activity, session::Session& session,
                      const ImageContent& content, const Digest& vertex) {
    progress::StatusScope status(activity, *services_.clock, vertex, "sending content");
    std::string store(kExportStore);
    for (const auto& layer : content.layers) {
      TRY_ASSIGN(auto blob, services_.store->EnsureBlob(activity, layer.blob));
      TRY_ASSIGN(auto fd, blob.Open());
      archive::FdSource source(fd.get());
      TRY(session::WriteContent(activity, session, store, blob.digest(),
                                static_cast<int64_t>(blob.size()), source));
    }
    for (const auto* documents : {&content.configs, &content.manifests}) {
      for (const auto& document : *documents) {
        archive::StringSource source(document.content);
        TRY(session::WriteContent(activity, session, store, document.descriptor.digest,
                                  document.descriptor.size, source));
      }
    }
    return OkStatus();
  }

  const Services services_;
  const ImageAttributes attributes_;
  const bool docker_;
  const bool tar_;
  const int index_;
  const std::string session_id_;
};

}  // namespace

Result<std::unique_ptr<Exporter>> MakeArchiveExporter(const Services& services,
                                                      const Request& request, int index,
                                                      const std::string& session_id) {
  auto attrs = request.attrs;
  TRY_ASSIGN(bool tar, TakeBool(attrs, "tar", true, true));
  TRY_ASSIGN(auto attributes, ParseImageAttributes(request, attrs, {}));
  for (const auto& name : attributes.names)
    TRY_CTX(oci::Reference::ParseNormalized(name), "failed to parse {}", name);
  return std::unique_ptr<Exporter>(std::make_unique<ArchiveExporter>(
      services, std::move(attributes), request.type == "docker", tar, index, session_id));
}

}  // namespace kiln::exporter
