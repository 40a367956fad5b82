#include "client/display.h"

#include <unistd.h>

#include <cstdlib>

#include "client/json_display.h"
#include "client/paced_display.h"
#include "client/plain_screen.h"
#include "client/tty_screen.h"

namespace kiln::client {
namespace {

class QuietDisplay final : public Display {
 public:
  void OnVertex(const progress::Vertex&) override {}
  void OnStatus(const progress::VertexStatus&) override {}
  void OnLog(const progress::VertexLog&) override {}
  void OnWarning(const progress::VertexWarning&) override {}
  void Finish() override {}
};

}  // namespace

bool WantsColours() {
  const char* no = std::getenv("NO_COLOR");
  return no == nullptr || *no == '\0';
}

Result<DisplayMode> ParseDisplayMode(std::string_view name) {
  if (name.empty() || name == "auto") return DisplayMode::kAuto;
  if (name == "plain") return DisplayMode::kPlain;
  if (name == "tty") return DisplayMode::kTty;
  if (name == "quiet" || name == "none") return DisplayMode::kQuiet;
  if (name == "rawjson") return DisplayMode::kRawJson;
  return InvalidArgument("invalid progress mode {}: auto, plain, tty, quiet or rawjson", name);
}

std::shared_ptr<Display> MakeDisplay(DisplayMode mode, std::FILE* out, const Clock& clock) {
  if (mode == DisplayMode::kAuto)
    mode = isatty(fileno(out)) != 0 ? DisplayMode::kTty : DisplayMode::kPlain;
  switch (mode) {
    case DisplayMode::kTty:
      return std::make_shared<PacedDisplay>(
          out, clock, std::make_unique<TtyScreen>(clock.Now(), WantsColours()));
    case DisplayMode::kQuiet:
      return std::make_shared<QuietDisplay>();
    case DisplayMode::kRawJson:
      return std::make_shared<JsonDisplay>(out);
    case DisplayMode::kAuto:
    case DisplayMode::kPlain:
      break;
  }
  return std::make_shared<PacedDisplay>(out, clock, std::make_unique<PlainScreen>(WantsColours()));
}

}  // namespace kiln::client
