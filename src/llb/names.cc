#include <fmt/format.h>

#include "base/strings.h"
#include "llb/definition.h"

namespace kiln::llb {
namespace {

std::string ActionName(const pb::FileAction& action) {
  switch (action.action_case()) {
    case pb::FileAction::kMkdir:
      return fmt::format("mkdir {}", action.mkdir().path());
    case pb::FileAction::kMkfile:
      return fmt::format("mkfile {}", action.mkfile().path());
    case pb::FileAction::kSymlink:
      return fmt::format("symlink {} -> {}", action.symlink().newpath(),
                         action.symlink().oldpath());
    case pb::FileAction::kRm:
      return fmt::format("rm {}", action.rm().path());
    case pb::FileAction::kCopy:
      return fmt::format("copy {} {}", action.copy().src(), action.copy().dest());
    case pb::FileAction::ACTION_NOT_SET:
      break;
  }
  return {};
}

std::string DiffSide(int64_t input, const std::vector<std::string>& input_names) {
  if (input < 0 || static_cast<uint64_t>(input) >= input_names.size()) return "scratch";
  return fmt::format("({})", input_names[input]);
}

}  // namespace

std::string VertexName(const pb::Op& op, const std::vector<std::string>& input_names) {
  switch (KindOf(op)) {
    case OpKind::kSource:
      return op.source().identifier();
    case OpKind::kExec:
      return fmt::format("{}", fmt::join(op.exec().meta().args(), " "));
    case OpKind::kFile: {
      std::vector<std::string> names;
      for (const pb::FileAction& action : op.file().actions()) names.push_back(ActionName(action));
      return Join(names, ", ");
    }
    case OpKind::kBuild:
      return "build";
    case OpKind::kMerge:
      return fmt::format("merge ({})", Join(input_names, ", "));
    case OpKind::kDiff:
      return fmt::format("diff {} -> {}", DiffSide(op.diff().lower().input(), input_names),
                         DiffSide(op.diff().upper().input(), input_names));
    case OpKind::kPassthrough:
      return fmt::format("passthrough {}", op.passthrough().id());
    case OpKind::kTerminal:
      break;
  }
  return "unknown";
}

}  // namespace kiln::llb
