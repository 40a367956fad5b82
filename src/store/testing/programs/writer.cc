// Fills the store at argv[1] for ever, telling on stdout what it was promised to be kept; a test
// kills it.
#include <unistd.h>

#include <cstdio>
#include <string>

#include "store/store.h"
#include "store/testing/files.h"

namespace kiln::store {
namespace {

void Tell(const std::string& line) {
  if (write(STDOUT_FILENO, line.data(), line.size()) < 0) _exit(1);
}

void Run(const std::string& root) {
  StoreOptions options;
  options.root = root;
  const auto store = Must(Store::Open(options));
  SnapshotRef top;
  for (int i = 0;; ++i) {
    const std::string text = std::to_string(i);
    if (i % 10 == 0) top = SnapshotRef();
    top = CommitFiles(*store, top, {{"/f", text}, {"/d" + text + "/x", text}});
    Tell("ref " + top.id() + " " + text + "\n");
    Must(store->LayerBlobs(progress::Activity(), top, {}));
    const BlobRef blob = Must(store->PutBlob("blob " + text));
    Tell("blob " + blob.digest().ToString() + " " + text + "\n");
    NamedDirOptions named;
    named.key = "dir";
    NamedDir dir = Must(store->OpenNamedDir(progress::Activity(), named));
    Must(dir.MarkDirty());
    Must(WriteFileAtomically(dir.path() + "/half", "not whole"));
    (void)unlink((dir.path() + "/half").c_str());
    Must(dir.MarkClean());
  }
}

}  // namespace
}  // namespace kiln::store

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  kiln::store::Run(argv[1]);
  return 0;
}
