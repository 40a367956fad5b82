// What docs/ says of flags and of the configuration is so.
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>

#include <CLI/CLI.hpp>

#include "base/fd.h"
#include "base/strings.h"
#include "cmd/build_options.h"
#include "cmd/daemon_command.h"
#include "control/config.h"

namespace kiln::cmd {
namespace {

std::string Page(const std::string& name) {
  auto text = ReadFile("docs/" + name, size_t{1} << 20);
  EXPECT_TRUE(text.ok()) << "run from the top of the tree";
  return text.ok() ? *text : std::string();
}

// The flags in the tables of a section of compatibility.md, with what is said of them.
std::map<std::string, std::string> StatesIn(const std::string& section) {
  std::string page = Page("compatibility.md");
  page = page.substr(page.find("## " + section + "\n") + 3);
  page = page.substr(0, page.find("\n## "));
  std::map<std::string, std::string> states;
  const std::regex flag("`(--?[a-z-]+)`");
  for (const std::string_view line : Split(page, '\n')) {
    if (!line.starts_with("| `-")) continue;
    const auto cells = Split(line, '|');
    const std::string names(cells[1]);
    const std::string more(cells[3].starts_with(" and ") ? cells[3] : "");
    for (const std::string& text : {names, more}) {
      for (std::sregex_iterator at(text.begin(), text.end(), flag), end; at != end; ++at)
        states[(*at)[1].str()] = std::string(Trim(cells[2]));
    }
  }
  return states;
}

// Each flag in the words of the command line.
std::set<std::string> FlagsOf(const CLI::App& app) {
  std::set<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.insert("--" + name);
    for (const std::string& name : option->get_snames()) names.insert("-" + name);
  }
  for (const char* name : {"--help", "-h"}) names.erase(name);
  return names;
}

// Whether a flag is refused whatever its value.
template <typename AddOptions>
bool IsRefused(const std::string& flag, const AddOptions& add) {
  CLI::App app;
  add(app);
  std::vector<std::string> words = {flag == "-m" || flag == "-c" ? flag : flag + "=x"};
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return std::string(error.what()).find("not served") != std::string::npos;
  }
  return false;
}

template <typename AddOptions>
void Compare(const std::string& section, const AddOptions& add, std::set<std::string> others) {
  const auto states = StatesIn(section);
  CLI::App app;
  add(app);
  std::set<std::string> flags = FlagsOf(app);
  flags.merge(others);
  for (const std::string& flag : flags) {
    const auto found = states.find(flag);
    ASSERT_NE(found, states.end()) << flag << " is not in compatibility.md, " << section;
    EXPECT_EQ(found->second == "refused", IsRefused(flag, add)) << flag;
  }
  for (const auto& [flag, state] : states) EXPECT_TRUE(flags.contains(flag)) << flag;
}

TEST(DocsTest, FlagsOfBuildAreWhatTheTableSays) {
  BuildFlags flags;
  // Added by every command's own table, see main.
  Compare("Flags of `kiln build`", [&](CLI::App& app) { AddBuildOptions(app, flags); },
          {"--debug"});
}

TEST(DocsTest, FlagsOfKilndAreWhatTheTableSays) {
  DaemonFlags flags;
  Compare("Flags of `kilnd`", [&](CLI::App& app) { AddDaemonOptions(app, flags); }, {});
}

TEST(DocsTest, ExamplesOfConfigurationsAreTaken) {
  std::string page = Page("kilnd.toml.md");
  int examples = 0;
  for (size_t at = page.find("```toml\n"); at != std::string::npos;
       at = page.find("```toml\n", at)) {
    at += 8;
    control::Config config;
    const Status applied = control::ApplyToml(page.substr(at, page.find("```", at) - at), &config);
    EXPECT_TRUE(applied.ok()) << applied.error().ToString();
    ++examples;
  }
  EXPECT_GE(examples, 3);
}

}  // namespace
}  // namespace kiln::cmd
