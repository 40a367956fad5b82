#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "build/reference.h"
#include "oci/platform.h"

namespace kiln::build {

enum class AttestationKind { kInToto = 0, kBundle = 1 };
enum class SubjectKind { kSelf = 0, kRaw = 1 };

struct AttestationSubject {
  SubjectKind kind = SubjectKind::kSelf;
  std::string name;
  std::vector<std::string> digests;
};

// As moby.buildkit.v1.frontend.Attestation.
struct Attestation {
  AttestationKind kind = AttestationKind::kInToto;
  std::map<std::string, std::string> metadata;
  ReferencePtr ref;
  std::string path;
  std::string in_toto_predicate_type;
  std::vector<AttestationSubject> in_toto_subjects;
};

// What a frontend returned: one reference, or one per key (platform) with metadata `refs.platforms`
// that says which. A value; copies share the references.
struct BuildResult {
  bool is_map = false;
  ReferencePtr ref;                          // not for maps; null: no reference
  std::map<std::string, ReferencePtr> refs;  // for maps; values may be null
  std::map<std::string, std::string> metadata;
  std::map<std::string, std::vector<Attestation>> attestations;  // by platform key

  // All references that are not null, attestations' included.
  std::vector<ReferencePtr> AllReferences() const;
  // For maps the reference of that key, or the only one; else the reference. Null if there is none.
  ReferencePtr Find(const std::string& key) const;
  // The same of what must be there: `failed to find ref for ID KEY`.
  Result<ReferencePtr> FindExported(const std::string& key) const;
};

// One platform of a result (metadata `refs.platforms`).
struct ResultPlatform {
  std::string id;  // key of `refs` and suffix of metadata keys
  oci::Platform platform;
};

inline constexpr std::string_view kPlatformsKey = "refs.platforms";
inline constexpr std::string_view kImageConfigKey = "containerimage.config";
inline constexpr std::string_view kBaseConfigKey = "containerimage.base.config";

// Of the metadata; without the key: the platform of the image config, else the host's. Errors as
// upstream's for what is no such list, an empty one, one with an empty id or platform, and a map
// without the key (`build result contains multiple refs without platforms mapping`).
Result<std::vector<ResultPlatform>> PlatformsOf(const BuildResult& result);
// The JSON of `refs.platforms`.
std::string EncodePlatforms(const std::vector<ResultPlatform>& platforms);
// metadata["key/<id>"], else metadata["key"]; null if absent.
const std::string* FindMetadata(const BuildResult& result, std::string_view key,
                                const std::string& platform_id);

}  // namespace kiln::build
