#include "llb/marshal.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/digest.h"
#include "llb/encode.h"
#include "llb/node.h"

namespace kiln::llb {
namespace {

// Inputs before their users, in the order in which the graph mentions them.
std::vector<const Node*> InputsFirst(const Node& root) {
  struct Frame {
    const Node* node;
    std::vector<Output> inputs;
    size_t next = 0;
  };
  std::vector<const Node*> order;
  std::unordered_set<const Node*> seen = {&root};
  std::vector<Frame> stack;
  stack.push_back({&root, InputsOf(root)});
  while (!stack.empty()) {
    Frame& frame = stack.back();
    if (frame.next == frame.inputs.size()) {
      order.push_back(frame.node);
      stack.pop_back();
      continue;
    }
    const Node* input = frame.inputs[frame.next++].node().get();
    if (seen.insert(input).second) stack.push_back({input, InputsOf(*input)});
  }
  return order;
}

pb::Range EncodeRange(const Range& range) {
  pb::Range result;
  // Both ends always present: clients dereference them.
  result.mutable_start()->set_line(range.start.line);
  result.mutable_start()->set_character(range.start.character);
  result.mutable_end()->set_line(range.end.line);
  result.mutable_end()->set_character(range.end.character);
  return result;
}

class Marshaller {
 public:
  Result<pb::Definition> Run(const Output& output) {
    if (output.scratch()) return pb::Definition();
    for (const Node* node : InputsFirst(*output.node())) TRY(Add(*node));
    TRY(AddTerminal(output));
    return std::move(definition_);
  }

 private:
  Status Add(const Node& node) {
    std::string bytes;
    pb::OpMetadata metadata;
    if (const auto* imported = std::get_if<ImportedSpec>(&node.spec)) {
      bytes = imported->op;
      CHECK(metadata.ParseFromString(imported->metadata));
    } else {
      TRY_ASSIGN(pb::Op op, EncodeNode(node, digests_));
      bytes = EncodeOp(op);
      metadata = EncodeMetadata(node.options);
      for (const std::string& cap : RequiredCaps(op, metadata))
        (*metadata.mutable_caps())[cap] = true;
    }
    std::string digest = Sha256Of(bytes).ToString();
    digests_[&node] = digest;
    for (const auto& [cap, wanted] : metadata.caps()) {
      if (cap.starts_with("meta.")) meta_caps_.insert(cap);
    }
    if (added_.insert(digest).second) {
      definition_.add_def(std::move(bytes));
      (*definition_.mutable_metadata())[digest] = std::move(metadata);
    } else {
      // The same op twice: what is said about it adds up.
      pb::OpMetadata& first = (*definition_.mutable_metadata())[digest];
      if (metadata.ignore_cache()) first.set_ignore_cache(true);
      first.mutable_caps()->insert(metadata.caps().begin(), metadata.caps().end());
      // Of what it is called, the last word.
      for (const auto& [key, value] : metadata.description()) {
        (*first.mutable_description())[key] = value;
      }
      if (metadata.has_progress_group())
        *first.mutable_progress_group() = metadata.progress_group();
      if (metadata.has_linux_resources()) {
        *first.mutable_linux_resources() = metadata.linux_resources();
      }
      if (metadata.has_export_cache()) *first.mutable_export_cache() = metadata.export_cache();
    }
    return AddLocations(node, digest);
  }

  Status AddLocations(const Node& node, const std::string& digest) {
    for (const SourceLocation& location : node.options.locations) {
      if (!location.file) continue;
      TRY_ASSIGN(int index, FileIndex(location.file));
      pb::Location& entry =
          *(*definition_.mutable_source()->mutable_locations())[digest].add_locations();
      entry.set_sourceindex(index);
      for (const Range& range : location.ranges) *entry.add_ranges() = EncodeRange(range);
    }
    return OkStatus();
  }

  Result<int> FileIndex(const std::shared_ptr<const SourceFile>& file) {
    auto [found, is_new] = files_.emplace(file.get(), definition_.source().infos_size());
    if (is_new) {
      pb::SourceInfo& info = *definition_.mutable_source()->add_infos();
      info.set_filename(file->filename);
      info.set_data(file->data);
      info.set_language(file->language);
      if (!file->definition.scratch()) {
        TRY_ASSIGN(*info.mutable_definition(), Marshal(file->definition));
      }
    }
    return found->second;
  }

  Status AddTerminal(const Output& output) {
    pb::Op terminal;
    terminal.add_inputs()->set_digest(digests_.at(output.node().get()));
    terminal.mutable_inputs(0)->set_index(output.index());
    std::string bytes = EncodeOp(terminal);
    pb::OpMetadata metadata;
    (*metadata.mutable_caps())["constraints"] = true;
    (*metadata.mutable_caps())["platform"] = true;
    for (const std::string& cap : meta_caps_) (*metadata.mutable_caps())[cap] = true;
    (*definition_.mutable_metadata())[Sha256Of(bytes).ToString()] = std::move(metadata);
    definition_.add_def(std::move(bytes));
    return OkStatus();
  }

  pb::Definition definition_;
  NodeDigests digests_;
  std::unordered_set<std::string> added_;
  std::set<std::string> meta_caps_;
  std::map<const SourceFile*, int> files_;
};

}  // namespace

Result<pb::Definition> Marshal(const Output& output) { return Marshaller().Run(output); }

std::string EncodeOp(const pb::Op& op) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  op.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

}  // namespace kiln::llb
