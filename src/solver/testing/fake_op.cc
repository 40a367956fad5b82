#include "solver/testing/fake_op.h"

#include <fmt/format.h>

#include <algorithm>

namespace kiln::solver {

void Held::Later(std::string what, std::function<void()> complete) {
  for (const std::string& prefix : prefixes_) {
    if (what.starts_with(prefix)) {
      waiting_.emplace_back(std::move(what), std::move(complete));
      return;
    }
  }
  complete();
}

bool Held::Release(const std::string& what) {
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const auto& entry) { return entry.first == what; });
  if (found == waiting_.end()) return false;
  const auto complete = std::move(found->second);
  waiting_.erase(found);
  complete();
  return true;
}

void Held::ReleaseAll() {
  prefixes_.clear();
  for (const auto& [what, complete] : std::exchange(waiting_, {})) complete();
}

std::vector<std::string> Held::waiting() const {
  std::vector<std::string> names;
  for (const auto& [what, complete] : waiting_) names.push_back(what);
  return names;
}

FakeResult::FakeResult(std::map<std::string, std::string> fields, std::vector<std::string> blobs,
                       bool lazy)
    : fields_(std::move(fields)), blobs_(std::move(blobs)), lazy_(lazy) {}

bool FakeResult::Holds(const std::string& blob) const {
  return std::find(blobs_.begin(), blobs_.end(), blob) != blobs_.end();
}

std::string FakeResult::Read(const std::string& selector) const {
  const auto found = fields_.find(selector);
  if (found != fields_.end()) return found->second;
  std::string all;
  for (const auto& [name, value] : fields_) all += name + "=" + value + ";";
  return all;
}

std::shared_ptr<FakeResult> FakeValue(std::string value) {
  return std::make_shared<FakeResult>(std::map<std::string, std::string>{{"", std::move(value)}});
}

const FakeResult& AsFake(const StoredResultPtr& result) {
  return static_cast<const FakeResult&>(*result);
}

std::string ValueOf(const ResultHandle& handle) {
  return handle.result() == nullptr ? "" : AsFake(handle.result()).Read("");
}

std::string FakeDigest(std::string_view text) { return Sha256Of(text).ToString(); }

FakeOp::FakeOp(Outside& outside, FakeOpSpec spec) : outside_(outside), spec_(std::move(spec)) {
  if (spec_.digests.empty()) spec_.digests.push_back(FakeDigest(spec_.name));
}

void FakeOp::KeyMap(int part, progress::Activity, Callback<KeyMapPart> done) {
  ++parts_asked;
  outside_.Later("key " + spec_.name, [this, part, done] {
    if (spec_.key_map_status) {
      Status status = spec_.key_map_status(part);
      if (!status.ok()) return done(status.error());
    }
    KeyMapPart map;
    map.digest = spec_.digests.at(static_cast<size_t>(part));
    map.inputs = spec_.inputs;
    map.last = static_cast<size_t>(part) + 1 == spec_.digests.size();
    map.parts.push_back({"digest", map.digest});
    done(std::move(map));
  });
}

void FakeOp::ContentDigest(int input, ResultHandle result, progress::Activity,
                           Callback<std::string> done) {
  ++digests;
  outside_.Later("digest " + spec_.name, [this, input, result, done] {
    if (spec_.content) return done(spec_.content(input, result));
    const std::string& selector = spec_.inputs[static_cast<size_t>(input)].selector;
    done(FakeDigest("content:" + (result.result() == nullptr
                                      ? std::string()
                                      : AsFake(result.result()).Read(selector))));
  });
}

void FakeOp::Prepare(int input, ResultHandle result, progress::Activity, StatusCallback done) {
  ++prepares;
  outside_.Later("prepare " + spec_.name, [this, input, result, done] {
    done(spec_.prepare ? spec_.prepare(input, result) : OkStatus());
  });
}

Result<RunOutput> FakeOp::DefaultBody(const RunContext& context) const {
  std::string read;
  for (size_t i = 0; i < context.inputs().size(); ++i) {
    const StoredResultPtr& input = context.inputs()[i].result();
    if (!read.empty()) read += ",";
    if (input != nullptr) read += AsFake(input).Read(spec_.inputs[i].selector);
  }
  RunOutput output;
  for (int n = 0; n < spec_.outputs; ++n) {
    output.results.push_back(FakeValue(spec_.outputs == 1
                                           ? fmt::format("{}({})", spec_.name, read)
                                           : fmt::format("{}.{}({})", spec_.name, n, read)));
  }
  return output;
}

void FakeOp::Run(std::shared_ptr<RunContext> run, Callback<RunOutput> done) {
  ++runs;
  context = run;
  activity = run->activity();
  if (spec_.async_body) return spec_.async_body(std::move(run), std::move(done));
  outside_.Later("run " + spec_.name,
                 [this, run, done] { done(spec_.body ? spec_.body(*run) : DefaultBody(*run)); });
}

}  // namespace kiln::solver
