#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/pattern_matcher.h"
#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/expand.h"
#include "dockerfile/globals.h"
#include "dockerfile/lint_config.h"
#include "dockerfile/lint_rules.h"
#include "dockerfile/lower_observer.h"
#include "dockerfile/options.h"

namespace kiln::dockerfile {

// Something a build check found. Its range on the wire is one per line, all of it.
struct Finding {
  const RuleInfo* rule = nullptr;
  LineRange lines;
  std::string message;

  // As progress shows it: "Rule: message (line N)".
  std::string Short() const;
};

// The keyword of an instruction as its author wrote it.
std::string WrittenKeyword(const Instruction& instruction);

using ReportFinding = std::function<void(const Finding&)>;

// Of one conversion; further ones are not reported.
inline constexpr int kMaxFindings = 1000;
// Of one finding; what it is about may be a long heredoc.
inline constexpr int kMaxFindingLines = 1000;

// The build checks of one conversion. CheckFile comes first; the rest is seen while the file is
// lowered. Findings come in the order in which BuildKit finds them.
class Linter final : public LowerObserver {
 public:
  Linter(LintConfig config, ReportFinding report)
      : config_(std::move(config)), report_(std::move(report)) {}

  // Base images are not looked up, so nobody knows their variables: only such that look like
  // misspellings are reported in stages made from them.
  void AssumeUnknownImages() { unknown_images_ = true; }

  // What can be said of the file alone. With `complete` false: of its instructions up to one that
  // could not be parsed. `automatic` are the variables of AutomaticVariables().
  void CheckFile(const Options& options, const SourceFile& source, const Dockerfile& file,
                 bool complete, const Variables& automatic);
  // The .dockerignore of the main context.
  void SetIgnored(const std::vector<std::string>& patterns);

  void OnImage(const std::string& name, LineRange lines, const oci::Platform& expected,
               const oci::Platform& found) override;
  void OnStage(const Stage& stage, int base) override;
  void Before(const Instruction& instruction, LineRange lines, const StageState& state) override;

  // `lint violation found for rules: …` if the configuration makes findings errors.
  Status Verdict() const;

 private:
  struct StageChecks {
    bool workdir_set = false;
    bool unknown_base = false;
    std::optional<LineRange> cmd;
    std::optional<LineRange> entrypoint;
    std::optional<LineRange> healthcheck;
  };
  // One instruction under check.
  struct Step {
    const Instruction& instruction;
    LineRange lines;
    const StageState& state;
    StageChecks& checks;
  };

  void Report(Rule rule, LineRange lines, std::string message,
              const std::vector<std::string>& comments = {});
  void Report(const Step& step, Rule rule, std::string message);
  // NearestVariable, for as long as the file does not make it expensive.
  std::string Nearest(const std::string& word, const std::vector<std::string>& names);
  bool IsCheap(std::size_t names);

  // lint_file.cc
  void CheckParsed(const Instruction& instruction);
  void CheckFromWords(const From& from, const Instruction& instruction);
  void CheckDescription(const Instruction& instruction, const std::vector<std::string>& names);
  void CheckStageNames(const Dockerfile& file);
  void CheckKeywordCasing(const Dockerfile& file);
  void CheckDefaultBases(const SourceFile& source, const Dockerfile& file,
                         const Variables& automatic);
  void CheckFroms(const Dockerfile& file, const Variables& globals);
  bool CheckFrom(const Stage& stage, char escape, const Variables& globals,
                 const std::set<std::string>& known);
  void CheckPlatform(const Stage& stage, const Expanded& platform, const Variables& globals);
  Result<Expanded> ExpandOfFrom(const Stage& stage, const std::string& text, char escape,
                                const Variables& globals, const std::set<std::string>& known);

  // lint_steps.cc
  void Check(const Step& step, const Env& env);
  void Check(const Step& step, const Label& label);
  void Check(const Step& step, const Arg& arg);
  void Check(const Step& step, const Copy& copy);
  void Check(const Step& step, const Run& run);
  void Check(const Step& step, const Workdir& workdir);
  void Check(const Step& step, const User& user);
  void Check(const Step& step, const Volume& volume);
  void Check(const Step& step, const StopSignal& signal);
  void Check(const Step& step, const Expose& expose);
  void Check(const Step& step, const Cmd& cmd);
  void Check(const Step& step, const Entrypoint& entrypoint);
  void Check(const Step& step, const Healthcheck& check);
  template <typename Other>
  void Check(const Step&, const Other&) {}

  Result<std::string> Word(const Step& step, std::string_view text);
  Result<std::string> Word(const Step& step, std::string_view text, const ExpandOptions& options);
  bool Words(const Step& step, const std::vector<std::string>& texts,
             std::vector<std::string>* out = nullptr);
  void ReportUndefined(const Step& step, const std::set<std::string>& missing);
  void CheckCommand(const Step& step, const CommandText& command);
  void CheckOnce(const Step& step, std::optional<LineRange>& earlier);
  void CheckSecret(const Step& step, std::string_view instruction, const std::string& key);
  bool MayHoldException(const std::string& path) const;
  void CheckIgnored(const Step& step, const Copy& copy, const std::string& source);
  bool CheckPort(const Step& step, const std::string& port);

  const LintConfig config_;
  const ReportFinding report_;
  bool unknown_images_ = false;
  char escape_ = '\\';
  std::map<std::string, std::string> build_args_;
  std::vector<std::string> ignored_;
  std::unique_ptr<PatternMatcher> matcher_;
  std::map<int, StageChecks> stages_;
  std::set<std::string_view> violated_;
  int reported_ = 0;
  std::size_t compared_ = 0;  // names, all in all
};

}  // namespace kiln::dockerfile
