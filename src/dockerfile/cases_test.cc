// Golden files: cases/*.txt hold a request and what it turns into. KILN_ACCEPT=1 writes what is
// found.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "dockerfile/plan.h"
#include "dockerfile/testing/case_names.h"
#include "dockerfile/testing/fake_host.h"
#include "dockerfile/testing/print_llb.h"
#include "llb/marshal.h"
#include "llb/source_map.h"

namespace kiln::dockerfile {
namespace {

constexpr std::string_view kCases = "src/dockerfile/cases";
constexpr std::string_view kAlpine =
    R"({"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],)"
    R"("Cmd":["/bin/sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:)"
    R"(aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"history":[)"
    R"({"created_by":"ADD rootfs"}],"created":"2024-01-02T03:04:05Z"})";

// "-- name --" lines divide a case into sections.
using Sections = std::vector<std::pair<std::string, std::string>>;

Sections ReadCase(const std::string& text) {
  Sections sections;
  for (std::string_view line : Split(text, '\n')) {
    if (line.starts_with("-- ") && line.ends_with(" --") && line.size() > 6) {
      sections.emplace_back(line.substr(3, line.size() - 6), "");
    } else if (!sections.empty()) {
      sections.back().second += std::string(line) + "\n";
    }
  }
  for (auto& [name, body] : sections) {
    if (!body.empty()) body.pop_back();  // the line end before the next section's head
  }
  return sections;
}

std::string Excerpt(const Error& error, const std::string& data) {
  std::string out;
  const auto lines = Split(data, '\n');
  for (const ErrorDetail& detail : error.details()) {
    if (detail.type_url != llb::kSourceDetailType) continue;
    const auto json = nlohmann::json::parse(detail.value);
    for (const auto& range : json["ranges"]) {
      const int line = range["start"].value("line", 0);
      out += fmt::format("  >>> {} | {}\n", line,
                         line == 0 ? "" : lines.at(static_cast<std::size_t>(line - 1)));
    }
  }
  return out;
}

std::string Describe(const Plan& plan) {
  std::string out;
  const auto metadata = ResultMetadata(plan);
  for (const PlatformPlan& platform : plan.platforms) {
    out += fmt::format("== {}\n", platform.id);
    const auto definition = llb::Marshal(platform.root);
    out +=
        definition.ok() ? PrintLlb(*definition) : "error: " + definition.error().ToString() + "\n";
  }
  for (const auto& [key, value] : metadata) {
    if (key.find(".base.") != std::string::npos) continue;
    const auto json = nlohmann::ordered_json::parse(value, nullptr, false);
    out += fmt::format("== {}\n{}\n", key, json.is_object() ? json.dump(1) : value);
  }
  return out;
}

std::string RunCase(const Sections& sections) {
  FakeHost host;
  host.images["docker.io/library/alpine:latest"] = kAlpine;
  host.images["docker.io/library/busybox:latest"] = kAlpine;
  std::map<std::string, std::string> attrs;
  std::string dockerfile;
  for (const auto& [name, body] : sections) {
    if (name.starts_with("image ")) {
      host.images[name.substr(6)] = Trim(body);
    } else if (name.starts_with("file ")) {  // file local://context:PATH
      const auto cut = name.rfind(':');
      host.files[name.substr(5, cut - 5)][name.substr(cut + 1)] = body;
    } else if (name == "opts") {
      for (const auto line : Split(body, '\n')) {
        if (const auto cut = Cut(line, "=")) {
          attrs[std::string(cut->first)] = ReplaceAll(cut->second, "\\n", "\n");
        }
      }
    } else if (name == "Dockerfile") {
      dockerfile = body;
      host.files["local://dockerfile"]["Dockerfile"] = body;
    }
  }
  const auto run = [&]() -> Result<std::string> {
    TRY_ASSIGN(const Options options, ParseOptions(attrs));
    TRY(CheckCaps(options, false));
    TRY_ASSIGN(const LoadedDockerfile loaded, LoadDockerfile(options, host));
    TRY_ASSIGN(const Plan plan, MakePlan(options, loaded, host));
    return Describe(plan);
  };
  const auto result = run();
  std::string out;
  for (const ImageRequest& request : host.asked) out += request.log_name + "\n";
  if (result.ok()) return out + *result;
  return out + fmt::format("error: {}\n", result.error().ToString()) +
         Excerpt(result.error(), dockerfile);
}

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

class CasesTest : public testing::TestWithParam<std::string> {};

TEST_P(CasesTest, TurnsIntoWhatTheFileSays) {
  const auto path = std::filesystem::path(kCases) / (GetParam() + ".txt");
  const std::string text = ReadAll(path);
  Sections sections = ReadCase(text);
  std::string want;
  if (!sections.empty() && sections.back().first == "want") {
    want = sections.back().second;
    sections.pop_back();
  }
  const std::string got = RunCase(sections);
  EXPECT_EQ(got, RunCase(sections)) << "not the same twice";
  if (std::getenv("KILN_ACCEPT") != nullptr) {
    const auto head = text.find("-- want --");
    std::ofstream(path, std::ios::binary)
        << (head == std::string::npos ? text : text.substr(0, head)) << "-- want --\n"
        << got;
    return;
  }
  EXPECT_EQ(got, want);
}

INSTANTIATE_TEST_SUITE_P(Golden, CasesTest, testing::ValuesIn(CaseNames(kCases)),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(CasesTest, AreThere) { EXPECT_GE(CaseNames(kCases).size(), 60U); }

}  // namespace
}  // namespace kiln::dockerfile
