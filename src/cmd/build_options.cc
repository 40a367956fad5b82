#include "cmd/build_options.h"

#include <CLI/CLI.hpp>

#include "cmd/command.h"

namespace kiln::cmd {
namespace {

// A flag of docker buildx build that kiln knows of and does not serve, and what to do instead.
struct Unserved {
  const char* name;
  const char* reason;
};
constexpr Unserved kUnserved[] = {
    {"--builder", "kiln has no builders: --addr or KILN_HOST names a daemon"},
    {"--policy", "policies of buildx are not served; --source-policy-file takes one of BuildKit's"},
    {"--device", "--allow device=NAME grants a device"},
    {"--compress", "it is of docker's old builder: contexts are sent file by file"},
    {"--isolation", "it is of docker's old builder and means Windows containers"},
    {"--security-opt",
     "it is of docker's old builder: RUN --security=insecure in the Dockerfile and "
     "--allow security.insecure go together"},
    {"--squash", "it is of docker's old builder: COPY --from into a last stage makes one layer"}};

// Limits of steps that have a flag of their own beside --resource.
constexpr const char* kLimits[] = {"-m,--memory",  "--memory-swap", "-c,--cpu-shares",
                                   "--cpu-period", "--cpu-quota",   "--cpuset-cpus",
                                   "--cpuset-mems"};

void AddUnserved(CLI::App& app) {
  for (const Unserved& flag : kUnserved) {
    CLI::callback_t refuse = [flag](const CLI::results_t& values) -> bool {
      if (!values.empty() && (values.front() == "false" || values.front() == "0")) return true;
      throw CLI::ValidationError(flag.name, std::string("not served: ") + flag.reason);
    };
    app.add_option(flag.name, refuse, "")->expected(0, 1)->group("");
  }
  // What it asks for is always so: no step's container outlives it.
  app.add_flag("--rm,--force-rm")->group("");
}

void AddLimits(CLI::App& app, BuildFlags& flags) {
  AddList(app, "--resource", flags.resources,
          "Limit of each RUN step: memory=2g, memory-swap, cpu-shares, cpu-period, cpu-quota, "
          "cpuset-cpus or cpuset-mems; also -m and --memory and so on");
  for (const char* names : kLimits) {
    const std::string key = std::string(names).substr(std::string(names).rfind("--") + 2);
    CLI::callback_t add = [&flags, key](const CLI::results_t& values) -> bool {
      // What --resource says counts, wherever it stands.
      auto& all = flags.limits;
      for (const std::string& value : values) all.push_back(key + "=" + value);
      return true;
    };
    app.add_option(names, add, "")->group("")->allow_extra_args(false)->take_all();
  }
}

// What a build is made of, and how.
void AddInputs(CLI::App& app, BuildFlags& flags) {
  app.add_option("context", flags.context,
                 "Build context: folder, git or http URL, or - for standard input")
      ->type_name("PATH");
  AddList(app, "-t,--tag", flags.tags, "Name of the image, optionally with a tag");
  app.add_option("-f,--file", flags.file,
                 "Dockerfile (default: PATH/Dockerfile; - for standard input)");
  app.add_option("--target", flags.target, "Stage to build (default: the last)");
  AddList(app, "--build-arg", flags.build_args,
          "Build argument, KEY=VALUE (or KEY, from the environment)");
  AddList(app, "--build-context", flags.build_contexts,
          "Further context, NAME=PATH, NAME=oci-layout://PATH[:TAG|@DIGEST] or "
          "NAME=docker-image://REF");
  AddList(app, "--label", flags.labels, "Label of the image, KEY=VALUE");
  AddList(app, "--annotation", flags.annotations, "Annotation of the image, [TYPE:]KEY=VALUE");
  app.add_option("--platform", flags.platforms, "Platforms to build for (default: this machine's)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->take_all();
  app.add_flag("--no-cache", flags.no_cache, "Do not use the cache");
  AddList(app, "--no-cache-filter", flags.no_cache_filters, "Stage that is built without cache");
  app.add_flag("--pull", flags.pull, "Resolve image names anew");
  AddList(app, "--cache-from", flags.cache_from,
          "Not served yet: a warning says so, and the build goes on without that cache");
  AddList(app, "--cache-to", flags.cache_to,
          "Not served yet: an error, or with ignore-error=true a warning");
  AddList(app, "--attest", flags.attests,
          "Attestations are not served yet: type=sbom|provenance,disabled=true alone is taken");
  app.add_option("--provenance", flags.provenance, "As --attest: false alone is taken");
  app.add_option("--sbom", flags.sbom, "As --attest: false alone is taken");
  app.add_option("--source-policy-file", flags.source_policy_file,
                 "Source policy of BuildKit, JSON or protobuf (default: what "
                 "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY names)");
}

// What steps may see and use.
void AddStepOptions(CLI::App& app, BuildFlags& flags) {
  AddList(app, "--secret", flags.secrets,
          "Secret for RUN --mount=type=secret: id=ID[,src=PATH|,env=NAME][,type=file|env]");
  AddList(app, "--ssh", flags.ssh,
          "SSH agent for RUN --mount=type=ssh: default, ID=SOCKET or ID=KEYFILE[,KEYFILE]");
  AddList(app, "--allow", flags.allow,
          "Entitlement: network.host, security.insecure, device[=NAME[,alias=OTHER]]; a daemon has "
          "to allow it too");
  app.add_option("--network", flags.network,
                 "Network of RUN steps: default (the worker's), host or none");
  AddList(app, "--add-host", flags.add_hosts, "Host entry in RUN steps, HOST=IP");
  AddList(app, "--ulimit", flags.ulimits, "Limit in RUN steps, NAME=SOFT[:HARD]");
  app.add_option("--shm-size", flags.shm_size, "Size of /dev/shm in RUN steps (default: 64m)");
  app.add_option("--cgroup-parent", flags.cgroup_parent, "Parent cgroup of RUN steps");
  AddLimits(app, flags);
}

void AddResults(CLI::App& app, BuildFlags& flags) {
  AddList(app, "-o,--output", flags.outputs,
          "Where the result goes: a folder, - (a tar on standard output) or "
          "type=local|tar|oci|docker|image|registry|cacheonly,dest=PATH,… (default: it stays in "
          "the cache)");
  app.add_flag("--push", flags.push, "Push the image: -o type=image,push=true");
  app.add_flag("--load", flags.load, "Load the image into Docker: -o type=docker");
  app.add_option("--iidfile", flags.iid_file, "Write the image ID to this file");
  app.add_option("--metadata-file", flags.metadata_file,
                 "Write the build's result metadata to this file");
  app.add_option("--call", flags.call,
                 "Ask instead of building: check, outline, targets (or build), and "
                 "[,format=json][,ignorestatus=true]");
  app.add_option("--print", flags.call, "")->group("");
  app.add_flag("--check", flags.check, "Check the Dockerfile: --call=check");
  app.add_option("--progress", flags.progress,
                 "auto, plain, tty, quiet or rawjson (default: auto: tty in a terminal, else "
                 "plain)")
      ->envname("BUILDKIT_PROGRESS");
  app.add_flag("-q,--quiet", flags.quiet, "Print only the image ID");
}

}  // namespace

void AddBuildOptions(CLI::App& app, BuildFlags& flags) {
  AddInputs(app, flags);
  AddStepOptions(app, flags);
  AddResults(app, flags);
  AddEngineOptions(app, flags.engine);
  app.add_option("--config", flags.config,
                 "Configuration of an engine in this process, with the keys of buildkitd.toml "
                 "(default: " +
                     DefaultConfigFile() + ", if it is there)");
  AddUnserved(app);
  app.footer(R"(Examples:
  kiln build .
  kiln build -t registry.example/app:1 --push .
  kiln build --target test --build-arg GO=1.22 -o out .
  kiln build --build-context base=oci-layout://./base -o type=oci,dest=image.tar .
  kiln build --secret id=npm,src=$HOME/.npmrc --ssh default .
  kiln build --check .
  kiln build --call outline,format=json --target app .
  kiln build --build-arg VERSION --no-cache-filter deps --metadata-file meta.json .

)" + std::string(kExitStatus));
}

}  // namespace kiln::cmd
