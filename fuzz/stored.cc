// Files of a root that a crash or a bad disk may have changed: the log of a build, its record, the
// index of a layer, a folder's listing, what a source op kept. The first byte says which.
#include <stdlib.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "filesync/entry.h"
#include "history/filter.h"
#include "history/history.h"
#include "ops/source_op.h"
#include "store/layer_tree.h"
#include "store/layer_tree_file.h"
#include "sys/rooted_path.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose

// A folder of this process's own, gone at the end.
struct Folder {
  Folder() { CHECK(mkdtemp(path.data()) != nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = std::filesystem::temp_directory_path() / "kiln-fuzz-XXXXXX";
};

void ReadLog(const std::string& path) {
  auto reader = history::LogReader::Open(path);
  CHECK(reader.ok());
  moby::buildkit::v1::StatusResponse batch;
  for (int i = 0; i < 1000; ++i) {
    const auto more = reader->Next(&batch);
    if (!more.ok() || !*more) return;
  }
}

// A record lies under a name made of its ref; the filter is the ref's text.
void ReadRecord(const std::string& folder, const std::string& bytes) {
  history::Record record;
  if (!record.ParseFromString(bytes)) return;
  const std::string stem = folder + "/" + Sha256Of(record.ref()).hex().substr(0, 32);
  CHECK(WriteFileAtomically(stem + ".record", bytes).ok());
  CHECK(WriteFileAtomically(stem + ".log", "").ok());
  FakeClock clock;
  {
    const auto history = history::History::Open(folder, clock, history::Retention());
    CHECK(history.ok());
    for (const auto& one : (*history)->Completed()) {
      (void)(*history)->FindBlob(one.logs().digest());
      (void)history::RepositoryOf(one);
      (void)history::Matching({one}, {record.ref()}, clock.Now());
    }
    (*history)->Collect();
    (void)(*history)->Delete(record.ref());
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    std::filesystem::remove_all(entry.path());
}

// The input is what lies between the magic bytes and the checksum.
void ReadIndex(const std::string& folder, const std::string& path, const std::string& bytes) {
  std::string file = std::string(store::kLayerIndexMagic) + bytes;
  const uint64_t sum = store::LayerIndexChecksum(file);
  file.append(reinterpret_cast<const char*>(&sum), sizeof sum);
  CHECK(WriteFileAtomically(path, file).ok());
  const auto tree = store::LayerTree::Load(*sys::RootedPath::Open(folder), path);
  if (!tree.ok()) return;
  (void)(*tree)->MemoryBytes();
  (void)(*tree)->Find("a/b");
  // Saving writes only what changed.
  (void)(*tree)->Remove("a");
  CHECK((*tree)->Save(path).ok());
  CHECK(store::LayerTree::Load(*sys::RootedPath::Open(folder), path).ok());
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  SetLogLevel(LogLevel::kError);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const Folder folder;
  static const Folder history;
  const std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string path = folder.path + "/file";
  CHECK(WriteFileAtomically(path, bytes).ok());
  switch (data[0]) {
    case 'l':
      ReadLog(path);
      break;
    case 'r':
      ReadRecord(history.path, bytes);
      break;
    case 'i':
      ReadIndex(folder.path, path, bytes);
      break;
    case 'f':
      if (const auto listing = filesync::DecodeListing(bytes); listing.ok()) {
        const auto again = filesync::DecodeListing(filesync::EncodeListing(*listing));
        CHECK(again.ok() && *again == *listing);
      }
      break;
    case 'm':
      if (const auto materials = ops::DecodeMaterials(bytes); materials.ok()) {
        CHECK(ops::DecodeMaterials(ops::EncodeMaterials(*materials)).ok());
      }
      break;
    default:
      break;
  }
  return 0;
}
