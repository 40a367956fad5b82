#include "solver/lost.h"

#include <string_view>

namespace kiln::solver {
namespace {

constexpr std::string_view kLostType = "kiln.dev/solver.Lost";

}  // namespace

Error LostError(const std::vector<std::string>& blobs, std::string message) {
  Error error(Code::kDataLoss, std::move(message));
  std::string names;
  for (const std::string& blob : blobs) {
    names += blob;
    names += '\n';
  }
  error.AddDetail({std::string(kLostType), std::move(names)});
  return error;
}

bool IsLost(const Error& error) { return error.FindDetail(kLostType) != nullptr; }

std::vector<std::string> LostBlobs(const Error& error) {
  std::vector<std::string> blobs;
  const ErrorDetail* detail = error.FindDetail(kLostType);
  if (detail == nullptr) return blobs;
  std::string_view rest = detail->value;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    blobs.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return blobs;
}

}  // namespace kiln::solver
