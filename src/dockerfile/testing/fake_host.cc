#include "dockerfile/testing/fake_host.h"

#include <algorithm>

#include "llb/marshal.h"

namespace kiln::dockerfile {

std::vector<Result<ImageInfo>> FakeHost::ResolveImages(const std::vector<ImageRequest>& requests) {
  std::vector<Result<ImageInfo>> answers;
  for (const ImageRequest& request : requests) {
    asked.push_back(request);
    if (const auto other = became.find(request.ref); other != became.end()) {
      ImageInfo info;
      info.source = other->second;
      answers.emplace_back(std::move(info));
      continue;
    }
    const auto found = images.find(request.ref);
    if (found == images.end()) {
      answers.emplace_back(NotFound("{}: not found", request.ref));
      continue;
    }
    answers.emplace_back(ImageInfo{request.ref, Sha256Of(found->second), found->second, {}});
  }
  return answers;
}

Result<std::optional<std::string>> FakeHost::ReadFile(const llb::Output& tree,
                                                      const std::string& path) {
  TRY_ASSIGN(const pb::Definition definition, llb::Marshal(tree));
  std::string identifier;
  for (const std::string& bytes : definition.def()) {
    pb::Op op;
    if (op.ParseFromString(bytes) && op.has_source()) identifier = op.source().identifier();
  }
  read.push_back(identifier + ":" + path);
  const auto source = files.find(identifier);
  if (source == files.end()) return std::optional<std::string>();
  const auto file = source->second.find(path);
  if (file == source->second.end()) return std::optional<std::string>();
  return std::optional<std::string>(file->second);
}

Result<std::optional<std::string>> FakeHost::ReadPrefix(const llb::Output& tree,
                                                        const std::string& path,
                                                        std::size_t bytes) {
  TRY_ASSIGN(auto text, ReadFile(tree, path));
  if (text) text->resize(std::min(text->size(), bytes));
  return text;
}

Result<std::optional<llb::Output>> FakeHost::Input(const std::string& name) {
  const auto found = inputs.find(name);
  if (found == inputs.end()) return std::optional<llb::Output>();
  return std::optional<llb::Output>(found->second);
}

}  // namespace kiln::dockerfile
