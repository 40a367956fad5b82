#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/build.h"
#include "client/display.h"
#include "cmd/call_report.h"
#include "cmd/docker_load.h"
#include "cmd/engine.h"
#include "cmd/ssh_agents.h"

namespace kiln::cmd {

// `kiln build` as written on the command line; meanings as in `docker buildx build`.
struct BuildFlags {
  std::string context;
  std::vector<std::string> tags;
  std::string file;
  std::string target;
  std::vector<std::string> build_args;
  std::vector<std::string> build_contexts;
  std::vector<std::string> labels;
  std::vector<std::string> annotations;
  std::vector<std::string> outputs;
  std::vector<std::string> platforms;
  std::vector<std::string> secrets;
  std::vector<std::string> ssh;
  std::vector<std::string> add_hosts;
  std::vector<std::string> ulimits;
  std::vector<std::string> allow;
  std::vector<std::string> cache_from;
  std::vector<std::string> cache_to;
  std::vector<std::string> no_cache_filters;
  std::vector<std::string> attests;
  std::vector<std::string> limits;     // of -m and its like: "memory=1g"
  std::vector<std::string> resources;  // of --resource, which count where both are given
  std::string provenance;
  std::string sbom;
  std::string source_policy_file;
  std::string network;
  std::string shm_size;
  std::string cgroup_parent;
  std::string iid_file;
  std::string metadata_file;
  std::string progress = "auto";
  bool no_cache = false;
  bool pull = false;
  bool push = false;
  bool load = false;
  bool quiet = false;
  std::string call;  // --call as written
  bool check = false;

  EngineFlags engine;
  std::string config;
};

// A build request made from flags, and what must be done around it.
struct PreparedBuild {
  client::BuildRequest request;
  // Agents to be started; those that are there already stand in the request.
  std::vector<SshKeys> ssh_keys;
  // Set if an output goes to a Docker engine.
  std::shared_ptr<DockerLoad> docker;
  CallMethod call;
  // Nothing says where the result shall go.
  bool without_output = false;
  // Folder made for a Dockerfile read from standard input; removed with this.
  std::string temporary_dir;

  PreparedBuild() = default;
  PreparedBuild(PreparedBuild&& other) noexcept
      : request(std::move(other.request)),
        ssh_keys(std::move(other.ssh_keys)),
        docker(std::move(other.docker)),
        call(std::move(other.call)),
        without_output(other.without_output),
        temporary_dir(std::exchange(other.temporary_dir, {})) {}
  PreparedBuild& operator=(PreparedBuild&&) = delete;
  ~PreparedBuild();
};

// Looks at the folders that are named. Errors name the flag; what is not served is refused by name.
Result<PreparedBuild> Prepare(const BuildFlags& flags);

// "-o": a folder, "-" (a tar on standard output), or `type=…,dest=…`; "cacheonly" is none. A
// "docker" output without a destination goes to a Docker engine; its sink is not set yet.
Result<client::Output> ParseOutput(const std::string& text);

}  // namespace kiln::cmd
