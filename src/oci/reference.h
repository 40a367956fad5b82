#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace kiln::oci {

// A name of an image: `domain/path[:tag][@digest]`. Grammar and texts of errors are Docker's
// (distribution/reference).
class Reference {
 public:
  // What a user types: "alpine" → docker.io/library/alpine, "me/app:1" → docker.io/me/app:1. Adds
  // no tag; see WithDefaultTag.
  static Result<Reference> ParseNormalized(std::string_view text);
  // A source identifier: fully qualified, and with a tag or digest ("object required").
  static Result<Reference> ParseIdentifier(std::string_view text);
  // From parts that were checked elsewhere or are checked now.
  static Result<Reference> Make(std::string_view domain, std::string_view path);

  // "docker.io", "localhost:5000", "[::1]:5000".
  const std::string& domain() const { return domain_; }
  // "library/alpine".
  const std::string& path() const { return path_; }
  // "docker.io/library/alpine".
  std::string name() const { return domain_ + "/" + path_; }
  // "" if there is none.
  const std::string& tag() const { return tag_; }
  const std::optional<Digest>& digest() const { return digest_; }

  // What a manifest request asks for: the digest if there is one, else the tag, else "latest".
  std::string object() const;
  // name[:tag][@digest].
  std::string ToString() const;
  // As users write it: "alpine:3". Parsing it gives the same reference.
  std::string Familiar() const;
  std::string FamiliarName() const;

  // With tag "latest" if there is neither tag nor digest.
  Reference WithDefaultTag() const;
  Result<Reference> WithTag(std::string_view tag) const;
  Reference WithDigest(const Digest& digest) const;
  // Only the name.
  Reference NameOnly() const;

  friend bool operator==(const Reference&, const Reference&) = default;
  friend auto operator<=>(const Reference&, const Reference&) = default;

 private:
  Reference() = default;

  std::string domain_;
  std::string path_;
  std::string tag_;
  std::optional<Digest> digest_;
};

}  // namespace kiln::oci
