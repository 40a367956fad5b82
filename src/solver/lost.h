#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace kiln::solver {

// The error by which an op, a content digest or a holder says: data of an input's result is gone
// for good (a registry lost the blob, the session that promised it ended), transient faults having
// been retried. `blobs` name what is gone in the words StoredResult::Holds understands; every live
// result that holds one of them is invalidated too. With no blobs only the result at hand is. Code
// DataLoss plus a private detail; contexts may be added on the way up.
Error LostError(const std::vector<std::string>& blobs, std::string message);
bool IsLost(const Error& error);
std::vector<std::string> LostBlobs(const Error& error);

}  // namespace kiln::solver
