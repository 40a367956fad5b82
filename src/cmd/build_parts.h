#pragma once

#include <map>
#include <string>
#include <utility>

#include "cmd/build_flags.h"

// What Prepare() is made of.
namespace kiln::cmd {

using Attrs = std::map<std::string, std::string>;

// `key=value`; the key as it is.
Result<std::pair<std::string, std::string>> KeyValue(const std::string& flag,
                                                     const std::string& text);
// A list of them, see ParseKeyValues; the last of several with one key counts.
Result<Attrs> KeyValues(const std::string& flag, const std::string& text);

bool IsFolder(const std::string& path);

// The context, the Dockerfile and named contexts. Reads standard input where that is one of them.
Status AddContexts(const BuildFlags& flags, PreparedBuild& build);
// Outputs, tags, annotations, and the Docker engine that --load means.
Status AddOutputs(const BuildFlags& flags, PreparedBuild& build);
// What may be used by steps alone: secrets and SSH agents.
Status AddSecrets(const BuildFlags& flags, PreparedBuild& build);
Status AddSsh(const BuildFlags& flags, PreparedBuild& build);
// Memory and processors of steps, as docker run has them.
Status AddResources(const BuildFlags& flags, Attrs& attrs);

}  // namespace kiln::cmd
