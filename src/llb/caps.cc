#include "llb/caps.h"

#include <algorithm>

#include "base/strings.h"

namespace kiln::llb {
namespace {

// Kept sorted. What another module serves names that module's test.
constexpr Cap kLlbCaps[] = {
    {"constraints", "DefinitionTest.LoadsWhatMarshalMade"},
    {"diffop", "DiffOpTest.HasOnlyWhatChanged"},
    {"exec.cgroup", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.base", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.cdi", "ExecOpTest.DevicesChangeTheContainer"},
    {"exec.meta.cgroup.parent", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.linux.resources", "ExecOpTest.TwinsGetTheLooserLimits"},
    {"exec.meta.network", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.proxyenv", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.security", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.setsdefaultpath", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.meta.ulimit", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.mount.bind", "ExecOpTest.ResultsAreWhatMountsHoldAfterwards"},
    {"exec.mount.bind.readwrite-nooutput", "ExecOpTest.ResultsAreWhatMountsHoldAfterwards"},
    {"exec.mount.cache", "ExecOpTest.CacheMountsOutliveStepsUntilRenewed"},
    {"exec.mount.cache.content", "CacheKeyTest.LastMountOfAnInputDecidesContent"},
    {"exec.mount.cache.sharing", "ExecOpTest.LockedCacheMountsAreLockedByTheSolver"},
    {"exec.mount.secret", "ExecOpTest.SecretsAreFilesOfOneRun"},
    {"exec.mount.selector", "ExecOpTest.ResultsAreWhatMountsHoldAfterwards"},
    {"exec.mount.ssh", "ExecOpTest.AgentsAreReachedThroughASocket"},
    {"exec.mount.tmpfs", "ExecOpTest.RelativeTargetsLieInTheWorkingDirectory"},
    {"exec.mount.tmpfs.size", "ExecOpTest.RelativeTargetsLieInTheWorkingDirectory"},
    {"exec.secretenv", "ExecOpTest.TheProcessIsWhatTheOpSays"},
    {"exec.validexitcode", "ExecOpTest.FailuresSayWhatRanAndHowItEnded"},
    {"exporter.image.annotations", "tests/test_exporters.py::test_annotations"},
    {"exporter.multiple", "tests/test_builds.py::test_two_outputs_at_once"},
    {"exporter.sourcedateepoch",
     "tests/test_exporters.py::test_rewritten_times_make_the_same_image"},
    {"file.base", "FileOpTest.MakesDirectoriesAndFiles"},
    {"file.copy.alwaysreplaceexistingdestpaths", "FileCopyTest.ReplacesOtherTypesOnlyIfTold"},
    {"file.copy.includeexcludepatterns", "FileCopyTest.IncludeAndExclude"},
    {"file.copy.requiredpaths", "FileOpTest.RequiredPathsAreChecked"},
    {"file.rm.nofollowsymlink", "FileOpTest.RemovesLinksNotTargets"},
    {"file.rm.wildcard", "FileOpTest.RemovesByWildcard"},
    {"file.symlink.create", "FileOpTest.MakesSymlinks"},
    {"mergeop", "MergeOpTest.StacksInputs"},
    {"meta.description", "DefinitionTest.LoadsWhatMarshalMade"},
    {"meta.exportcache", "LoadTest.PassesMetadataOn"},
    {"meta.ignorecache", "LoadTest.PassesMetadataOn"},
    {"passthroughop", "PassthroughOpTest.HandsInputsOn"},
    {"platform", "DefinitionTest.NormalisesPlatforms"},
    {"soruce.http.uidgid", "HttpSourceTest.ModeOwnerAndNameAsAsked"},
    {"source.git", "tests/test_sources_git.py::test_add_git"},
    {"source.git.checksum", "tests/test_sources_git.py::test_checksum"},
    {"source.git.fetchbycommit", "tests/test_sources_git.py::test_fetch_by_commit"},
    {"source.git.fullurl", "tests/test_sources_git.py::test_add_git"},
    {"source.git.httpauth", "tests/test_sources_git.py::test_secrets"},
    {"source.git.keepgitdir", "tests/test_sources_git.py::test_keep_git_dir"},
    {"source.git.knownsshhosts", "tests/test_sources_git.py::test_known_hosts"},
    {"source.git.mountsshsock", "tests/test_sources_git.py::test_ssh_with_a_forwarded_agent"},
    {"source.git.mtime", "tests/test_sources_git.py::test_times_of_the_commit"},
    {"source.git.skipsubmodules", "tests/test_sources_git.py::test_submodules"},
    {"source.git.subdir", "tests/test_sources_git.py::test_subdir"},
    {"source.http", "tests/test_sources_http.py::test_add_url"},
    {"source.http.auth", "tests/test_sources_http.py::test_secrets_of_a_host"},
    {"source.http.checksum", "tests/test_sources_http.py::test_checksum"},
    {"source.http.header", "HttpSourceTest.SendsHeadersAndUserInfo"},
    {"source.http.perm", "HttpSourceTest.ModeOwnerAndNameAsAsked"},
    {"source.image", "ImageSourceTest.LayersComeWhenTheyAreRead"},
    {"source.image.checksum", "ImageSourceTest.LimitsLayersAndChecksDigests"},
    {"source.image.layerlimit", "ImageSourceTest.LimitsLayersAndChecksDigests"},
    {"source.image.resolvemode", "SourceIdTest.Image"},
    {"source.imageblob", "ImageSourceTest.BlobsBecomeFiles"},
    {"source.local", "LocalSourceTest.ReceivesAFolder"},
    {"source.local.differ", "LocalSourceTest.AnUnchangedFolderSendsNoContent"},
    {"source.local.excludepatterns", "LocalSourceTest.FiltersAtTheClient"},
    {"source.local.followpaths", "LocalSourceTest.FiltersAtTheClient"},
    {"source.local.includepatterns", "LocalSourceTest.FiltersAtTheClient"},
    {"source.local.metadatatransfer", "TransferTest.MetadataOnlyWritesAListAndWhatMatches"},
    {"source.local.sessionid", "LocalSourceTest.TakesTheSessionThatSharesTheFolder"},
    {"source.local.sharedkeyhint", "LocalSourceTest.AnUnchangedFolderSendsNoContent"},
    {"source.local.unique", "SourceIdTest.Local"},
    {"source.ocilayout", "SourceIdTest.OciLayoutAndBlobs"},
    {"source.policy", "LoadTest.PolicyRewritesSources"},
};

constexpr Cap kFrontendCaps[] = {
    {"frontend.caps", "tests/test_checks.py::test_other_questions"},
    {"frontend.inputs", "BridgeTest.Inputs"},
    {"gateway.evaluate", "BridgeTest.Evaluate"},
    {"gateway.solve.evaluate", "BridgeTest.Evaluate"},
    {"gateway.solve.metadata", "BridgeTest.Solve"},
    {"gateway.warnings", "BridgeTest.Warn"},
    {"proto.refarray", "BridgeTest.Solve"},
    {"readdir", "BridgeTest.Files"},
    {"readfile", "BridgeTest.Files"},
    {"reference.output", "BridgeTest.Solve"},
    {"resolveimage", "tests/test_control.py::test_clients_resolve_images"},
    {"resolveimage.resolvemode", "tests/test_control.py::test_clients_resolve_images"},
    {"return", "BridgeTest.Return"},
    {"returnmap", "BridgeTest.Return"},
    {"solve.base", "BridgeTest.Solve"},
    {"solve.inlinereturn", "BridgeTest.Solve", true},
    {"source.metaresolver", "tests/test_control.py::test_clients_resolve_images"},
    {"source.metaresolver.http.checksumrequest", "HttpSourceTest.ResolvesMetadata"},
    {"statfile", "BridgeTest.Files"},
};

// Served, but as upstream not announced: clients never ask whether they may.
constexpr std::string_view kUnannounced[] = {"exec.meta.removemountstubs.recursive",
                                             "file.copy.modestring"};

// Exist upstream, so that asking for them deserves another answer than a misspelling.
constexpr std::string_view kNotServed[] = {
    "cache.azblob",
    "cache.gha",
    "cache.s3",
    "exec.meta.network.proxy",
    "exec.meta.security.devices.v1",
    "exporter.image.attestations",
    "exporter.session",
    "gc.freespacefilter",
    "history.filter",
    "source.buildop.llbfilename",
    "source.git.bundle",
    "source.git.checkoutbundle",
    "source.git.signatureverify",
    "source.http.signatureverify",
    "source.policy.session",
};

}  // namespace

std::span<const Cap> LlbCaps() { return kLlbCaps; }
std::span<const Cap> FrontendCaps() { return kFrontendCaps; }

bool IsServed(std::string_view id) {
  return std::any_of(std::begin(kLlbCaps), std::end(kLlbCaps),
                     [&](const Cap& cap) { return cap.id == id; }) ||
         std::find(std::begin(kUnannounced), std::end(kUnannounced), id) != std::end(kUnannounced);
}

Status CheckCaps(const pb::OpMetadata& metadata) {
  for (const auto& [id, wanted] : metadata.caps()) {
    if (IsServed(id)) continue;
    if (std::find(std::begin(kNotServed), std::end(kNotServed), id) != std::end(kNotServed))
      return Unknown("requested feature {} is not supported by this build server", id);
    return Unknown("unknown API capability {}", Quoted(id, 128));
  }
  return OkStatus();
}

}  // namespace kiln::llb
