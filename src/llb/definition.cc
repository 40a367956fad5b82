#include "llb/definition.h"

#include <limits>
#include <unordered_map>
#include <utility>

#include "llb/marshal.h"
#include "llb/validate.h"

namespace kiln::llb {
namespace {

using IndexOf = std::unordered_map<Digest, uint32_t>;

// A vertex name is for people: names made of names must not grow with the graph.
constexpr size_t kMaxNameBytes = 4096;

Result<IndexOf> IndexByOriginal(const RawGraph& raw) {
  IndexOf index;
  index.reserve(raw.ops.size());
  for (uint32_t i = 0; i < raw.ops.size(); ++i) index.emplace(raw.ops[i].original, i);
  return index;
}

// For every op the ops it takes inputs from, by position in `raw`.
Result<std::vector<std::vector<uint32_t>>> ResolveInputs(const RawGraph& raw) {
  TRY_ASSIGN(IndexOf index, IndexByOriginal(raw));
  std::vector<std::vector<uint32_t>> inputs(raw.ops.size());
  for (size_t i = 0; i < raw.ops.size(); ++i) {
    inputs[i].reserve(raw.ops[i].op.inputs_size());
    for (const pb::Input& input : raw.ops[i].op.inputs()) {
      auto digest = Digest::Parse(input.digest());
      auto found = digest.ok() ? index.find(*digest) : index.end();
      if (found == index.end()) return Unknown("invalid missing input digest {}", input.digest());
      inputs[i].push_back(found->second);
    }
  }
  return inputs;
}

// Errors of a step show where it was written.
Status CheckLocations(const pb::Source& source) {
  for (const auto& [digest, locations] : source.locations()) {
    for (const pb::Location& location : locations.locations()) {
      const int index = location.sourceindex();
      if (index < 0 || index >= source.infos_size())
        return Unknown("invalid source index {} for vertex {}", index, digest);
    }
  }
  return OkStatus();
}

// What `root` needs, inputs before their users, `root` last. With sha256 a cycle cannot be written
// down, but this does not depend on it.
Result<std::vector<uint32_t>> InputsFirst(const std::vector<std::vector<uint32_t>>& inputs,
                                          uint32_t root) {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  struct Frame {
    uint32_t op;
    size_t next_input;
  };
  std::vector<Mark> marks(inputs.size(), Mark::kNew);
  std::vector<uint32_t> order;
  std::vector<Frame> stack = {{root, 0}};
  marks[root] = Mark::kOpen;
  while (!stack.empty()) {
    Frame& frame = stack.back();
    if (frame.next_input == inputs[frame.op].size()) {
      marks[frame.op] = Mark::kDone;
      order.push_back(frame.op);
      stack.pop_back();
      continue;
    }
    uint32_t input = inputs[frame.op][frame.next_input++];
    if (marks[input] == Mark::kOpen) return Unknown("invalid definition: an op is its own input");
    if (marks[input] == Mark::kDone) continue;
    marks[input] = Mark::kOpen;
    stack.push_back({input, 0});
  }
  return order;
}

// Builds the vertices in `order`, rewriting digests on the way.
class Linker {
 public:
  Linker(RawGraph raw, std::vector<std::vector<uint32_t>> inputs, const pb::Definition& definition)
      : raw_(std::move(raw)),
        inputs_(std::move(inputs)),
        definition_(definition),
        vertex_of_(raw_.ops.size(), 0) {}

  Status Add(uint32_t position) {
    RawOp& raw = raw_.ops[position];
    Vertex vertex;
    vertex.original = raw.original;
    vertex.op = std::move(raw.op);
    TRY(LinkInputs(position, raw.changed, vertex));
    vertex.digest = raw.changed ? Sha256Of(EncodeOp(vertex.op)) : raw.original;
    auto [same, is_new] = by_digest_.emplace(vertex.digest, graph_.vertices.size());
    vertex_of_[position] = same->second;
    if (!is_new) return OkStatus();  // two sources were changed into one
    TRY(Validate(vertex.op));
    if (auto found = definition_.metadata().find(vertex.original.ToString());
        found != definition_.metadata().end())
      vertex.metadata = found->second;
    *vertex.op.mutable_platform() =
        PlatformToPb(oci::Normalize(PlatformFromPb(vertex.op.platform())));
    vertex.name = NameOf(vertex);
    graph_.vertices.push_back(std::move(vertex));
    return OkStatus();
  }

  Result<Graph> Finish(uint32_t terminal) {
    const pb::Input& result = raw_.ops[terminal].op.inputs(0);
    graph_.root = {vertex_of_[inputs_[terminal][0]], result.index()};
    TRY(CheckOutput(graph_.root));
    return std::move(graph_);
  }

 private:
  Status LinkInputs(uint32_t position, bool& changed, Vertex& vertex) {
    for (int i = 0; i < vertex.op.inputs_size(); ++i) {
      pb::Input& input = *vertex.op.mutable_inputs(i);
      Edge edge{vertex_of_[inputs_[position][i]], input.index()};
      TRY(CheckOutput(edge));
      const Vertex& source = graph_.vertices[edge.vertex];
      std::string digest = source.digest.ToString();
      if (digest != input.digest()) {
        input.set_digest(std::move(digest));
        changed = true;
      }
      vertex.inputs.push_back(edge);
    }
    return OkStatus();
  }

