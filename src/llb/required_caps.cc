#include <algorithm>

#include "llb/marshal.h"
#include "llb/source_id.h"

namespace kiln::llb {
namespace {

using Caps = std::set<std::string>;

struct AttrCap {
  std::string_view attr;
  std::string_view cap;
};

// What an attribute of a source asks for, whatever its value.
constexpr AttrCap kAttrCaps[] = {
    {"image.resolvemode", "source.image.resolvemode"},
    {"image.layerlimit", "source.image.layerlimit"},
    {"image.checksum", "source.image.checksum"},
    {"local.unique", "source.local.unique"},
    {"local.session", "source.local.sessionid"},
    {"local.includepattern", "source.local.includepatterns"},
    {"local.followpaths", "source.local.followpaths"},
    {"local.excludepatterns", "source.local.excludepatterns"},
    {"local.sharedkeyhint", "source.local.sharedkeyhint"},
    {"local.differ", "source.local.differ"},
    {"local.metadatatransfer", "source.local.metadatatransfer"},
    {"git.keepgitdir", "source.git.keepgitdir"},
    {"git.fullurl", "source.git.fullurl"},
    {"git.authheadersecret", "source.git.httpauth"},
    {"git.authtokensecret", "source.git.httpauth"},
    {"git.knownsshhosts", "source.git.knownsshhosts"},
    {"git.mountsshsock", "source.git.mountsshsock"},
    {"git.checksum", "source.git.checksum"},
    {"git.skipsubmodules", "source.git.skipsubmodules"},
    {"git.mtime", "source.git.mtime"},
    {"git.fetchbycommit", "source.git.fetchbycommit"},
    {"git.bundle", "source.git.bundle"},
    {"git.checkoutbundle", "source.git.checkoutbundle"},
    {"git.sig.pubkey", "source.git.signatureverify"},
    {"http.checksum", "source.http.checksum"},
    {"http.perm", "source.http.perm"},
    {"http.uid", "soruce.http.uidgid"},  // spelt so on the wire
    {"http.gid", "soruce.http.uidgid"},
    {"http.authheadersecret", "source.http.auth"},
    {"http.sig.pubkey", "source.http.signatureverify"},
};

std::string_view SchemeCap(std::string_view scheme) {
  static constexpr AttrCap kSchemes[] = {
      {kImageScheme, "source.image"},
      {kImageBlobScheme, "source.imageblob"},
      {kOciLayoutScheme, "source.ocilayout"},
      {kOciLayoutBlobScheme, "source.imageblob"},
      {kGitScheme, "source.git"},
      {kLocalScheme, "source.local"},
      {kHttpScheme, "source.http"},
      {kHttpsScheme, "source.http"},
  };
  for (const AttrCap& entry : kSchemes)
    if (entry.attr == scheme) return entry.cap;
  return {};
}

void AddSource(const pb::SourceOp& source, Caps& caps) {
  auto split = SplitIdentifier(source.identifier());
  if (!split) return;
  std::string_view cap = SchemeCap(split->scheme);
  if (!cap.empty()) caps.emplace(cap);
  if (split->scheme.find("+blob") != std::string_view::npos) return;
  if (split->scheme == kGitScheme && split->rest.find('#') != std::string_view::npos &&
      split->rest.substr(split->rest.find('#')).find(':') != std::string_view::npos)
    caps.insert("source.git.subdir");
  for (const auto& [attr, value] : source.attrs()) {
    if (attr.starts_with("http.header.")) caps.insert("source.http.header");
    for (const AttrCap& entry : kAttrCaps)
      if (entry.attr == attr) caps.emplace(entry.cap);
  }
}

void AddMount(const pb::Mount& mount, Caps& caps) {
  if (!mount.selector().empty()) caps.insert("exec.mount.selector");
  if (mount.contentcache() != pb::DEFAULT) caps.insert("exec.mount.cache.content");
  switch (mount.mounttype()) {
    case pb::CACHE:
      caps.insert({"exec.mount.cache", "exec.mount.cache.sharing"});
      break;
    case pb::TMPFS:
      caps.insert("exec.mount.tmpfs");
      if (mount.tmpfsopt().size() > 0) caps.insert("exec.mount.tmpfs.size");
      break;
    case pb::SECRET:
      caps.insert("exec.mount.secret");
      break;
    case pb::SSH:
      caps.insert("exec.mount.ssh");
      break;
    default:
      if (mount.input() < 0) break;
      caps.insert("exec.mount.bind");
      if (mount.output() < 0 && !mount.readonly())
        caps.insert("exec.mount.bind.readwrite-nooutput");
  }
}

void AddExec(const pb::ExecOp& exec, Caps& caps) {
  caps.insert({"exec.meta.base", "exec.meta.setsdefaultpath"});
  if (exec.network() != pb::UNSET) caps.insert("exec.meta.network");
  if (exec.security() != pb::SANDBOX) caps.insert("exec.meta.security");
  if (exec.meta().has_proxy_env()) caps.insert("exec.meta.proxyenv");
  if (!exec.meta().ulimit().empty()) caps.insert("exec.meta.ulimit");
  if (!exec.meta().cgroupparent().empty()) caps.insert("exec.meta.cgroup.parent");
  if (!exec.meta().validexitcodes().empty()) caps.insert("exec.validexitcode");
  if (!exec.secretenv().empty()) caps.insert("exec.secretenv");
  if (!exec.cdidevices().empty()) caps.insert("exec.meta.cdi");
  for (const pb::Mount& mount : exec.mounts()) AddMount(mount, caps);
}

void AddFile(const pb::FileOp& file, Caps& caps) {
  caps.insert("file.base");
  for (const pb::FileAction& action : file.actions()) {
    if (action.has_symlink()) caps.insert("file.symlink.create");
    if (action.has_rm() && action.rm().allowwildcard()) caps.insert("file.rm.wildcard");
    if (!action.has_copy()) continue;
    const pb::FileActionCopy& copy = action.copy();
    if (!copy.include_patterns().empty() || !copy.exclude_patterns().empty())
      caps.insert("file.copy.includeexcludepatterns");
    if (!copy.required_paths().empty()) caps.insert("file.copy.requiredpaths");
    if (copy.alwaysreplaceexistingdestpaths())
      caps.insert("file.copy.alwaysreplaceexistingdestpaths");
  }
}

}  // namespace

std::set<std::string> RequiredCaps(const pb::Op& op, const pb::OpMetadata& metadata) {
  Caps caps;
  if (op.has_source()) AddSource(op.source(), caps);
  if (op.has_exec()) AddExec(op.exec(), caps);
  if (op.has_file()) AddFile(op.file(), caps);
  if (op.has_merge()) caps.insert("mergeop");
  if (op.has_diff()) caps.insert("diffop");
  if (op.has_passthrough()) caps.insert("passthroughop");
  if (op.has_build() && op.build().attrs().contains("llbbuild.filename"))
    caps.insert("source.buildop.llbfilename");
  if (metadata.ignore_cache()) caps.insert("meta.ignorecache");
  if (!metadata.description().empty()) caps.insert("meta.description");
  if (metadata.has_export_cache()) caps.insert("meta.exportcache");
  if (op.has_exec() && metadata.has_linux_resources()) caps.insert("exec.meta.linux.resources");
  return caps;
}

}  // namespace kiln::llb
