#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/build.h"

namespace kiln::client {

// The folder of the output that is a layout; "" if there is none.
std::string LayoutDest(const std::vector<Output>& outputs);

// Once a layout's blobs are in the folder: names the image in its index.json, as `image.name` of
// the exporter's response says, else "latest". Other images that the folder holds stay. `mode`: of
// the files.
Status NameInLayout(const std::string& folder, const std::map<std::string, std::string>& response,
                    mode_t mode);

}  // namespace kiln::client
