#include "cmd/check_command.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <optional>
#include <utility>

#include <CLI/CLI.hpp>

#include "base/fd.h"
#include "base/strings.h"
#include "cmd/command.h"
#include "cmd/print.h"
#include "dockerfile/lint_fix.h"
#include "dockerfile/lint_report.h"
#include "dockerfile/offline.h"

namespace kiln::cmd {
namespace {

constexpr size_t kMaxFileBytes = size_t{16} << 20;
// What is mended may show something else that can be mended.
constexpr int kMaxRounds = 8;

std::optional<struct stat> StatOf(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return std::nullopt;
  return st;
}

// The file that a path names: itself, or the Dockerfile of a folder.
std::string FileAt(const std::string& path) {
  const auto st = StatOf(path);
  if (!st || !S_ISDIR(st->st_mode)) return path;
  const std::string upper = JoinPath(path, "Dockerfile");
  const std::string lower = JoinPath(path, "dockerfile");
  return !StatOf(upper) && StatOf(lower) ? lower : upper;
}

Result<dockerfile::LoadedDockerfile> Load(const std::string& file) {
  dockerfile::LoadedDockerfile loaded;
  loaded.source.filename = file;
  TRY_ASSIGN_CTX(loaded.source.data, ReadFile(file, kMaxFileBytes), "failed to read Dockerfile");
  for (const std::string& name : {file + ".dockerignore", DirName(file) + "/.dockerignore"}) {
    if (!StatOf(name)) continue;
    TRY_ASSIGN(loaded.ignore_file, ReadFile(name, kMaxFileBytes));
    break;
  }
  if (!loaded.ignore_file) loaded.ignore_file = "";
  return loaded;
}

Result<dockerfile::Options> OptionsOf(const CheckFlags& flags) {
  std::map<std::string, std::string> attrs;
  if (!flags.target.empty()) attrs["target"] = flags.target;
  for (const std::string& arg : flags.build_args) {
    const auto cut = Cut(arg, "=");
    if (!cut || cut->first.empty())
      return InvalidArgument("invalid value {} for --build-arg: want KEY=VALUE", Quoted(arg));
    attrs["build-arg:" + std::string(cut->first)] = cut->second;
  }
  return dockerfile::ParseOptions(attrs);
}

// Mends the file until nothing more can be; nothing is written if it cannot be parsed.
Status Mend(const dockerfile::Options& options, dockerfile::LoadedDockerfile& loaded) {
  const std::string before = loaded.source.data;
  int fixed = 0;
  for (int round = 0; round < kMaxRounds; ++round) {
    const auto check = dockerfile::CheckOffline(options, loaded);
    auto mended = dockerfile::FixFindings(loaded.source, check.findings);
    if (!mended.ok() || mended->fixed == 0 || mended->data == loaded.source.data) break;
    fixed += mended->fixed;
    loaded.source.data = std::move(mended->data);
  }
  if (loaded.source.data == before) return OkStatus();
  const auto st = StatOf(loaded.source.filename);
  TRY(WriteFileAtomically(loaded.source.filename, loaded.source.data,
                          st ? st->st_mode & 07777 : 0644));
  PrintError(fmt::format("{}: {} mended\n", loaded.source.filename, fixed));
  return OkStatus();
}

std::string Summary(std::size_t count) {
  if (count == 0) return "Check complete, no warnings found.\n";
  return fmt::format(
      "Check complete, {} found!\n",
      count == 1 ? std::string("1 warning has been") : fmt::format("{} warnings have been", count));
}

Result<int> Run(const CheckFlags& flags) {
  TRY_ASSIGN(const dockerfile::Options options, OptionsOf(flags));
  TRY_ASSIGN(dockerfile::LoadedDockerfile loaded, Load(FileAt(flags.path)));
  if (flags.fix) TRY(Mend(options, loaded));
  const auto [findings, status] = dockerfile::CheckOffline(options, loaded);
  const Error* error = status.ok() ? nullptr : &status.error();
  if (flags.format == "json") {
    Print(dockerfile::GoIndented(dockerfile::LintJson(loaded, findings, error)) + "\n");
  } else {
    if (error == nullptr || !findings.empty()) Print(Summary(findings.size()));
    Print(dockerfile::LintText(loaded.source, findings));
    if (error != nullptr) {
      const std::string where = dockerfile::Excerpt(loaded.source, dockerfile::LinesOf(*error));
      PrintError(fmt::format("ERROR: {}\n{}", *error, where));
    }
  }
  return findings.empty() && error == nullptr ? 0 : 1;
}

}  // namespace

void AddCheckOptions(CLI::App& app, CheckFlags& flags) {
  app.add_option("path", flags.path, "Dockerfile, or folder with one (default: .)")
      ->type_name("PATH");
  app.add_option("--target", flags.target, "Check what this stage needs; without it, every stage");
  AddList(app, "--build-arg", flags.build_args, "Build argument, KEY=VALUE");
  app.add_option("--format", flags.format, "text or json (as docker buildx build --check has it)")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_flag("--fix", flags.fix, "Mend in the file what needs no thought, then check the rest");
  app.footer(
      R"(Nothing is fetched: base images are taken to be there, and their variables to be set unless a name looks
misspelt. `kiln build --check` looks at images too.

--fix mends the casing of instructions, of AS and of stage names, MAINTAINER, ENV and LABEL without '=', blank
continuation lines, the casing of protocols in EXPOSE, and --platform=$TARGETPLATFORM. All else stays as it is.

Examples:
  kiln check
  kiln check --fix docker/app.Dockerfile
  kiln check --format json --target test .
  kiln check --build-arg BUILDKIT_DOCKERFILE_CHECK=skip=JSONArgsRecommended .

Exit status: 0 for a file without findings, 1 for one with, 2 for a wrong command line.)");
}

int RunCheck(const CheckFlags& flags) {
  const auto status = Run(flags);
  if (status.ok()) return *status;
  PrintError(fmt::format("ERROR: {}\n", status.error()));
  return 1;
}

}  // namespace kiln::cmd
