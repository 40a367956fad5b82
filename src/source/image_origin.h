#pragma once

// Inside source only.

#include <memory>
#include <optional>
#include <string>

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
  virtual Result<bool> IsKnown(store::Store& store, const Digest& digest) const = 0;
  // Notes that the blob `digest` in the store is to be had here.
  virtual Status Remember(store::Store& store, const Digest& digest) const = 0;
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
  Result<bool> IsKnown(store::Store& store, const Digest& digest) const override;
  Status Remember(store::Store& store, const Digest& digest) const override;

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
  // Content-addressed and not secret from this client, who has it: what is here is as good.
  Result<bool> IsKnown(store::Store& /*store*/, const Digest& /*digest*/) const override {
    return false;
  }
  Status Remember(store::Store& /*store*/, const Digest& /*digest*/) const override {
    return OkStatus();
  }

 private:
  const oci::Reference reference_;
  const std::string session_id_;
  const LayoutContent content_;
};

// `object required`, `reference "x" must have digest` and others.
Result<std::shared_ptr<ImageOrigin>> OriginOf(const Services& services, const llb::SourceId& id);

}  // namespace kiln::source