  Status CheckOutput(const Edge& edge) const {
    size_t outputs = OutputCount(graph_.vertices[edge.vertex].op);
    if (edge.output < 0 || static_cast<uint64_t>(edge.output) >= outputs)
      return Unknown("invalid response from {} need {} index but {} results received",
                     KindName(graph_.vertices[edge.vertex].kind()), edge.output, outputs);
    return OkStatus();
  }

  std::string NameOf(const Vertex& vertex) const {
    const auto& description = vertex.metadata.description();
    if (auto custom = description.find("llb.customname"); custom != description.end())
      return custom->second;
    std::vector<std::string> input_names;
    if (vertex.kind() == OpKind::kMerge || vertex.kind() == OpKind::kDiff)
      for (const Edge& input : vertex.inputs)
        input_names.push_back(graph_.vertices[input.vertex].name);
    std::string name = VertexName(vertex.op, input_names);
    if (name.size() > kMaxNameBytes) {
      name.resize(kMaxNameBytes);
      while (!name.empty() && (name.back() & 0x80) != 0) name.pop_back();  // no half characters
      name += "...";
    }
    return name;
  }

  RawGraph raw_;
  std::vector<std::vector<uint32_t>> inputs_;
  const pb::Definition& definition_;
  std::vector<uint32_t> vertex_of_;
  std::unordered_map<Digest, uint32_t> by_digest_;
  Graph graph_;
};

}  // namespace

Result<RawGraph> Parse(const pb::Definition& definition, const Limits& limits) {
  if (definition.def_size() == 0) return Unknown("invalid empty definition");
  if (static_cast<size_t>(definition.def_size()) > limits.max_ops)
    return ResourceExhausted("definition has {} ops, more than {}", definition.def_size(),
                             limits.max_ops);
  RawGraph raw;
  raw.ops.reserve(definition.def_size());
  std::unordered_map<Digest, size_t> seen;
  size_t total_bytes = 0;
  for (const std::string& bytes : definition.def()) {
    total_bytes += bytes.size();
    if (total_bytes > limits.max_total_bytes)
      return ResourceExhausted("definition is larger than {} bytes", limits.max_total_bytes);
    Digest digest = Sha256Of(bytes);
    if (auto [found, is_new] = seen.emplace(digest, raw.ops.size()); !is_new) {
      // An op that came before; if this is the terminal op, it has to stand last.
      if (&bytes == &definition.def(definition.def_size() - 1))
        std::swap(raw.ops[found->second], raw.ops.back());
      continue;
    }
    RawOp op{.op = {}, .original = digest};
    if (!op.op.ParseFromString(bytes)) return Unknown("failed to parse llb proto op");
    if (static_cast<size_t>(op.op.inputs_size()) > limits.max_inputs_per_op)
      return ResourceExhausted("op {} has {} inputs, more than {}", digest, op.op.inputs_size(),
                               limits.max_inputs_per_op);
    for (int i = 0; i < op.op.inputs_size(); ++i)
      if (op.op.inputs(i).index() < 0)
        return Unknown("invalid input {} output index {}", i, op.op.inputs(i).index());
    raw.ops.push_back(std::move(op));
  }
  return raw;
}

Result<Graph> Link(RawGraph raw, const pb::Definition& definition) {
  TRY(CheckLocations(definition.source()));
  TRY_ASSIGN(auto inputs, ResolveInputs(raw));
  if (raw.ops.size() < 2) return Unknown("invalid LLB with {} vertexes", raw.ops.size());
  auto terminal = static_cast<uint32_t>(raw.ops.size() - 1);
  if (inputs[terminal].empty()) return Unknown("invalid LLB with no inputs on last vertex");
  TRY_ASSIGN(std::vector<uint32_t> order, InputsFirst(inputs, inputs[terminal][0]));
  Linker linker(std::move(raw), std::move(inputs), definition);
  for (uint32_t position : order) TRY(linker.Add(position));
  return linker.Finish(terminal);
}

Result<Graph> Load(const pb::Definition& definition, const Limits& limits) {
  TRY_ASSIGN(RawGraph raw, Parse(definition, limits));
  return Link(std::move(raw), definition);
}

oci::Platform Vertex::platform() const { return PlatformFromPb(op.platform()); }

oci::Platform PlatformFromPb(const pb::Platform& platform) {
  return {.os = platform.os(),
          .architecture = platform.architecture(),
          .variant = platform.variant(),
          .os_version = platform.osversion(),
          .os_features = {platform.osfeatures().begin(), platform.osfeatures().end()}};
}

pb::Platform PlatformToPb(const oci::Platform& platform) {
  pb::Platform result;
  result.set_os(platform.os);
  result.set_architecture(platform.architecture);
  result.set_variant(platform.variant);
  result.set_osversion(platform.os_version);
  for (const std::string& feature : platform.os_features) result.add_osfeatures(feature);
  return result;
}

}  // namespace kiln::llb
