#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "oci/platform.h"

namespace kiln::oci {

// Docker's extension; durations in nanoseconds.
struct HealthCheck {
  std::vector<std::string> test;
  int64_t interval_ns = 0;
  int64_t timeout_ns = 0;
  int64_t start_period_ns = 0;
  int64_t start_interval_ns = 0;
  int64_t retries = 0;

  friend bool operator==(const HealthCheck&, const HealthCheck&) = default;
};

// The "config" object: OCI image-spec v1.1 image config, plus Docker's Healthcheck, OnBuild and
// Shell. Empty lists and absent ones are one and the same: both are left out.
struct RunConfig {
  std::string user;
  std::set<std::string> exposed_ports;  // "80/tcp"
  std::vector<std::string> env;         // "NAME=value"
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::set<std::string> volumes;
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  bool args_escaped = false;
  std::optional<HealthCheck> health_check;
  std::vector<std::string> on_build;
  std::vector<std::string> shell;
  // Fields this type does not know: name → compact JSON. Written back, sorted, behind the known
  // ones.
  std::map<std::string, std::string> unknown;

  friend bool operator==(const RunConfig&, const RunConfig&) = default;
};

// Times are RFC 3339 text as read ("" if absent): year 1 is common in images and round trips must
// not change digests.
struct History {
  std::string created;
  std::string created_by;
  std::string author;
  std::string comment;
  bool empty_layer = false;

  friend bool operator==(const History&, const History&) = default;
};

struct RootFs {
  std::string type = "layers";
  std::vector<Digest> diff_ids;

  friend bool operator==(const RootFs&, const RootFs&) = default;
};

struct ImageConfig {
  std::string created;
  std::string author;
  Platform platform;
  RunConfig config;
  RootFs rootfs;
  std::vector<History> history;
  bool lists_history = false;  // there was a list of it, be it empty
  // As in RunConfig, for the top level ("moby.buildkit.cache.v0", "docker_version", …).
  std::map<std::string, std::string> unknown;

  friend bool operator==(const ImageConfig&, const ImageConfig&) = default;
};

inline constexpr size_t kMaxImageConfigBytes = size_t{16} << 20;

Result<ImageConfig> DecodeImageConfig(std::string_view json);
// Compact, top-level keys sorted, `config` in upstream's field order. Lists that nothing was ever
// put in are as upstream leaves them: no history, layers null.
std::string Encode(const ImageConfig& config);
// The same of an image that is exported, which says null where it has no time and no history.
std::string EncodeExported(const ImageConfig& config);

// Upstream's configuration of an image that has none: WORKDIR / and the usual PATH, no layers.
ImageConfig DefaultImageConfig(const Platform& platform);

// OCI image-spec v1.1, config.md#layer-chainid. Empty for no layers.
Digest ChainId(const std::vector<Digest>& diff_ids);
// The chain id of a layer on those of chain id `below`; of the lowest layer: on none.
Digest ChainIdOn(const std::optional<Digest>& below, const Digest& diff_id);
// The chain id of every prefix, lowest layer first; one pass.
std::vector<Digest> ChainIds(const std::vector<Digest>& diff_ids);

}  // namespace kiln::oci
