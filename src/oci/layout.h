#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "oci/manifest.h"

namespace kiln::oci {

// OCI image-spec v1.1, image-layout: names inside the folder or archive. Reading and writing them
// is the caller's.
inline constexpr std::string_view kLayoutMarkerFile = "oci-layout";
inline constexpr std::string_view kLayoutIndexFile = "index.json";

// "blobs/sha256/<hex>".
std::string LayoutBlobPath(const Digest& digest);

// The content of `oci-layout`: {"imageLayoutVersion":"1.0.0"}.
std::string EncodeLayoutMarker();
// Fails unless the marker says version 1.
Status CheckLayoutMarker(std::string_view json);

// index.json is an Index; compact, as upstream's archives have it.
std::string EncodeLayoutIndex(const Index& index);

// The entry of index.json that `name` means: a tag or full name in the ref.name or image.name
// annotation, or a digest. An empty name means the only entry; with several, or none, nothing.
std::optional<Descriptor> FindInLayout(const Index& index, std::string_view name);
// Puts `descriptor` into the index under `name` (its ref.name annotation): an entry of that name is
// replaced, and so is an unnamed one with the same digest.
void PutInLayout(Index& index, Descriptor descriptor, std::string_view name);

}  // namespace kiln::oci
