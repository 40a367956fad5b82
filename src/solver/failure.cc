#include "solver/failure.h"

#include <string_view>

namespace kiln::solver {
namespace {

constexpr std::string_view kVertexType = "kiln.dev/solver.Vertex";

}  // namespace

std::optional<Digest> FailedVertex(const Error& error) {
  const ErrorDetail* detail = error.FindDetail(kVertexType);
  if (detail == nullptr) return std::nullopt;
  auto digest = Digest::Parse(detail->value);
  if (!digest.ok()) return std::nullopt;
  return *digest;
}

Error WithFailedVertex(Error error, const Digest& vertex) {
  if (error.FindDetail(kVertexType) == nullptr) {
    error.AddDetail({std::string(kVertexType), vertex.ToString()});
  }
  return error;
}

}  // namespace kiln::solver
