#include "cmd/usage.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/strings.h"

namespace kiln::cmd {
namespace {

// The command whose words were parsed last: the deepest that was given.
const CLI::App& InnermostOf(const CLI::App& app) {
  const CLI::App* found = &app;
  for (auto inner = app.get_subcommands(); !inner.empty(); inner = found->get_subcommands())
    found = inner.front();
  return *found;
}

std::string FullName(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return parent == nullptr ? app.get_name() : FullName(*parent) + " " + app.get_name();
}

std::vector<std::string> FlagsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
  }
  return names;
}

std::vector<std::string> CommandsOf(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

}  // namespace

std::string DescribeUnknown(const CLI::App& app) {
  const CLI::App& inner = InnermostOf(app);
  const std::string name = FullName(inner);
  std::string text;
  for (const std::string& word : app.remaining(true)) {
    bool flag = word.starts_with('-') && word.size() > 1;
    std::string given = word.substr(0, word.find('='));
    std::vector<std::string> commands = CommandsOf(inner);
    std::string nearest = NearestName(given, flag ? FlagsOf(inner) : commands);
    if (flag) {
      text += fmt::format("{}: unknown flag {}", name, given);
    } else if (!commands.empty()) {
      text += fmt::format("{}: unknown command {}", name, Quoted(word));
    } else {
      text += fmt::format("{}: unexpected argument {}", name, Quoted(word));
    }
    text += nearest.empty() ? "\n" : fmt::format(" (did you mean {}?)\n", nearest);
    // What follows an unknown flag may be its value.
    if (flag) break;
  }
  return text + fmt::format("See '{} --help'.\n", name);
}

}  // namespace kiln::cmd
