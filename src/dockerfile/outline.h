#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/globals.h"
#include "dockerfile/lower_observer.h"
#include "dockerfile/options.h"
#include "dockerfile/stage_names.h"

namespace kiln::dockerfile {

// What can be given to the build of one target: its build arguments, secrets and agents.
struct Outline {
  struct Arg {
    std::string name;
    std::string description;  // from a comment before it: "# NAME description"
    std::string value;
    LineRange lines;
  };
  // Of RUN --mount=type=secret and ssh.
  struct Need {
    std::string name;
    bool required = false;
    LineRange lines;
  };
  std::string name;  // of the target
  std::string description;
  std::vector<Arg> args;
  std::vector<Need> secrets;
  std::vector<Need> agents;
};

// The text of a comment `# name text` among those before a definition, or "".
std::string DescriptionIn(const std::vector<std::string>& comments, const std::string& name);

// Watches a conversion and tells what the target turned out to use.
class OutlineObserver final : public LowerObserver {
 public:
  // `automatic` as for GlobalVariables. Everything outlives this.
  static Result<OutlineObserver> Start(const Options& options, const Dockerfile& file,
                                       const SourceFile& source, const Variables& automatic);

  void OnStage(const Stage& stage, int base) override;
  void After(const Instruction& instruction, LineRange lines, const StageState& state) override;

  // Sorted by line. After the conversion has succeeded.
  Outline Take(const Options& options) const;

 private:
  struct Definition {
    Outline::Arg arg;
    std::set<std::string> uses;  // variables in its default
  };
  struct StageOutline {
    std::map<std::string, Definition> definitions;  // its own; others are the globals'
    std::set<std::string> used;
    std::map<std::string, Outline::Need> secrets;
    std::map<std::string, Outline::Need> agents;
    std::vector<int> from;  // stages it reads
  };
  struct Found;

  OutlineObserver(const Options& options, const Dockerfile& file)
      : options_(&options), file_(&file), names_(file) {}

  Status DefineGlobals(const SourceFile& source, Variables variables);
  std::set<std::string> UsedByFrom(const From& from) const;
  void AddArgs(const Instruction& instruction, LineRange lines, const StageState& state,
               StageOutline& stage) const;
  void AddMounts(const Run& run, LineRange lines, const StageState& state,
                 StageOutline& stage) const;
  void AddFrom(const std::string& name, int index, bool by_index, StageOutline& stage) const;
  void Collect(int index, Found& found) const;

  const Options* options_;
  const Dockerfile* file_;
  StageNames names_;
  Variables globals_;
  std::map<std::string, Definition> global_definitions_;
  std::map<int, int> bases_;
  std::map<int, StageOutline> stages_;
};

}  // namespace kiln::dockerfile
