#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "solver/op.h"

namespace kiln::solver {

// Where fakes hand their work: tests decide when (and in which order) it completes.
class Outside {
 public:
  virtual ~Outside() = default;
  virtual void Later(std::string what, std::function<void()> complete) = 0;
};

// Completes everything inside the call.
class AtOnce final : public Outside {
 public:
  void Later(std::string, std::function<void()> complete) override { complete(); }
};

// Keeps work whose name begins with a held prefix until it is released by name; the rest is at
// once.
class Held final : public Outside {
 public:
  void Later(std::string what, std::function<void()> complete) override;
  void Hold(std::string prefix) { prefixes_.push_back(std::move(prefix)); }
  // Releases the oldest of that name; false if there is none.
  bool Release(const std::string& what);
  // Stops holding, and releases all.
  void ReleaseAll();
  std::vector<std::string> waiting() const;

 private:
  std::vector<std::string> prefixes_;
  std::vector<std::pair<std::string, std::function<void()>>> waiting_;
};

// A result with named fields; "" is the whole of it unless set. Selectors name fields.
class FakeResult : public StoredResult {
 public:
  explicit FakeResult(std::map<std::string, std::string> fields,
                      std::vector<std::string> blobs = {}, bool lazy = false);
  bool lazy() const override { return lazy_; }
  void set_lazy(bool lazy) { lazy_ = lazy; }
  int64_t size_bytes() const override { return 1; }
  bool Holds(const std::string& blob) const override;

  // The field, or the whole.
  std::string Read(const std::string& selector) const;
  const std::map<std::string, std::string>& fields() const { return fields_; }
  const std::vector<std::string>& blobs() const { return blobs_; }

 private:
  std::map<std::string, std::string> fields_;
  std::vector<std::string> blobs_;
  bool lazy_;
};
std::shared_ptr<FakeResult> FakeValue(std::string value);
const FakeResult& AsFake(const StoredResultPtr& result);
// What a handle holds, read as a whole; "" for an empty one.
std::string ValueOf(const ResultHandle& handle);
std::string FakeDigest(std::string_view text);

struct FakeOpSpec {
  std::string name;
  std::vector<KeyDigest> digests;  // D of each part; default: one made from the name
  std::vector<InputKey> inputs;
  int outputs = 1;
  bool shows_key_map = false;
  RunNeeds needs;
  // Default: every output is "name.n(read inputs…)", reading what the selectors say.
  std::function<Result<RunOutput>(const RunContext&)> body;
  // Instead of `body`: completes on its own.
  std::function<void(std::shared_ptr<RunContext>, Callback<RunOutput>)> async_body;
  std::function<Result<std::string>(int, const ResultHandle&)> content;
  std::function<Status(int, const ResultHandle&)> prepare;
  std::function<Status(int)> key_map_status;
};

class FakeOp : public Op {
 public:
  FakeOp(Outside& outside, FakeOpSpec spec);

  int output_count() const override { return spec_.outputs; }
  OpIdentity identity() const override { return {"fake", spec_.name, "test", ""}; }
  void KeyMap(int part, progress::Activity activity, Callback<KeyMapPart> done) override;
  bool ShowsKeyMap() const override { return spec_.shows_key_map; }
  void ContentDigest(int input, ResultHandle result, progress::Activity activity,
                     Callback<std::string> done) override;
  void Prepare(int input, ResultHandle result, progress::Activity activity,
               StatusCallback done) override;
  RunNeeds needs() const override { return spec_.needs; }
  void Run(std::shared_ptr<RunContext> context, Callback<RunOutput> done) override;

  int runs = 0;
  int digests = 0;
  int prepares = 0;
  int parts_asked = 0;
  std::weak_ptr<RunContext> context;  // of the latest run
  progress::Activity activity;        // of the latest run
  const FakeOpSpec& spec() const { return spec_; }

 private:
  Result<RunOutput> DefaultBody(const RunContext& context) const;

  Outside& outside_;
  FakeOpSpec spec_;
};

}  // namespace kiln::solver
