#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "llb/definition.h"
#include "llb/marshal.h"
#include "llb/node.h"

namespace kiln::llb {
namespace {

class Importer {
 public:
  explicit Importer(const pb::Definition& definition) : definition_(definition) {}

  Result<Output> Run() {
    TRY_ASSIGN(RawGraph raw, Parse(definition_));
    for (const std::string& bytes : definition_.def()) bytes_.emplace(Sha256Of(bytes), &bytes);
    ReadFiles();
    const pb::Op terminal = std::move(raw.ops.back().op);
    raw.ops.pop_back();
    for (const RawOp& op : raw.ops) TRY(Add(op));
    if (terminal.inputs_size() == 0) {
      return Unknown("invalid definition with no inputs on last vertex");
    }
    return Find(terminal.inputs(0));
  }

 private:
  Status Add(const RawOp& op) {
    ImportedSpec spec;
    spec.op = *bytes_.at(op.original);
    for (const pb::Input& input : op.op.inputs()) {
      TRY_ASSIGN(Output output, Find(input));
      spec.inputs.push_back(std::move(output));
    }
    const std::string digest = op.original.ToString();
    const auto metadata = definition_.metadata().find(digest);
    if (metadata != definition_.metadata().end()) {
      spec.metadata = metadata->second.SerializeAsString();
    }
    VertexOptions options;
    options.locations = LocationsOf(digest);
    nodes_.emplace(op.original, std::make_shared<Node>(std::move(spec), std::move(options)));
    return OkStatus();
  }

  Result<Output> Find(const pb::Input& input) const {
    TRY_ASSIGN_CTX(const Digest digest, Digest::Parse(input.digest()), "input");
    const auto found = nodes_.find(digest);
    if (found == nodes_.end()) return InvalidArgument("invalid missing input digest {}", digest);
    return Output(found->second, static_cast<int>(input.index()));
  }

  void ReadFiles() {
    for (const pb::SourceInfo& info : definition_.source().infos()) {
      files_.push_back(std::make_shared<SourceFile>(
          SourceFile{info.filename(), info.data(), info.language(), {}}));
    }
  }

  std::vector<SourceLocation> LocationsOf(const std::string& digest) const {
    std::vector<SourceLocation> locations;
    const auto found = definition_.source().locations().find(digest);
    if (found == definition_.source().locations().end()) return locations;
    for (const pb::Location& entry : found->second.locations()) {
      if (entry.sourceindex() < 0 || static_cast<size_t>(entry.sourceindex()) >= files_.size()) {
        continue;
      }
      SourceLocation location{files_[static_cast<size_t>(entry.sourceindex())], {}};
      for (const pb::Range& range : entry.ranges()) {
        location.ranges.push_back({{range.start().line(), range.start().character()},
                                   {range.end().line(), range.end().character()}});
      }
      locations.push_back(std::move(location));
    }
    return locations;
  }

  const pb::Definition& definition_;
  std::unordered_map<Digest, const std::string*> bytes_;
  std::unordered_map<Digest, std::shared_ptr<const Node>> nodes_;
  std::vector<std::shared_ptr<const SourceFile>> files_;
};

}  // namespace

Result<Output> FromDefinition(const pb::Definition& definition) {
  if (definition.def_size() == 0) return Output();
  return Importer(definition).Run();
}

}  // namespace kiln::llb
