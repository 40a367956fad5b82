#pragma once

// Inside store only: what a layer's tar asks of the layers below it.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "archive/apply.h"
#include "store/layer_writer.h"
#include "store/views.h"

namespace kiln::store {

// Looks at the layers below when it is asked first, and has them unpacked then: most layers ask for
// nothing. For one thread.
class LayersBelow final : public archive::FilesBelow {
 public:
  struct Options {
    Root* root = nullptr;
    Views* views = nullptr;
    std::vector<RecordPtr> chain;   // what the layer stands on, bottom first
    std::function<Status()> ready;  // returns when all of `chain` is unpacked
    std::string copies;             // a path where a directory for copies may be made meanwhile
  };
  // `layer`: the directory that is being filled.
  LayersBelow(Options options, sys::RootedPath layer)
      : options_(std::move(options)), layer_(std::move(layer)) {}
  // Takes the copies away.
  ~LayersBelow() override;
  LayersBelow(const LayersBelow&) = delete;
  LayersBelow& operator=(const LayersBelow&) = delete;

  // What a directory that the layer needs but does not list looks like below.
  std::optional<archive::TarEntry> Attributes(const std::string& path);
  Result<Found> Find(const std::string& path) override;
  Result<Place> Copy(const std::string& path) override;
  // Why the layers below could not be looked at.
  const Status& failed() const { return failed_; }

 private:
  Status Look();
  Status MakePlaceForCopies();
  Status CopyAs(const std::string& name, const WriterEntry& file);

  const Options options_;
  const sys::RootedPath layer_;
  std::optional<LayerWriter> union_;  // unset: not looked yet, or failed
  Status failed_;
  std::optional<LayerWriter> copier_;
  WriterDir copies_;
  std::map<std::string, std::string> copied_;  // path below → name in `copies_`
};

}  // namespace kiln::store
