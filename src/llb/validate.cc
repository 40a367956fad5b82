#include "llb/validate.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "base/lists.h"
#include "base/strings.h"
#include "llb/definition.h"
#include "llb/indices.h"

namespace kiln::llb {
namespace {

// The kernel would read less than what was asked for.
template <typename Texts>
Status CheckNoZeroByte(const Texts& texts, std::string_view what) {
  for (const std::string& text : texts)
    if (text.find('\0') != std::string::npos)
      return Unknown("invalid {} {}: zero byte", what, Quoted(text, 64));
  return OkStatus();
}

// The limits that runtimes know.
constexpr std::array<std::string_view, 16> kUlimits = {
    "as",   "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
    "nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};

// A runtime that does not know one ends as the process would: with an exit code.
Status CheckUlimits(const pb::Meta& meta) {
  for (const pb::Ulimit& limit : meta.ulimit()) {
    if (Contains(kUlimits, ToLower(limit.name()))) continue;
    return Unknown("invalid exec op with unknown ulimit {}", Quoted(limit.name(), 64));
  }
  return OkStatus();
}

// Values that this build does not know must not pass for the default.
Status CheckExecEnums(const pb::ExecOp& exec) {
  if (!pb::NetMode_IsValid(exec.network()))
    return Unknown("invalid exec op with unknown network mode {}",
                   static_cast<int>(exec.network()));
  if (!pb::SecurityMode_IsValid(exec.security()))
    return Unknown("invalid security mode {}", static_cast<int>(exec.security()));
  for (const pb::Mount& mount : exec.mounts()) {
    if (!pb::MountType_IsValid(mount.mounttype()))
      return Unknown("invalid mount type {} of {}", static_cast<int>(mount.mounttype()),
                     Quoted(mount.dest()));
    if (!pb::MountContentCache_IsValid(mount.contentcache()) ||
        !pb::CacheSharingOpt_IsValid(mount.cacheopt().sharing()))
      return Unknown("invalid cache mode of mount {}", Quoted(mount.dest()));
  }
  return OkStatus();
}

Status CheckExecTexts(const pb::ExecOp& exec) {
  const pb::Meta& meta = exec.meta();
  TRY(CheckNoZeroByte(meta.args(), "argument"));
  TRY(CheckNoZeroByte(meta.env(), "environment variable"));
  TRY(CheckNoZeroByte(std::array{meta.cwd(), meta.user(), meta.hostname(), meta.cgroupparent()},
                      "exec option"));
  for (const pb::Mount& mount : exec.mounts())
    TRY(CheckNoZeroByte(std::array{mount.dest(), mount.selector()}, "mount path"));
  return OkStatus();
}

Status CheckActionTexts(const pb::FileAction& action) {
  switch (action.action_case()) {
    case pb::FileAction::kCopy:
      return CheckNoZeroByte(std::array{action.copy().src(), action.copy().dest()}, "path");
    case pb::FileAction::kMkfile:
      return CheckNoZeroByte(std::array{action.mkfile().path()}, "path");
    case pb::FileAction::kMkdir:
      return CheckNoZeroByte(std::array{action.mkdir().path()}, "path");
    case pb::FileAction::kRm:
      return CheckNoZeroByte(std::array{action.rm().path()}, "path");
    case pb::FileAction::kSymlink:
      return CheckNoZeroByte(std::array{action.symlink().oldpath(), action.symlink().newpath()},
                             "path");
    case pb::FileAction::ACTION_NOT_SET:
      break;
  }
  return OkStatus();
}

Status ValidateExec(const pb::Op& op) {
  const pb::ExecOp& exec = op.exec();
  if (!exec.has_meta()) return Unknown("invalid exec op with no meta");
  if (exec.meta().args().empty()) return Unknown("invalid exec op with no args");
  if (exec.mounts().empty()) return Unknown("invalid exec op with no mounts");
  bool has_root = std::any_of(exec.mounts().begin(), exec.mounts().end(),
                              [](const pb::Mount& mount) { return mount.dest() == "/"; });
  if (!has_root) return Unknown("invalid exec op with no rootfs");
  TRY(CheckExecEnums(exec));
  TRY(CheckUlimits(exec.meta()));
  TRY(CheckExecTexts(exec));
  for (const pb::Mount& mount : exec.mounts()) {
    if (mount.dest() == "/" && mount.mounttype() != pb::BIND)
      return Unknown("invalid mount type {} for /", pb::MountType_Name(mount.mounttype()));
    bool takes_input = mount.mounttype() == pb::BIND || mount.mounttype() == pb::CACHE;
    if (!takes_input || mount.input() == kEmpty) continue;
    if (mount.input() < 0 || mount.input() >= op.inputs_size())
      return Unknown("invalid mount input {} of {}", mount.input(), Quoted(mount.dest()));
  }
  return OkStatus();
}

Status ValidatePassthrough(const pb::Op& op) {
  const pb::PassthroughOp& passthrough = op.passthrough();
  if (passthrough.id().empty()) return Unknown("invalid passthrough op with no id");
  if (passthrough.outputs().empty()) return Unknown("invalid passthrough op with no outputs");
  for (int64_t input : passthrough.outputs())
    if (input < 0 || input >= op.inputs_size())
      return Unknown("invalid passthrough output input index {}", input);
  return OkStatus();
}

Status ValidateDiff(const pb::Op& op) {
  const pb::DiffOp& diff = op.diff();
  if (!diff.has_lower() || !diff.has_upper())
    return Unknown("invalid diff op with nil lower or upper input");
  for (int64_t input : {diff.lower().input(), diff.upper().input()})
    if (input != kEmpty && (input < 0 || input >= op.inputs_size()))
      return Unknown("invalid diff input index {}", input);
  const int inner = (diff.lower().input() != kEmpty) + (diff.upper().input() != kEmpty);
  if (inner != op.inputs_size()) {
    return Unknown("invalid diff op with {} inner inputs and {} outer inputs", inner,
                   op.inputs_size());
  }
  return OkStatus();
}

// The index must name an input, an earlier action or nothing. Actions may stand in any order as
// long as none needs itself; requiring an earlier one is what every client sends and excludes
// loops.
Status CheckActionIndex(int64_t index, int64_t input_count, int64_t action, int64_t action_count) {
  if (index == kEmpty) return OkStatus();
  if (index < 0 || index >= input_count + action_count)
    return Unknown("invalid input index {} of action {}", index, action);
  if (index >= input_count + action) return Unknown("loop from index {}", action);
  return OkStatus();
}

// What names are looked up in is an input or an action's result.
Status CheckOwner(const pb::ChownOpt& owner, int64_t count) {
  for (const pb::UserOpt* user : {&owner.user(), &owner.group()}) {
    if (!user->has_byname()) continue;
    const int64_t index = user->byname().input();
    if (index < 0 || index >= count) return Unknown("invalid user index: {}", index);
  }
  return OkStatus();
}

Status CheckOwner(const pb::FileAction& action, int64_t count) {
  switch (action.action_case()) {
    case pb::FileAction::kCopy:
      return CheckOwner(action.copy().owner(), count);
    case pb::FileAction::kMkfile:
      return CheckOwner(action.mkfile().owner(), count);
    case pb::FileAction::kMkdir:
      return CheckOwner(action.mkdir().owner(), count);
    case pb::FileAction::kSymlink:
      return CheckOwner(action.symlink().owner(), count);
    default:
      return OkStatus();
  }
}

}  // namespace

Status ValidateFileIndices(const pb::FileOp& op, int64_t input_count) {
  const int64_t action_count = op.actions_size();
  std::vector<bool> seen(action_count, false);
  int64_t outputs = 0;
  for (int64_t i = 0; i < action_count; ++i) {
    const pb::FileAction& action = op.actions(static_cast<int>(i));
    if (action.action_case() == pb::FileAction::ACTION_NOT_SET)
      return Unknown("invalid file action {}: no action", i);
    TRY(CheckActionTexts(action));
    TRY(CheckOwner(action, input_count + action_count));
    TRY(CheckActionIndex(action.input(), input_count, i, action_count));
    TRY(CheckActionIndex(action.secondaryinput(), input_count, i, action_count));
    if (action.output() == kEmpty) continue;
    if (action.output() < 0 || action.output() >= action_count)
      return Unknown("missing output index 0: output {} of action {} is out of range",
                     action.output(), i);
    if (seen[action.output()]) return Unknown("duplicate output {}", action.output());
    seen[action.output()] = true;
    ++outputs;
  }
  if (outputs == 0) return Unknown("no outputs specified");
  for (int64_t i = 0; i < outputs; ++i)
    if (!seen[i]) return Unknown("missing output index {}", i);
  return OkStatus();
}

bool MountHasOutput(const pb::Mount& mount) {
  if (mount.output() == kEmpty) return false;
  return mount.mounttype() == pb::BIND ||
         (mount.mounttype() == pb::CACHE && mount.input() != kEmpty);
}

Status Validate(const pb::Op& op) {
  switch (op.op_case()) {
    case pb::Op::kExec:
      return ValidateExec(op);
    case pb::Op::kFile:
      if (op.file().actions().empty()) return Unknown("invalid file op with no actions");
      return ValidateFileIndices(op.file(), op.inputs_size());
    case pb::Op::kDiff:
      return ValidateDiff(op);
    case pb::Op::kPassthrough:
      return ValidatePassthrough(op);
    case pb::Op::kMerge:
      if (op.inputs().empty()) return Unknown("invalid merge op with no inputs");
      if (op.merge().inputs_size() != op.inputs_size()) {
        return Unknown("invalid merge op with {} inner inputs and {} outer inputs",
                       op.merge().inputs_size(), op.inputs_size());
      }
      return OkStatus();
    case pb::Op::kSource:
      if (!op.inputs().empty())
        return Unknown("invalid source op with {} inputs", op.inputs_size());
      return OkStatus();
    case pb::Op::kBuild:
      return OkStatus();
    case pb::Op::OP_NOT_SET:
      break;
  }
  return Unknown("no support for an op without a kind");
}

OpKind KindOf(const pb::Op& op) {
  switch (op.op_case()) {
    case pb::Op::kExec:
      return OpKind::kExec;
    case pb::Op::kSource:
      return OpKind::kSource;
    case pb::Op::kFile:
      return OpKind::kFile;
    case pb::Op::kBuild:
      return OpKind::kBuild;
    case pb::Op::kMerge:
      return OpKind::kMerge;
    case pb::Op::kDiff:
      return OpKind::kDiff;
    case pb::Op::kPassthrough:
      return OpKind::kPassthrough;
    case pb::Op::OP_NOT_SET:
      break;
  }
  return OpKind::kTerminal;
}

std::string_view KindName(OpKind kind) {
  static constexpr std::string_view kNames[] = {"terminal", "exec",  "source", "file",
                                                "build",    "merge", "diff",   "passthrough"};
  return kNames[static_cast<size_t>(kind)];
}

size_t OutputCount(const pb::Op& op) {
  switch (KindOf(op)) {
    case OpKind::kTerminal:
      return 0;
    case OpKind::kExec:
      return std::count_if(op.exec().mounts().begin(), op.exec().mounts().end(), MountHasOutput);
    case OpKind::kFile:
      return std::count_if(op.file().actions().begin(), op.file().actions().end(),
                           [](const pb::FileAction& action) { return action.output() != kEmpty; });
    case OpKind::kPassthrough:
      return op.passthrough().outputs_size();
    default:
      return 1;
  }
}

}  // namespace kiln::llb
