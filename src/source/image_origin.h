#pragma once

// Inside source only.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "oci/descriptor.h"
#include "oci/reference.h"
#include "progress/activity.h"
#include "source/layout_content.h"
#include "source/sources.h"
#include "store/layer.h"

namespace kiln::source {

// Where one image's documents are read from.
class ImageOrigin {
 public:
  virtual ~ImageOrigin() = default;
  // As in errors: "docker.io/library/alpine:3.20".
  virtual std::string name() const = 0;
  // The digest, if the name has one.
  virtual std::optional<Digest> digest() const = 0;
  // What the name stands for now; with content if that had to be read.
  virtual Result<registry::Resolved> Resolve(const progress::Activity& activity) const = 0;
  virtual Result<std::string> ReadManifest(const progress::Activity& activity,
                                           const oci::Descriptor& descriptor) const = 0;
  virtual Result<std::string> ReadConfig(const progress::Activity& activity,
                                         const oci::Descriptor& descriptor) const = 0;
  virtual store::Locator locator() const = 0;
  // Whether what is in the store under `digest` is known to come from here.
  Result<bool> IsKnown(store::Store& store, const Digest& digest) const;
  // Notes that the blob `digest` in the store is to be had here.
  Status Remember(store::Store& store, const Digest& digest) const;

 protected:
  // Host and repository that this is remembered by.
  virtual std::pair<std::string, std::string> place() const = 0;
};

class RegistryOrigin final : public ImageOrigin {
 public:
  RegistryOrigin(registry::Registry& registry, oci::Reference reference)
      : registry_(registry), reference_(std::move(reference)) {}

  std::string name() const override { return reference_.ToString(); }
  std::optional<Digest> digest() const override { return reference_.digest(); }
  Result<registry::Resolved> Resolve(const progress::Activity& activity) const override;
  Result<std::string> ReadManifest(const progress::Activity& activity,
                                   const oci::Descriptor& descriptor) const override;
  Result<std::string> ReadConfig(const progress::Activity& activity,
                                 const oci::Descriptor& descriptor) const override;
  store::Locator locator() const override;

 protected:
  std::pair<std::string, std::string> place() const override {
    return {reference_.domain(), reference_.path()};
  }

 private:
  registry::Registry& registry_;
  const oci::Reference reference_;
};

class LayoutOrigin final : public ImageOrigin {
 public:
  LayoutOrigin(session::Manager& sessions, const llb::OciLayoutSource& spec,
               oci::Reference reference);

  std::string name() const override { return reference_.ToString(); }
  std::optional<Digest> digest() const override { return reference_.digest(); }
  Result<registry::Resolved> Resolve(const progress::Activity& activity) const override;
  Result<std::string> ReadManifest(const progress::Activity& activity,
                                   const oci::Descriptor& descriptor) const override;
  Result<std::string> ReadConfig(const progress::Activity& activity,
                                 const oci::Descriptor& descriptor) const override;
  store::Locator locator() const override;

 protected:
  // By its name alone: once read, no store is asked for it again, as upstream has it.
  std::pair<std::string, std::string> place() const override {
    return {"oci-layout", reference_.name()};
  }

 private:
  const oci::Reference reference_;
  const std::string session_id_;
  const LayoutContent content_;
};

// `object required`, `reference "x" must have digest` and others.
Result<std::shared_ptr<ImageOrigin>> OriginOf(const Services& services, const llb::SourceId& id);

}  // namespace kiln::source
