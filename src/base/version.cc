#include "base/version.h"

namespace kiln {

std::string Version() { return KILN_VERSION; }
std::string ProtocolVersion() { return "v0.34.2+kiln." + Version(); }

}  // namespace kiln
