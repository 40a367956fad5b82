// A folder as a client sends it: every packet that it may send, in any order, into a real folder.
// Input: one byte of options, then packets, each behind its length as a varint.
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "filesync/receiver.h"
#include "packets.h"
#include "scratch.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::filesync;

// Listens to nobody.
class InputStream final : public PacketInput {
 public:
  using PacketInput::PacketInput;
  bool Read(Packet* packet) override { return Next(packet); }
  bool Write(const Packet&, bool) override { return true; }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static Scratch scratch;
  ReceiveOptions options;
  options.merge = (data[0] & 1) != 0;
  options.metadata_only = (data[0] & 2) != 0;
  options.content_patterns = {"*", "!x"};
  const std::vector<Packet> packets = PacketsOf(data + 1, size - 1);
  {
    const sys::RootedPath folder = scratch.Begin();
    const auto root = folder.OpenDir("");
    CHECK(root.ok());
    // What one transfer leaves is where the next one starts; a listing survives being stored.
    const size_t rounds = (data[0] & 4) != 0 ? 2 : 1;
    for (size_t round = 0; round < rounds; ++round) {
      InputStream stream(packets);
      auto report = ReceiveTree(progress::Activity(), stream, root->get(), options);
      if (!report.ok()) break;
      auto stored = DecodeListing(EncodeListing(report->entries));
      CHECK(stored.ok() && *stored == report->entries);
      if (!options.merge) options.previous = *std::move(stored);
      options.differ_none = (data[0] & 8) != 0;
    }
  }
  (void)DecodeListing({reinterpret_cast<const char*>(data), size});
  scratch.End();
  return 0;
}
