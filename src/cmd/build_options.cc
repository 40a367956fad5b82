#include "cmd/build_options.h"

#include <CLI/CLI.hpp>

#include "cmd/command.h"

namespace kiln::cmd {
namespace {

// Flags of docker buildx build that kiln knows of and does not serve.
constexpr const char* kUnserved[] = {"--attest",     "--builder", "--debug",  "--policy",
                                     "--provenance", "--sbom",    "--device", "--resource"};
// Those that docker build had for its older builder, and takes to this day without heeding them.
constexpr const char* kOfOldBuilder[] = {"--compress",    "--isolation",  "--security-opt",
                                         "--squash",      "-m,--memory",  "--memory-swap",
                                         "--cpu-period",  "--cpu-quota",  "-c,--cpu-shares",
                                         "--cpuset-cpus", "--cpuset-mems"};
// Values that ask for nothing.
bool AsksForNothing(const std::string& name, const std::string& value) {
  return (name == "--provenance" || name == "--sbom") && (value == "false" || value == "0");
}

void AddUnserved(CLI::App& app) {
  for (const char* name : kUnserved) {
    CLI::callback_t refuse = [name = std::string(name)](const CLI::results_t& values) -> bool {
      std::string value = values.empty() ? "" : values.front();
      if (AsksForNothing(name, value)) return true;
      throw CLI::ValidationError(name, "this flag of docker buildx build is not served");
    };
    app.add_option(name, refuse, "")->expected(0, 1)->group("");
  }
  for (const char* name : kOfOldBuilder) {
    CLI::callback_t refuse = [name = std::string(name)](const CLI::results_t& values) -> bool {
      if (!values.empty() && (values.front() == "false" || values.front() == "0")) return true;
      throw CLI::ValidationError(name, "this flag of docker's old builder is not served");
    };
    app.add_option(name, refuse, "")->expected(0, 1)->group("");
  }
  // What it asks for is always so: no step's container outlives it.
  app.add_flag("--rm,--force-rm")->group("");
}

}  // namespace

void AddBuildOptions(CLI::App& app, BuildFlags& flags) {
  app.add_option("context", flags.context, "Folder of the build context")->type_name("PATH");
  AddList(app, "-t,--tag", flags.tags, "Name of the image, optionally with a tag");
  app.add_option("-f,--file", flags.file,
                 "Dockerfile (default: PATH/Dockerfile; - for standard input)");
  app.add_option("--target", flags.target, "Stage to build");
  AddList(app, "--build-arg", flags.build_args,
          "Build argument, KEY=VALUE (or KEY, from the environment)");
  AddList(app, "--build-context", flags.build_contexts,
          "Further context, NAME=PATH, NAME=oci-layout://PATH[:TAG|@DIGEST] or "
          "NAME=docker-image://REF");
  AddList(app, "--label", flags.labels, "Label of the image, KEY=VALUE");
  AddList(app, "--annotation", flags.annotations, "Annotation of the image, [TYPE:]KEY=VALUE");
  AddList(app, "-o,--output", flags.outputs,
          "Where the result goes: PATH, - or type=local|tar|oci|docker|image,dest=PATH,…");
  app.add_option("--platform", flags.platforms, "Platforms to build for")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->take_all();
  AddList(app, "--secret", flags.secrets,
          "Secret for RUN --mount=type=secret: id=ID[,src=PATH|,env=NAME][,type=file|env]");
  AddList(app, "--ssh", flags.ssh,
          "SSH agent for RUN --mount=type=ssh: default, ID=SOCKET or ID=KEYFILE[,KEYFILE]");
  AddList(app, "--add-host", flags.add_hosts, "Host entry in RUN steps, HOST=IP");
  AddList(app, "--ulimit", flags.ulimits, "Limit in RUN steps, NAME=SOFT[:HARD]");
  AddList(app, "--allow", flags.allow,
          "Entitlement: network.host, security.insecure, device[=NAME[,alias=OTHER]]");
  AddList(app, "--cache-from", flags.cache_from,
          "Cache to import, type=registry,ref=… and the like");
  AddList(app, "--cache-to", flags.cache_to, "Where to export the cache to");
  AddList(app, "--no-cache-filter", flags.no_cache_filters, "Stage that is built without cache");
  app.add_option("--network", flags.network, "Network of RUN steps: default, host or none");
  app.add_option("--shm-size", flags.shm_size, "Size of /dev/shm in RUN steps");
  app.add_option("--cgroup-parent", flags.cgroup_parent, "Parent cgroup of RUN steps");
  app.add_option("--iidfile", flags.iid_file, "Write the image ID to this file");
  app.add_option("--metadata-file", flags.metadata_file,
                 "Write the build's result metadata to this file");
  app.add_option("--progress", flags.progress, "auto, plain, tty, quiet or rawjson")
      ->envname("BUILDKIT_PROGRESS");
  app.add_flag("--no-cache", flags.no_cache, "Do not use the cache");
  app.add_flag("--pull", flags.pull, "Resolve image names anew");
  app.add_flag("--push", flags.push, "Push the image: -o type=image,push=true");
  app.add_flag("--load", flags.load, "Load the image into Docker: -o type=docker");
  app.add_option("--call", flags.call,
                 "Ask instead of building: check, outline, targets (or build), and "
                 "[,format=json][,ignorestatus=true]");
  app.add_flag("--check", flags.check, "Check the Dockerfile: --call=check");
  app.add_flag("-q,--quiet", flags.quiet, "Print only the image ID");
  app.add_option("--addr", flags.addr,
                 "Daemon to use, unix://… or tcp://… (also KILN_HOST, BUILDKIT_HOST); without one, "
                 "kiln builds in this process");
  app.add_option("--root", flags.root, "State folder when building in this process");
  AddTlsOptions(app, flags.tls);
  app.add_option("--config", flags.config,
                 "Configuration when building in this process, with the keys of buildkitd.toml");
  AddUnserved(app);
  app.footer(R"(Examples:
  kiln build .
  kiln build -t registry.example/app:1 --push .
  kiln build --target test --build-arg GO=1.22 -o out .
  kiln build --build-context base=oci-layout://./base -o type=oci,dest=image.tar .
  kiln build --secret id=npm,src=$HOME/.npmrc --ssh default .
  kiln build --check .
  kiln build --call outline,format=json --target app .
  kiln build --build-arg VERSION --no-cache-filter deps --metadata-file meta.json .)");
}

}  // namespace kiln::cmd
