// A Dockerfile from parse to marshalled LLB with every build check, in a world where every image
// exists; then what is said about it, and what `kiln check --fix` makes of it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "dockerfile/lint_fix.h"
#include "dockerfile/lint_report.h"
#include "dockerfile/parser.h"
#include "dockerfile/plan.h"
#include "dockerfile/subrequests.h"
#include "dockerfile_mutator.h"
#include "llb/marshal.h"

namespace {

using namespace kiln;  // NOLINT: one file, one purpose
using namespace kiln::dockerfile;

class AnyHost final : public Host {
 public:
  explicit AnyHost(std::string dockerfile) : dockerfile_(std::move(dockerfile)) {}

  std::vector<Result<ImageInfo>> ResolveImages(const std::vector<ImageRequest>& requests) override {
    std::vector<Result<ImageInfo>> answers;
    for (const ImageRequest& request : requests) {
      answers.emplace_back(ImageInfo{
          request.ref, Sha256Of(request.ref),
          R"({"os":"linux","config":{"OnBuild":["RUN x"]},"rootfs":{"type":"layers","diff_ids":["sha256:)" +
              std::string(64, 'a') + R"("]}})"});
    }
    return answers;
  }
  Result<std::optional<std::string>> ReadFile(const llb::Output&,
                                              const std::string& path) override {
    if (path == "Dockerfile") return std::optional<std::string>(dockerfile_);
    if (path == ".dockerignore") return std::optional<std::string>("*.md\ndir/**\n");
    return std::optional<std::string>();
  }
  Result<std::optional<std::string>> ReadPrefix(const llb::Output& tree, const std::string& path,
                                                std::size_t bytes) override {
    auto text = ReadFile(tree, path);
    if (text.ok() && *text) (*text)->resize(std::min((*text)->size(), bytes));
    return text;
  }
  Result<std::optional<llb::Output>> Input(const std::string&) override {
    return std::optional<llb::Output>();
  }
  oci::Platform build_platform() const override { return {"linux", "amd64", "", "", {}}; }
  std::string session_id() const override { return "s"; }

 private:
  std::string dockerfile_;
};

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Three of four changes know what a Dockerfile is.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
  fuzz::DockerfileMutator mutator(seed);
  const std::string text =
      mutator.Mutate(std::string_view(reinterpret_cast<const char*>(data), size));
  const size_t length = std::min(text.size(), max_size);
  std::copy_n(text.begin(), length, reinterpret_cast<char*>(data));
  return length;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  AnyHost host(std::string(reinterpret_cast<const char*>(data), size));
  const Options options;
  const auto loaded = LoadDockerfile(options, host);
  if (!loaded.ok()) return 0;
  LintConfig every_check;
  every_check.experimental_all = true;
  std::vector<Finding> findings;
  Linter linter(every_check, [&](const Finding& finding) { findings.push_back(finding); });
  const auto plan = MakePlan(options, *loaded, host, {&linter, nullptr, false});
  LintText(loaded->source, findings);
  LintJson(*loaded, findings, plan.ok() ? nullptr : &plan.error()).size();
  const auto fixed = FixFindings(loaded->source, findings);
  // What can be parsed can be mended.
  CHECK(fixed.ok() || !Parse(loaded->source).ok());
  if (!plan.ok()) return 0;
  for (const char* request : {"frontend.outline", "frontend.targets"}) {
    Options about;
    about.request_id = request;
    (void)AnswerSubrequest(about, *loaded, host, [](const Finding&) {}).ok();
  }
  ResultMetadata(*plan);
  for (const PlatformPlan& platform : plan->platforms) {
    // What lowering accepts is a graph that can be written down, but for steps without arguments.
    (void)llb::Marshal(platform.root).ok();
  }
  return 0;
}
