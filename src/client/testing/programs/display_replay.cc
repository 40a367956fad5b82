// Plays events of a script with a hand-wound clock to a screen and prints what it draws, for tests
// that look at it through a terminal's eyes.
//
// usage: client_display_replay tty|plain|rawjson [no-colour] <script
// One JSON object a line, times in seconds since the start: {"at": 0.5} and one of
//   "vertex": {"id", "name", "inputs": [id…], "started", "completed", "cached", "error"}
//   "status": {"vertex", "id", "current", "total", "started", "completed"}
//   "log": {"vertex", "data", "stream"}   "warning": {"vertex", "short"}
//   "size": [width, height]               "finish": true
// Prints one JSON object for each thing drawn: {"at", "width", "height", "data": base64}; rawjson
// prints what it prints.
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/strings.h"
#include "client/json_display.h"
#include "client/plain_screen.h"
#include "client/tty_screen.h"

namespace kiln::client {
namespace {

using Json = nlohmann::json;

constexpr std::chrono::milliseconds kInterval{100};

class Replay {
 public:
  explicit Replay(std::unique_ptr<Screen> screen) : screen_(std::move(screen)) {}
  Replay() : raw_(std::make_unique<JsonDisplay>(stdout)) {}

  void Play(const Json& line) {
    const WallTime at = Time(line.at("at"));
    while (at >= next_draw_) {
      clock_.Advance(next_draw_ - clock_.Now());
      Draw();
      next_draw_ += kInterval;
    }
    clock_.Advance(at - clock_.Now());
    if (line.contains("size")) size_ = {line["size"][0], line["size"][1]};
    if (line.contains("vertex")) Vertex(line["vertex"]);
    if (line.contains("status")) Status(line["status"]);
    if (line.contains("log")) Log(line["log"]);
    if (line.contains("warning")) Warning(line["warning"]);
    if (line.contains("finish") && screen_) Put(screen_->Finish(clock_.Now(), size_));
  }

 private:
  WallTime Time(const Json& seconds) const {
    return start_ + nanoseconds(std::llround(seconds.get<double>() * 1e9));
  }
  std::optional<WallTime> Optional(const Json& object, const char* key) const {
    if (!object.contains(key) || object[key].is_null()) return std::nullopt;
    return Time(object[key]);
  }

  void Vertex(const Json& from) {
    progress::Vertex vertex;
    vertex.digest = Sha256Of(from.at("id").get<std::string>());
    vertex.name = from.value("name", "");
    for (const auto& input : from.value("inputs", Json::array()))
      vertex.inputs.push_back(Sha256Of(input.get<std::string>()));
    vertex.started = Optional(from, "started");
    vertex.completed = Optional(from, "completed");
    vertex.cached = from.value("cached", false);
    vertex.error = from.value("error", "");
    if (raw_) raw_->OnVertex(vertex);
    if (screen_) screen_->OnVertex(vertex, clock_.Now());
  }

  void Status(const Json& from) {
    progress::VertexStatus status;
    status.vertex = Sha256Of(from.at("vertex").get<std::string>());
    status.id = from.value("id", "");
    status.current = from.value("current", int64_t{0});
    status.total = from.value("total", int64_t{0});
    status.timestamp = clock_.Now();
    status.started = Optional(from, "started");
    status.completed = Optional(from, "completed");
    if (raw_) raw_->OnStatus(status);
    if (screen_) screen_->OnStatus(status, clock_.Now());
  }

  void Log(const Json& from) {
    const progress::VertexLog log{Sha256Of(from.at("vertex").get<std::string>()), clock_.Now(),
                                  static_cast<progress::Stream>(from.value("stream", 1)),
                                  Base64Decode(from.at("data").get<std::string>()).value_or("")};
    if (raw_) raw_->OnLog(log);
    if (screen_) screen_->OnLog(log, clock_.Now());
  }

  void Warning(const Json& from) {
    progress::VertexWarning warning;
    warning.vertex = Sha256Of(from.at("vertex").get<std::string>());
    warning.short_text = from.value("short", "");
    if (raw_) raw_->OnWarning(warning);
    if (screen_) screen_->OnWarning(warning, clock_.Now());
  }

  void Draw() {
    if (screen_) Put(screen_->Draw(clock_.Now(), size_));
  }
  void Put(const std::string& text) {
    if (text.empty()) return;
    const double at = std::chrono::duration<double>(clock_.Now() - start_).count();
    const Json line = {
        {"at", at}, {"width", size_.width}, {"height", size_.height}, {"data", Base64Encode(text)}};
    std::cout << line.dump() << "\n";
  }

  FakeClock clock_;
  const WallTime start_ = clock_.Now();
  WallTime next_draw_ = start_ + kInterval;
  ScreenSize size_;
  const std::unique_ptr<Screen> screen_;
  const std::unique_ptr<JsonDisplay> raw_;
};

int Main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const bool colours = argc < 3;
  std::unique_ptr<Replay> replay;
  if (mode == "tty") {
    replay = std::make_unique<Replay>(std::make_unique<TtyScreen>(FakeClock().Now(), colours));
  } else if (mode == "plain") {
    replay = std::make_unique<Replay>(std::make_unique<PlainScreen>(colours));
  } else if (mode == "rawjson") {
    replay = std::make_unique<Replay>();
  } else {
    std::cerr << "usage: client_display_replay tty|plain|rawjson [no-colour] <script\n";
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) replay->Play(Json::parse(line));
  return 0;
}

}  // namespace
}  // namespace kiln::client

int main(int argc, char** argv) { return kiln::client::Main(argc, argv); }
