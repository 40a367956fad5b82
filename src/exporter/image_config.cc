#include "exporter/image_config.h"

#include <algorithm>

#include "base/strings.h"
#include "oci/image_config.h"

namespace kiln::exporter {
namespace {

size_t CountLayers(const std::vector<oci::History>& history) {
  return static_cast<size_t>(std::count_if(history.begin(), history.end(),
                                           [](const auto& entry) { return !entry.empty_layer; }));
}

// As many entries with a layer as there are layers.
void FitToLayers(std::vector<oci::History>& history, const std::vector<store::LayerBlob>& layers) {
  size_t have = CountLayers(history);
  for (size_t i = history.size(); i-- > 0 && have > layers.size();) {
    if (history[i].empty_layer) continue;
    history[i].empty_layer = true;
    --have;
  }
  for (size_t i = have; i < layers.size(); ++i) {
    oci::History entry;
    entry.created = layers[i].created ? FormatRfc3339(*layers[i].created) : "";
    entry.created_by =
        layers[i].description.empty() ? "created by buildkit" : layers[i].description;
    entry.comment = "buildkit.exporter.image.v0";
    history.push_back(std::move(entry));
  }
}

// Entries with a layer get that layer's time; the others the first time behind the first gap, else
// the last one before it.
void FillTimes(std::vector<oci::History>& history, const std::vector<store::LayerBlob>& layers) {
  size_t layer = 0;
  for (auto& entry : history) {
    if (entry.empty_layer) continue;
    const auto& created = layers[layer++].created;
    if (entry.created.empty() && created) entry.created = FormatRfc3339(*created);
  }
  std::string time;
  bool gap = false;
  for (const auto& entry : history) {
    if (entry.created.empty()) {
      gap = true;
      continue;
    }
    time = entry.created;
    if (gap) break;
  }
  gap = false;
  for (auto& entry : history) {
    if (entry.created.empty()) {
      gap = true;
      entry.created = time;
    } else if (gap) {
      time = entry.created;
    }
  }
}

std::string Clamp(const std::string& time, int64_t epoch_seconds) {
  WallTime epoch{std::chrono::seconds(epoch_seconds)};
  auto parsed = time.empty() ? Result<WallTime>(epoch) : ParseRfc3339(time);
  if (time.empty() || (parsed.ok() && *parsed > epoch)) return FormatRfc3339(epoch);
  return time;
}

void ClampTimes(oci::ImageConfig& config, const std::string& base_config, int64_t epoch_seconds) {
  size_t base_entries = 0;
  if (auto base = oci::DecodeImageConfig(base_config); !base_config.empty() && base.ok()) {
    while (base_entries < config.history.size() && base_entries < base->history.size() &&
           config.history[base_entries] == base->history[base_entries]) {
      ++base_entries;
    }
  }
  for (size_t i = base_entries; i < config.history.size(); ++i) {
    config.history[i].created = Clamp(config.history[i].created, epoch_seconds);
  }
  if (!config.created.empty()) config.created = Clamp(config.created, epoch_seconds);
}

}  // namespace

Result<std::string> MakeImageConfig(const std::string& text, const oci::Platform& platform,
                                    const std::vector<store::LayerBlob>& layers,
                                    const std::string& base_config,
                                    std::optional<int64_t> epoch_seconds) {
  oci::ImageConfig config = oci::DefaultImageConfig(platform);
  if (Trim(text) == "null") return InvalidArgument("invalid null image config for export");
  if (!text.empty()) {
    TRY_ASSIGN_CTX(config, oci::DecodeImageConfig(text), "invalid image config for export");
    if (config.platform.os.empty())
      return InvalidArgument("invalid image config for export: missing os");
    if (config.platform.architecture.empty()) {
      return InvalidArgument("invalid image config for export: missing architecture");
    }
  }
  config.rootfs.type = "layers";
  config.rootfs.diff_ids.clear();
  for (const auto& layer : layers) config.rootfs.diff_ids.push_back(layer.diff_id);
  FitToLayers(config.history, layers);
  FillTimes(config.history, layers);
  if (config.created.empty() && !config.history.empty())
    config.created = config.history.back().created;
  if (epoch_seconds) ClampTimes(config, base_config, *epoch_seconds);
  return oci::EncodeExported(config);
}

}  // namespace kiln::exporter
