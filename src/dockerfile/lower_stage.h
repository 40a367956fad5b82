#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/env_list.h"
#include "dockerfile/expand.h"
#include "dockerfile/globals.h"
#include "dockerfile/local_tree.h"
#include "dockerfile/lower_observer.h"
#include "dockerfile/mount.h"
#include "dockerfile/options.h"
#include "llb/build.h"
#include "oci/image_config.h"
#include "oci/platform.h"

// Lowering of the instructions of one stage.
namespace kiln::dockerfile {

// A tree that COPY and mounts read. `local` is told what is read of it.
struct FromTree {
  llb::Output output;
  LocalTree* local = nullptr;
};

// What all stages of one conversion share.
struct LowerContext {
  const Options& options;
  const SourceFile& source;
  std::shared_ptr<const llb::SourceFile> llb_source;
  char escape = '\\';
  const Variables& globals;
  bool show_platform = false;
  std::optional<std::int64_t> epoch;  // SOURCE_DATE_EPOCH, seconds
  FromTree main_context;
  // The tree that an instruction of stage `user` reads: what `--from` of a COPY names, or what the
  // mount at that place among those of a RUN does.
  std::function<Result<FromTree>(const Instruction& instruction, int user, std::size_t place,
                                 const Mount* mount)>
      from;
  LowerObserver* observer = nullptr;
};

struct StageState {
  int index = 0;
  std::string display_name;  // in the names of steps; may be empty
  llb::Output tree;
  LocalTree* local = nullptr;  // the tree began with this one
  EnvList env;
  std::string cwd = "/";
  std::string user;
  oci::ImageConfig image;
  std::optional<oci::ImageConfig> base_image;  // as it was before this file changed it
  bool lists_layers = false;  // the configuration came with a list of layers, be it empty
  oci::Platform platform;
  bool tree_has_platform = true;           // nothing has none, and what is made of it neither
  std::vector<Arg::Item> args;             // with the values they were given
  std::vector<std::size_t> distinct_args;  // the last of each name, in the order of the first ones
  std::unordered_map<std::string, std::size_t> arg_places;  // in distinct_args, by name
  bool cmd_seen = false;
  bool no_cache = false;
  int steps = 0;  // how many the user is shown; 0: no numbers
  int step = 0;
};

std::vector<llb::SourceLocation> LocationsOf(std::shared_ptr<const llb::SourceFile> file,
                                             LineRange lines);

// `[platform stage i/n] ` for the step counted next. Advances the counter.
std::string NextPrefix(const LowerContext& context, StageState& state, bool with_platform = true);

// Adds PATH if the environment has none, and takes over what the image config says about running.
Status AdoptImageConfig(StageState& state);

// Variables that only switch the image scan; steps do not see them.
inline bool IsScanSwitch(std::string_view name) {
  return name == "BUILDKIT_SBOM_SCAN_CONTEXT" || name == "BUILDKIT_SBOM_SCAN_STAGE";
}

class StageLowering {
 public:
  StageLowering(const LowerContext& context, StageState& state)
      : context_(context), state_(state) {}

  // Errors carry their place. A trigger's place is the FROM that brought it in.
  Status Apply(const Instruction& instruction);
  Status ApplyTrigger(const Instruction& instruction, LineRange from_lines);

 private:
  struct PathList;

  Status Visit(const Instruction& instruction);

  // lower_config.cc: what changes only the image's configuration and the environment
  Status Do(const From& from);
  Status Do(const Env& env);
  Status Do(const Arg& arg);
  Status Do(const Label& label);
  Status Do(const User& user);
  Status Do(const Workdir& workdir);
  Status Do(const Cmd& cmd);
  Status Do(const Entrypoint& entrypoint);
  Status Do(const Healthcheck& check);
  Status Do(const Expose& expose);
  Status Do(const Volume& volume);
  Status Do(const StopSignal& signal);
  Status Do(const Shell& shell);
  Status Do(const Maintainer& maintainer);
  Status Do(const Onbuild& onbuild);

  // lower_run.cc
  Status Do(const Run& run);
  Result<std::vector<std::string>> RunArgs(const Run& run, llb::ExecSpec& spec, std::string& text);
  Status AddMounts(const Run& run, llb::ExecSpec& spec);
  Status AddMount(const Mount& mount, std::size_t place, const std::string& written_target,
                  llb::ExecSpec& spec);
  Status AddTreeMount(const Mount& mount, std::size_t place, std::string target,
                      const std::string& written_target, llb::ExecSpec& spec);
  Status AddSecret(const Mount& mount, const std::string& target, llb::ExecSpec& spec);
  void AddGlobalSettings(llb::ExecSpec& spec);
  std::string RunHistory(const std::vector<std::string>& args) const;

  // lower_copy.cc
  Status Do(const Copy& copy);
  Status AddPath(const Copy& copy, const std::string& source, const FromTree& from,
                 llb::CopyAction action, PathList& out);
  Status AddRemote(const Copy& copy, const std::string& source, llb::CopyAction action,
                   const std::string& name, PathList& out, bool& taken);
  Status AddInlineFile(const Heredoc& heredoc, llb::CopyAction action, PathList& out);
  std::string CopyHistory(const Copy& copy, const PathList& paths) const;

  // Variables are replaced and quotes removed.
  Result<std::string> Word(std::string_view text) const;
  Result<std::vector<std::string>> Words(std::string_view text) const;
  // Of a path pattern, which keeps all else as it is written.
  Result<std::string> Pattern(std::string_view text) const;
  VariableLookup Lookup() const;
  // The command line as shown: keyword in upper case, variables replaced.
  std::string ShownText() const;
  std::string Shown(std::string text) const;
  std::string ShownRunText(const Run& run) const;
  llb::VertexOptions StepOptions(std::string name) const;
  std::vector<std::string> ShellArgs(const std::string& command) const;
  std::vector<std::string> Argv(const CommandText& command) const;
  void AddHistory(std::string created_by, bool layer);
  void SetImageEnv(const std::string& key, const std::string& value);
  bool no_cache() const { return state_.no_cache; }

  const LowerContext& context_;
  StageState& state_;
  const Instruction* current_ = nullptr;
  LineRange lines_;
  bool trigger_ = false;
  std::unordered_map<std::string, std::size_t> image_env_;  // position in image.config.env
  bool image_env_known_ = false;
};

}  // namespace kiln::dockerfile
