// What a daemon tells of a build (serialized StatusResponses, one a part) and what its steps print,
// on every kind of screen.
#include <moby/buildkit/v1/control.pb.h>

#include <cstdio>
#include <memory>

#include "base/check.h"
#include "base/clock.h"
#include "client/json_display.h"
#include "client/plain_screen.h"
#include "client/progress_events.h"
#include "client/tty_screen.h"
#include "parts.h"
#include "quiet_protobuf.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::client;

// A screen as a sink, with the time as given.
class Showing final : public progress::Sink {
 public:
  Showing(Screen& screen, const Clock& clock) : screen_(screen), clock_(clock) {}
  void OnVertex(const progress::Vertex& vertex) override { screen_.OnVertex(vertex, clock_.Now()); }
  void OnStatus(const progress::VertexStatus& status) override {
    screen_.OnStatus(status, clock_.Now());
  }
  void OnLog(const progress::VertexLog& log) override { screen_.OnLog(log, clock_.Now()); }
  void OnWarning(const progress::VertexWarning& warning) override {
    screen_.OnWarning(warning, clock_.Now());
  }

 private:
  Screen& screen_;
  const Clock& clock_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Parts parts(data, size);
  FakeClock clock;
  static std::FILE* const nowhere = std::fopen("/dev/null", "w");
  JsonDisplay json(nowhere);
  TtyScreen tty(clock.Now(), size % 2 != 0);
  PlainScreen plain(size % 2 != 0);
  const ScreenSize screen{20 + size % 80, 2 + size % 20};
  for (size_t i = 0; i < parts.size(); ++i) {
    moby::buildkit::v1::StatusResponse response;
    if (!response.ParseFromArray(parts[i].data(), static_cast<int>(parts[i].size()))) continue;
    Emit(response, json);
    for (Screen* one : {static_cast<Screen*>(&tty), static_cast<Screen*>(&plain)}) {
      Showing sink(*one, clock);
      Emit(response, sink);
      (void)one->Draw(clock.Now(), screen);
    }
    clock.Advance(std::chrono::seconds(1));
  }
  (void)tty.Finish(clock.Now(), screen);
  (void)plain.Finish(clock.Now(), screen);
  json.Finish();
  return 0;
}
