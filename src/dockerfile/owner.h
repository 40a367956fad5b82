#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "llb/build.h"

namespace kiln::dockerfile {

// `user[:group]`, each a name or a number; "root" is 0.
Result<llb::Owner> ParseOwner(std::string_view text);

// The value of --chmod: an octal number up to 07777 or chmod's symbolic form.
Status SetMode(std::string_view text, llb::CopyAction& action);

}  // namespace kiln::dockerfile
