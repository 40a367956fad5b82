#include "client/layout_output.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>

#include "base/fd.h"
#include "base/strings.h"
#include "oci/layout.h"
#include "oci/media_type.h"
#include "oci/reference.h"

namespace kiln::client {
namespace {

const std::string* Annotation(const oci::Descriptor& descriptor, std::string_view key) {
  const auto it = descriptor.annotations.find(std::string(key));
  return it == descriptor.annotations.end() ? nullptr : &it->second;
}

// An image of that name, and an unnamed entry of the same image, make room.
void PutNamed(oci::Index& index, oci::Descriptor descriptor, const std::string& name) {
  const auto reference = oci::Reference::ParseNormalized(name);
  const bool tagged = reference.ok() && !reference->tag().empty();
  std::erase_if(index.manifests, [&](const oci::Descriptor& old) {
    const std::string* old_name = Annotation(old, oci::kAnnotationImageName);
    if (old_name != nullptr) return *old_name == name;
    return old.digest == descriptor.digest && Annotation(old, oci::kAnnotationRefName) == nullptr;
  });
  descriptor.annotations[std::string(oci::kAnnotationImageName)] = name;
  descriptor.annotations[std::string(oci::kAnnotationRefName)] = tagged ? reference->tag() : name;
  index.manifests.push_back(std::move(descriptor));
}

// The index is read and written by one at a time, until the descriptor is closed. What is locked is
// a folder of the layout's own, not the one that its user may have locked around the build.
Result<Fd> LockIndex(const std::string& folder) {
  TRY_ASSIGN(Fd blobs, OpenFile(folder + "/blobs", O_RDONLY | O_DIRECTORY));
  int locked = 0;
  do {
    locked = flock(blobs.get(), LOCK_EX);
  } while (locked != 0 && errno == EINTR);
  // Some network file systems have no locks: as without.
  return blobs;
}

}  // namespace

std::string LayoutDest(const std::vector<Output>& outputs) {
  for (const Output& output : outputs) {
    if (output.layout) return output.dest;
  }
  return "";
}

Status NameInLayout(const std::string& folder, const std::map<std::string, std::string>& response,
                    mode_t mode) {
  const auto found = response.find("containerimage.descriptor");
  const auto text = found == response.end() ? std::nullopt : Base64Decode(found->second);
  if (!text) return Internal("the daemon did not say which image it wrote to {}", folder);
  TRY_ASSIGN(const oci::Descriptor descriptor, oci::DecodeDescriptor(*text));
  const std::string index_file = folder + "/" + std::string(oci::kLayoutIndexFile);
  TRY_ASSIGN(const Fd lock, LockIndex(folder));
  oci::Index index;
  index.media_type = oci::kOciIndex;
  if (const auto old = ReadFile(index_file, oci::kMaxManifestBytes); old.ok()) {
    TRY_ASSIGN_CTX(index, oci::DecodeIndex(*old), "{}", index_file);
  }
  if (const auto name = response.find("image.name"); name != response.end()) {
    for (const auto one : Split(name->second, ',')) PutNamed(index, descriptor, std::string(one));
  } else {
    oci::PutInLayout(index, descriptor, "latest");
  }
  TRY(WriteFileAtomically(folder + "/" + std::string(oci::kLayoutMarkerFile),
                          oci::EncodeLayoutMarker(), mode));
  return WriteFileAtomically(index_file, oci::EncodeLayoutIndex(index), mode);
}

}  // namespace kiln::client
