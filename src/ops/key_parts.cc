#include "base/strings.h"
#include "oci/platform.h"
#include "ops/snapshot_op.h"

namespace kiln::ops {
namespace {

constexpr size_t kMaxText = 4096;

// A file's content is not made text to be hashed.
std::string TextOf(const pb::FileAction& action) {
  if (action.ByteSizeLong() <= kMaxText) return action.ShortDebugString();
  return Sha256Of(action.SerializeAsString()).ToString();
}

void AddExecParts(const pb::ExecOp& exec, std::vector<solver::KeyPart>& parts) {
  const pb::Meta& meta = exec.meta();
  parts.push_back({"command", fmt::format("{}", fmt::join(meta.args(), " "))});
  parts.push_back({"directory", meta.cwd()});
  if (!meta.user().empty()) parts.push_back({"user", meta.user()});
  for (const std::string& env : meta.env()) {
    auto pair = Cut(env, "=");
    parts.push_back(
        {"env " + std::string(pair ? pair->first : env), std::string(pair ? pair->second : "")});
  }
  for (const pb::Mount& mount : exec.mounts())
    if (mount.dest() != "/")
      parts.push_back({"mount " + mount.dest(), pb::MountType_Name(mount.mounttype())});
  if (exec.network() != pb::UNSET) parts.push_back({"network", pb::NetMode_Name(exec.network())});
  if (exec.security() != pb::SANDBOX)
    parts.push_back({"security", pb::SecurityMode_Name(exec.security())});
}

}  // namespace

std::vector<solver::KeyPart> KeyPartsOf(const llb::Vertex& vertex) {
  std::vector<solver::KeyPart> parts;
  switch (vertex.kind()) {
    case llb::OpKind::kExec:
      AddExecParts(vertex.op.exec(), parts);
      parts.push_back({"platform", oci::Format(vertex.platform())});
      break;
    case llb::OpKind::kFile:
      for (int i = 0; i < vertex.op.file().actions_size(); ++i)
        parts.push_back({fmt::format("action {}", i), TextOf(vertex.op.file().actions(i))});
      break;
    case llb::OpKind::kMerge:
    case llb::OpKind::kDiff:
      parts.push_back({std::string(llb::KindName(vertex.kind())), vertex.name});
      break;
    default:
      break;
  }
  for (solver::KeyPart& part : parts)
    if (part.value.size() > kMaxText) part.value = Sha256Of(part.value).ToString();
  return parts;
}

}  // namespace kiln::ops
