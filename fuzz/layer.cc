// A layer as a registry serves it: decompressed, read, and unpacked below a folder.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "archive/apply.h"
#include "archive/compression.h"
#include "base/archive_magic.h"
#include "base/check.h"
#include "scratch.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::archive;

constexpr size_t kMostBytes = 1 << 18;  // an input may expand to far more
constexpr TarLimits kLimits = {.max_entries = 100, .max_path_bytes = 4096, .max_xattr_bytes = 4096};

std::string Expand(std::string_view data) {
  StringSource source(data);
  auto plain = Decompress(source);
  if (!plain.ok()) return {};
  std::string text(kMostBytes, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const auto count = (*plain)->Read(text.data() + size, text.size() - size);
    if (!count.ok() || *count == 0) break;
    CHECK(*count <= text.size() - size);
    size += *count;
  }
  text.resize(size);
  return text;
}

struct Item {
  TarEntry entry;
  std::string data;
};

// False if the archive is refused or too large.
bool ReadTar(std::string_view tar, std::vector<Item>* items) {
  StringSource source(tar);
  TarReader reader(source, kLimits);
  size_t total = 0;
  while (true) {
    Item item;
    const auto more = reader.Next(&item.entry);
    if (!more.ok()) return false;
    if (!*more) return true;
    std::array<char, 4096> buffer{};
    while (item.entry.type == EntryType::kFile) {
      const auto count = reader.Read(buffer.data(), buffer.size());
      if (!count.ok()) return false;
      if (*count == 0) break;
      item.data.append(buffer.data(), *count);
      if ((total += *count) > kMostBytes) return false;
    }
    items->push_back(std::move(item));
  }
}

// What was read can be written, and says the same again.
void RoundTrip(const std::vector<Item>& items) {
  StringSink sink;
  TarWriter writer(sink);
  std::vector<const Item*> written;
  for (const Item& item : items) {
    if (item.entry.path.empty()) continue;
    if (item.entry.type == EntryType::kHardlink && item.entry.link.empty()) continue;
    TarEntry entry = item.entry;
    entry.size = static_cast<int64_t>(item.data.size());
    if (!writer.Add(entry).ok()) continue;
    CHECK(writer.WriteData(item.data).ok());
    written.push_back(&item);
  }
  CHECK(writer.Finish().ok());
  std::vector<Item> again;
  CHECK(ReadTar(sink.text(), &again) && again.size() == written.size());
  for (size_t i = 0; i < again.size(); ++i) {
    const TarEntry& before = written[i]->entry;
    const TarEntry& after = again[i].entry;
    CHECK(after.path == before.path && after.type == before.type && after.link == before.link);
    CHECK(after.mode == before.mode && after.uid == before.uid && after.gid == before.gid);
    CHECK(again[i].data == written[i]->data);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)LooksLikeArchive(bytes);
  const std::string tar = Expand(bytes);
  std::vector<Item> items;
  if (ReadTar(tar, &items)) RoundTrip(items);

  static Scratch scratch;
  {
    const sys::RootedPath root = scratch.Begin();
    StringSource source(tar);
    ApplyOptions options;
    options.overlay_whiteouts = size % 2 == 0;
    options.max_bytes = kMostBytes;
    options.limits = kLimits;
    (void)ApplyLayer(source, root, options, CancelToken());
  }
  scratch.End();
  return 0;
}
