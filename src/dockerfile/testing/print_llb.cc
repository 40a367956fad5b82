#include "dockerfile/testing/print_llb.h"

#include <fmt/format.h>

#include <map>

#include "base/digest.h"
#include "base/strings.h"

namespace kiln::dockerfile {
namespace {

class Printer {
 public:
  explicit Printer(const pb::Definition& definition) : definition_(definition) {}

  std::string Print() {
    for (const std::string& bytes : definition_.def()) {
      pb::Op op;
      if (!op.ParseFromString(bytes)) return "undecodable\n";
      const std::string digest = Sha256Of(bytes).ToString();
      if (op.op_case() == pb::Op::OP_NOT_SET) {
        Line("result {}", op.inputs_size() > 0 ? Input(op, 0) : "scratch");
        continue;
      }
      names_[digest] = fmt::format("v{}", names_.size() + 1);
      PrintOp(names_[digest], digest, op);
    }
    return out_;
  }

 private:
  template <typename... Args>
  void Line(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  std::string Input(const pb::Op& op, std::int64_t index) {
    if (index < 0) return "scratch";
    if (index >= op.inputs_size()) return fmt::format("action{}", index - op.inputs_size());
    const auto& input = op.inputs(static_cast<int>(index));
    return fmt::format("{}{}", names_[input.digest()],
                       input.index() == 0 ? "" : fmt::format(":{}", input.index()));
  }

  void PrintOp(const std::string& name, const std::string& digest, const pb::Op& op) {
    const auto metadata = definition_.metadata().find(digest);
    std::string shown;
    std::string flags;
    if (metadata != definition_.metadata().end()) {
      const auto& description = metadata->second.description();
      const auto custom = description.find("llb.customname");
      if (custom != description.end()) shown = custom->second;
      if (metadata->second.ignore_cache()) flags += " nocache";
      if (metadata->second.has_progress_group()) flags += " grouped";
      if (metadata->second.has_linux_resources()) flags += " resources";
    }
    if (op.has_platform() && (op.has_exec() || op.has_source())) {
      const auto& platform = op.platform();
      flags += fmt::format(" {}/{}{}", platform.os(), platform.architecture(),
                           platform.variant().empty() ? "" : "/" + platform.variant());
    }
    flags += Lines(digest);
    Line("{} {}{}", name, shown.empty() ? "-" : ReplaceAll(shown, "\n", "\\n"), flags);
    if (op.has_source()) PrintSource(op.source());
    if (op.has_exec()) PrintExec(op);
    if (op.has_file()) PrintFile(op);
    if (op.has_merge()) {
      for (int i = 0; i < op.inputs_size(); ++i) Line("  merge {}", Input(op, i));
    }
  }

  std::string Lines(const std::string& digest) {
    const auto found = definition_.source().locations().find(digest);
    if (found == definition_.source().locations().end()) return "";
    std::string out;
    for (const auto& location : found->second.locations()) {
      if (location.ranges_size() == 0) continue;
      const int first = location.ranges(0).start().line();
      const int last = location.ranges(location.ranges_size() - 1).end().line();
      out += first == last ? fmt::format(" @{}", first) : fmt::format(" @{}-{}", first, last);
    }
    return out;
  }

  void PrintSource(const pb::SourceOp& source) {
    Line("  source {}", source.identifier());
    const std::map<std::string, std::string> attrs(source.attrs().begin(), source.attrs().end());
    for (const auto& [key, value] : attrs) Line("    {}={}", key, value);
  }

  void PrintExec(const pb::Op& op) {
    const pb::ExecOp& exec = op.exec();
    const pb::Meta& meta = exec.meta();
    for (const auto& arg : meta.args()) Line("  arg {}", Quoted(arg, 4096));
    for (const auto& env : meta.env()) Line("  env {}", env);
    Line("  cwd {}", meta.cwd());
    if (!meta.user().empty()) Line("  user {}", meta.user());
    if (!meta.hostname().empty()) Line("  hostname {}", meta.hostname());
    for (const auto& host : meta.extrahosts()) Line("  host {}={}", host.host(), host.ip());
    for (const auto& limit : meta.ulimit()) {
      Line("  ulimit {}={}:{}", limit.name(), limit.soft(), limit.hard());
    }
    if (!meta.cgroupparent().empty()) Line("  cgroup {}", meta.cgroupparent());
    if (meta.has_proxy_env()) {
      const auto& proxy = meta.proxy_env();
      Line("  proxy http={} https={} ftp={} no={} all={}", proxy.http_proxy(), proxy.https_proxy(),
           proxy.ftp_proxy(), proxy.no_proxy(), proxy.all_proxy());
    }
    if (exec.network() != pb::NetMode::UNSET)
      Line("  network {}", pb::NetMode_Name(exec.network()));
    if (exec.security() != pb::SecurityMode::SANDBOX) {
      Line("  security {}", pb::SecurityMode_Name(exec.security()));
    }
    for (const auto& mount : exec.mounts()) PrintMount(op, mount);
    for (const auto& secret : exec.secretenv()) {
      Line("  secretenv {} from {}{}", secret.name(), secret.id(),
           secret.optional() ? "" : " required");
    }
  }

  void PrintMount(const pb::Op& op, const pb::Mount& mount) {
    std::string line =
        fmt::format("  mount {} {}", ToLower(pb::MountType_Name(mount.mounttype())), mount.dest());
    if (mount.mounttype() == pb::MountType::BIND || mount.mounttype() == pb::MountType::CACHE) {
      line += " from " + Input(op, mount.input());
    }
    if (!mount.selector().empty()) line += " selector " + mount.selector();
    if (mount.readonly()) line += " ro";
    if (mount.output() >= 0 && mount.mounttype() == pb::MountType::BIND) {
      line += fmt::format(" out{}", mount.output());
    }
    if (mount.has_cacheopt()) {
      line += fmt::format(" id={} {}", mount.cacheopt().id(),
                          ToLower(pb::CacheSharingOpt_Name(mount.cacheopt().sharing())));
    }
    if (mount.has_tmpfsopt() && mount.tmpfsopt().size() != 0) {
      line += fmt::format(" size={}", mount.tmpfsopt().size());
    }
    if (mount.has_secretopt()) {
      const auto& secret = mount.secretopt();
      line += fmt::format(" id={} {}:{} {:o}{}", secret.id(), secret.uid(), secret.gid(),
                          secret.mode(), secret.optional() ? "" : " required");
    }
    if (mount.has_sshopt()) {
      const auto& ssh = mount.sshopt();
      line += fmt::format(" id={} {}:{} {:o}{}", ssh.id(), ssh.uid(), ssh.gid(), ssh.mode(),
                          ssh.optional() ? "" : " required");
    }
    Line("{}", line);
  }

  std::string Owner(const pb::Op& op, const pb::ChownOpt& owner) {
    const auto one = [&](const pb::UserOpt& user) -> std::string {
      if (user.has_byid()) return fmt::format("{}", user.byid());
      return fmt::format("{}@{}", user.byname().name(), Input(op, user.byname().input()));
    };
    return " owner " + one(owner.user()) + (owner.has_group() ? ":" + one(owner.group()) : "");
  }

  static std::string Stamp(std::int64_t timestamp) {
    return timestamp == -1 ? "" : fmt::format(" time {}", timestamp);
  }

  void PrintFile(const pb::Op& op) {
    for (const pb::FileAction& action : op.file().actions()) {
      std::string line = fmt::format("  {} ", Input(op, action.input()));
      if (action.has_copy()) {
        line += Copy(op, action);
      } else if (action.has_mkfile()) {
        const auto& file = action.mkfile();
        line +=
            fmt::format("mkfile {} {:o} {}", file.path(), file.mode(), Quoted(file.data(), 4096));
        if (file.has_owner()) line += Owner(op, file.owner());
        line += Stamp(file.timestamp());
      } else if (action.has_mkdir()) {
        const auto& dir = action.mkdir();
        line += fmt::format("mkdir {} {:o}{}", dir.path(), dir.mode(),
                            dir.makeparents() ? " parents" : "");
        if (dir.has_owner()) line += Owner(op, dir.owner());
        line += Stamp(dir.timestamp());
      } else {
        line += "other";
      }
      Line("{}{}", line, action.output() >= 0 ? fmt::format(" → out{}", action.output()) : "");
    }
  }

  std::string Copy(const pb::Op& op, const pb::FileAction& action) {
    const auto& copy = action.copy();
    std::string line =
        fmt::format("copy {}:{} {}", Input(op, action.secondaryinput()), copy.src(), copy.dest());
    if (copy.has_owner()) line += Owner(op, copy.owner());
    if (!copy.modestr().empty()) {
      line += " mode " + copy.modestr();
    } else if (copy.mode() != -1) {
      line += fmt::format(" mode {:o}", copy.mode());
    }
    const auto flag = [&](bool on, std::string_view name) {
      if (on) line += fmt::format(" {}", name);
    };
    flag(copy.followsymlink(), "follow");
    flag(copy.dircopycontents(), "contents");
    flag(copy.attemptunpackdockercompatibility(), "unpack");
    flag(copy.createdestpath(), "mkdest");
    flag(copy.allowwildcard(), "wildcard");
    flag(copy.allowemptywildcard(), "maybenone");
    for (const auto& pattern : copy.include_patterns()) line += " include=" + pattern;
    for (const auto& pattern : copy.exclude_patterns()) line += " exclude=" + pattern;
    for (const auto& path : copy.required_paths()) line += " required=" + path;
    return line + Stamp(copy.timestamp());
  }

  const pb::Definition& definition_;
  std::map<std::string, std::string> names_;
  std::string out_;
};

}  // namespace

std::string PrintLlb(const pb::Definition& definition) { return Printer(definition).Print(); }

}  // namespace kiln::dockerfile
