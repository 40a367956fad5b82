#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/time.h"

namespace kiln::progress {

// Plain values of a build's progress; fields as in moby.buildkit.v1.StatusResponse.

struct Group {
  std::string id;
  std::string name;
  bool weak = false;
};

// A step as clients see it. Always a complete snapshot of the vertex: a later one with the same
// digest replaces an earlier. `started` never changes once set; `completed` needs `started`.
struct Vertex {
  Digest digest;
  std::vector<Digest> inputs;
  std::string name;
  bool cached = false;
  std::optional<WallTime> started;
  std::optional<WallTime> completed;
  std::string error;
  std::optional<Group> group;
};

// A sub-task of a vertex: (vertex, id) identifies it; later values replace earlier ones.
struct VertexStatus {
  Digest vertex;  // empty inside an op's run: the flight's sink fills it in
  std::string id;
  std::string name;
  int64_t current = 0;
  int64_t total = 0;
  WallTime timestamp;
  std::optional<WallTime> started;
  std::optional<WallTime> completed;
};

enum class Stream : int { kStdout = 1, kStderr = 2 };

struct VertexLog {
  Digest vertex;  // as above
  WallTime timestamp;
  Stream stream = Stream::kStdout;
  std::string data;
};

// Lines count from 1, characters from 0.
struct Position {
  int line = 0;
  int character = 0;
  bool operator==(const Position&) const = default;
};
struct Range {
  Position start;
  Position end;
  bool operator==(const Range&) const = default;
};

struct SourceInfo {
  std::string filename;
  std::string data;
  std::string language;
  std::string definition;  // serialized pb.Definition, or empty
};

struct VertexWarning {
  Digest vertex;  // as above
  int level = 1;
  std::string short_text;
  std::vector<std::string> detail;
  std::string url;
  std::optional<SourceInfo> info;
  std::vector<Range> ranges;
};

// Takes progress. Calls come from any thread, must not block, and keep no reference to their
// argument. Events of one vertex come in order.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void OnVertex(const Vertex& vertex) = 0;
  virtual void OnStatus(const VertexStatus& status) = 0;
  virtual void OnLog(const VertexLog& log) = 0;
  virtual void OnWarning(const VertexWarning& warning) = 0;
};

// Drops everything.
class NullSink final : public Sink {
 public:
  void OnVertex(const Vertex&) override {}
  void OnStatus(const VertexStatus&) override {}
  void OnLog(const VertexLog&) override {}
  void OnWarning(const VertexWarning&) override {}
};

}  // namespace kiln::progress
