// What the executor computes before any container runs.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "executor/etc_files.h"
#include "executor/mount_stubs.h"
#include "executor/oci_spec.h"
#include "executor/seccomp.h"
#include "executor/testing/busybox_root.h"
#include "executor/user.h"
#include "executor/user_files.h"
#include "sys/testing/test_spawner.h"

namespace kiln::executor {
namespace {

TEST(EtcFilesTest, LoopbackServersAreOfNoUseWithoutTheHostsNetwork) {
  std::string host =
      "# comment\nnameserver 127.0.0.1\nnameserver 10.0.0.2\nsearch a b\noptions ndots:2\nsortlist "
      "x\nnameserver ::1\n";
  EXPECT_EQ(MakeResolvConf(host, {}, NetworkMode::kNone),
            "nameserver 10.0.0.2\nsearch a b\noptions ndots:2\nsortlist x\n");
  EXPECT_EQ(MakeResolvConf(host, {}, NetworkMode::kHost),
            "nameserver 127.0.0.1\nnameserver 10.0.0.2\nnameserver ::1\nsearch a b\noptions "
            "ndots:2\nsortlist x\n");
  EXPECT_EQ(MakeResolvConf("nameserver 127.0.0.53\n", {}, NetworkMode::kNone),
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver "
            "2001:4860:4860::8844\n");
  EXPECT_EQ(MakeResolvConf(
                host, {.nameservers = {"127.0.0.9"}, .options = {"x"}, .search_domains = {"d"}},
                NetworkMode::kNone),
            "nameserver 127.0.0.9\nsearch d\noptions x\nsortlist x\n");
}

TEST(EtcFilesTest, HostsListExtraOnes) {
  EXPECT_EQ(
      MakeHosts("h", {{"a", "1.2.3.4"}, {"b", "::2"}}).value(),
      "127.0.0.1\tlocalhost h\n::1\tlocalhost ip6-localhost ip6-loopback\n1.2.3.4\ta\n::2\tb\n");
  EXPECT_EQ(MakeHosts("h", {{"a", "host-gateway"}}).error().ToString(),
            "failed to parse IP host-gateway");
}

class UserTest : public testing::Test {
 protected:
  UserTest() : root_(sys::RootedPath::Open(dir_.path()).value()) { FillBusyboxRoot(dir_.path()); }
  std::string Look(const std::string& user) {
    auto ids = LookUpUser(root_, user);
    if (!ids.ok()) return ids.error().ToString();
    return fmt::format("{}:{} [{}]", ids->uid, ids->gid, fmt::join(ids->additional_gids, " "));
  }
  sys::TempDir dir_;
  sys::RootedPath root_;
};

TEST_F(UserTest, NamesNumbersAndGroups) {
  EXPECT_EQ(Look(""), "0:0 [0 10]");
  EXPECT_EQ(Look("root"), "0:0 [0 10]");
  EXPECT_EQ(Look("root:root"), "0:0 [0]");
  EXPECT_EQ(Look("bob"), "1000:1000 [1000 50]");
  EXPECT_EQ(Look("1000"), "1000:1000 [1000 50]");
  EXPECT_EQ(Look("bob:staff"), "1000:50 [50]");
  EXPECT_EQ(Look("bob:7"), "1000:7 [7]");
  EXPECT_EQ(Look("77"), "77:0 [0]");
  EXPECT_EQ(Look("77:88"), "77:88 [88]");
  EXPECT_EQ(Look("nobody-here"),
            "unable to find user nobody-here: no matching entries in passwd file");
  EXPECT_EQ(Look("bob:none"), "unable to find group none: no matching entries in group file");
  EXPECT_EQ(Look("99999999999"), "user id 99999999999 is out of range");
}

TEST_F(UserTest, DatabasesAreReadInsideTheRootOnly) {
  ASSERT_TRUE(root_.Unlink("etc/passwd").ok());
  ASSERT_TRUE(root_.Symlink("../../../../etc/shadow-passwd", "etc/passwd").ok());
  ASSERT_TRUE(root_.WriteFile("etc/shadow-passwd", "eve:x:5:6::/:\nbad line\n").ok());
  EXPECT_EQ(Look("eve"), "5:6 [6]");
  ASSERT_TRUE(root_.Unlink("etc/passwd").ok());
  ASSERT_TRUE(root_.MakeNode("etc/passwd", S_IFIFO | 0600, 0).ok());
  EXPECT_EQ(Look("eve"), "read /etc/passwd: not a regular file");
  EXPECT_EQ(Look(""), "0:0 [0]");
}

TEST(OciSpecTest, LaterVariablesWinInPlaceAndPathIsThere) {
  EXPECT_EQ(EffectiveEnv({"A=1", "B=2", "A=3"}),
            (std::vector<std::string>{"A=3", "B=2", std::string("PATH=") + kDefaultPath}));
  EXPECT_EQ(EffectiveEnv({"PATH=/x", "A=1", "A"}), (std::vector<std::string>{"PATH=/x"}));
  EXPECT_EQ(EffectiveEnv({"PATH="}), (std::vector<std::string>{"PATH="}));
}

TEST(OciSpecTest, CgroupParents) {
  EXPECT_EQ(CgroupsPath("", "id", false), "/kiln/id");
  EXPECT_EQ(CgroupsPath("a/b", "id", false), "/a/b/kiln/id");
  EXPECT_EQ(CgroupsPath("/../a", "id", false), "/a/kiln/id");
  EXPECT_EQ(CgroupsPath("x.slice:kiln:", "id", false), "x.slice:kiln:id");
  EXPECT_EQ(CgroupsPath("a", "id", true), "");
}

nlohmann::json SpecOf(const ProcessSpec& process, std::vector<SpecMount> mounts = {},
                      bool rootless = false) {
  return nlohmann::json::parse(MakeOciSpec({.process = &process,
                                            .id = "id",
                                            .rootfs = "/r",
                                            .mounts = std::move(mounts),
                                            .resolv_conf = "/r",
                                            .hosts = "/h",
                                            .cgroup = sys::CgroupMode::kV1,
                                            .rootless = rootless,
                                            .own_capabilities = {"CAP_SYS_ADMIN"}}));
}

TEST(OciSpecTest, StepMountsFollowByDestinationAndReplaceInPlace) {
  auto spec = SpecOf({.args = {"x"}}, {{"/z", "bind", "/1", {}},
                                       {"/a", "bind", "/2", {}},
                                       {"/dev/shm", "bind", "/3", {}},
                                       {"/a", "bind", "/4", {}}});
  std::vector<std::string> seen;
  for (const auto& mount : spec["mounts"])
    seen.push_back(mount["destination"].get<std::string>() + "=" +
                   mount["source"].get<std::string>());
  EXPECT_EQ(seen,
            (std::vector<std::string>{"/proc=proc", "/dev=tmpfs", "/dev/pts=devpts", "/dev/shm=/3",
                                      "/dev/mqueue=mqueue", "/sys=sysfs", "/etc/resolv.conf=/r",
                                      "/etc/hosts=/h", "/sys/fs/cgroup=cgroup", "/a=/4", "/z=/1"}));
}

TEST(OciSpecTest, SandboxAndInsecureDiffer) {
  auto sandbox = SpecOf({.args = {"x"}, .network = NetworkMode::kNone});
  EXPECT_EQ(sandbox["process"]["noNewPrivileges"], false);
  EXPECT_EQ(sandbox["process"]["capabilities"]["bounding"].size(), 14u);
  EXPECT_FALSE(sandbox["process"]["capabilities"].contains("ambient"));
  EXPECT_EQ(sandbox["linux"]["maskedPaths"].size(), 11u);
  EXPECT_EQ(sandbox["linux"]["namespaces"].back()["type"], "network");
  auto insecure = SpecOf({.args = {"x"}, .security = SecurityMode::kInsecure});
  EXPECT_FALSE(insecure["linux"].contains("seccomp"));
  EXPECT_FALSE(insecure["linux"].contains("maskedPaths"));
  EXPECT_EQ(insecure["process"]["capabilities"]["ambient"].size(), 15u);
  EXPECT_EQ(insecure["linux"]["namespaces"].back()["type"], "mount");
  auto rootless = SpecOf({.args = {"x"}}, {}, true);
  EXPECT_FALSE(rootless["linux"].contains("resources"));
  EXPECT_FALSE(rootless["linux"].contains("cgroupsPath"));
}

TEST(OciSpecTest, DevicesEditTheSpec) {
  ProcessSpec process{.args = {"x"}, .env = {"A=1", "B=2", "PATH=/"}};
  cdi::ContainerEdits& edits = process.device_edits;
  edits.env = {"B=3", "C=4"};
  edits.device_nodes = {
      {.path = "/dev/a", .type = "c", .major = 1, .minor = 3, .file_mode = 0620, .uid = 5},
      {.path = "/dev/b", .type = "b", .major = 7, .minor = 0, .permissions = "r"},
      {.path = "/dev/p", .type = "p"}};
  edits.mounts = {{"/h/deep", "/m/deep", "", {"bind"}}, {"/h", "/m", "none", {"rbind", "ro"}}};
  edits.hooks = {{.name = "createRuntime", .path = "/h", .args = {"h"}, .timeout = 3}};
  edits.net_devices = {{"eth1", "net0"}};
  edits.intel_rdt = cdi::IntelRdt{.clos_id = "c"};
  edits.additional_gids = {0, 7, 7};
  auto spec = SpecOf(process, {{"/m", "bind", "/step", {}}});
  using nlohmann::json;
  EXPECT_EQ(spec["process"]["env"], json({"A=1", "B=3", "PATH=/", "C=4"}));
  EXPECT_EQ(spec["process"]["user"]["additionalGids"], json::array({7}));
  EXPECT_EQ(spec["linux"]["devices"], json::parse(R"([
      {"path":"/dev/a","type":"c","major":1,"minor":3,"fileMode":400,"uid":5},
      {"path":"/dev/b","type":"b","major":7,"minor":0},
      {"path":"/dev/p","type":"p"}])"));
  EXPECT_EQ(spec["linux"]["resources"]["devices"], json::parse(R"([
      {"allow":false,"access":"rwm"},
      {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},
      {"allow":true,"type":"b","major":7,"minor":0,"access":"r"}])"));
  EXPECT_EQ(spec["linux"]["netDevices"], json::parse(R"({"eth1":{"name":"net0"}})"));
  EXPECT_EQ(spec["linux"]["intelRdt"], json::parse(R"({"closID":"c"})"));
  EXPECT_EQ(spec["hooks"],
            json::parse(R"({"createRuntime":[{"path":"/h","args":["h"],"timeout":3}]})"));
  // By depth; the step's own mount takes its place.
  std::vector<std::string> seen;
  for (const auto& mount : spec["mounts"])
    seen.push_back(mount["destination"].get<std::string>() + "=" +
                   mount["source"].get<std::string>());
  EXPECT_EQ(seen, (std::vector<std::string>{"/proc=proc", "/dev=tmpfs", "/sys=sysfs", "/m=/step",
                                            "/dev/pts=devpts", "/dev/shm=shm", "/dev/mqueue=mqueue",
                                            "/etc/resolv.conf=/r", "/etc/hosts=/h",
                                            "/m/deep=/h/deep", "/sys/fs/cgroup=cgroup"}));
  process.security = SecurityMode::kInsecure;
  auto devices = SpecOf(process)["linux"]["devices"];
  EXPECT_EQ(devices.back()["path"], "/dev/p");
  EXPECT_EQ(devices.front()["path"], "/dev/kmsg");
}

TEST(OciSpecTest, ArgumentsOfAnyBytesMakeAValidSpec) {
  EXPECT_EQ(SpecOf({.args = {"a\xff"}})["process"]["args"][0], "a\xEF\xBF\xBD");
  auto spec = SpecOf({.args = {"x"}, .cwd = "/dir", .ulimits = {{"nofile", 10, -1}}});
  EXPECT_EQ(spec["process"]["cwd"], "/dir");
  EXPECT_EQ(spec["process"]["rlimits"][0]["type"], "RLIMIT_NOFILE");
  EXPECT_EQ(spec["process"]["rlimits"][0]["hard"], UINT64_MAX);
}

TEST(SeccompTest, CapabilitiesOpenCalls) {
  auto clone3 = [](const nlohmann::json& profile) {
    for (const auto& rule : profile["syscalls"]) {
      if (rule["names"][0] == "clone3") return rule.value("errnoRet", 0);
    }
    return 0;
  };
  auto plain = DefaultSeccomp({});
  EXPECT_EQ(clone3(plain), 38);
  auto names = plain["syscalls"][0]["names"];
  EXPECT_EQ(std::count(names.begin(), names.end(), "mount"), 0);
  auto admin = DefaultSeccomp({"CAP_SYS_ADMIN"});
  names = admin["syscalls"][0]["names"];
  EXPECT_EQ(std::count(names.begin(), names.end(), "mount"), 1);
  EXPECT_EQ(clone3(admin), 0);
}

TEST(SeccompTest, OnlyKnownFamiliesOfSockets) {
  const nlohmann::json profile = DefaultSeccomp({});
  const auto allowed = [&](uint64_t family) {
    for (const auto& rule : profile["syscalls"]) {
      if (rule["names"][0] != "socket") continue;
      const auto& condition = rule["args"][0];
      const auto value = condition["value"].get<uint64_t>();
      const auto op = condition["op"].get<std::string>();
      if (op == "SCMP_CMP_LT"   ? family < value
          : op == "SCMP_CMP_GT" ? family > value
                                : family == value)
        return true;
    }
    return false;
  };
  std::vector<uint64_t> refused;
  for (uint64_t family = 1; family <= 64; ++family)
    if (!allowed(family)) refused.push_back(family);
  std::vector<uint64_t> wanted = {38, 40};
  for (uint64_t family = 46; family <= 64; ++family) wanted.push_back(family);
  EXPECT_EQ(refused, wanted);
}

class MountStubsTest : public testing::Test {
 protected:
  MountStubsTest() : root_(sys::RootedPath::Open(dir_.path()).value()) {
    EXPECT_TRUE(root_.MakeDirs("etc").ok());
    EXPECT_TRUE(root_.SetTimes("etc", old_, old_).ok());
    EXPECT_TRUE(root_.SetTimes("/", old_, old_).ok());
  }
  const WallTime old_ = FromUnixNanos(1'000'000'000'123'456'789);
  sys::TempDir dir_;
  sys::RootedPath root_;
};

TEST_F(MountStubsTest, LeaveNoTrace) {
  auto stubs = MountStubs::Make(
      root_, {{"/etc/hosts", false}, {"/a/b/c", true}, {"/a/b/c/below", true}, {"/etc/dir", true}},
      true);
  ASSERT_TRUE(stubs.ok());
  EXPECT_TRUE(root_.Stat("etc/hosts")->IsRegular());
  EXPECT_TRUE(root_.Stat("a/b/c")->IsDirectory());
  EXPECT_FALSE(root_.Exists("a/b/c/below").value());
  EXPECT_EQ(root_.Stat("etc")->mtime, old_);
  ASSERT_TRUE(stubs->Remove().ok());
  EXPECT_FALSE(root_.Exists("a").value());
  EXPECT_FALSE(root_.Exists("etc/hosts").value());
  EXPECT_EQ(root_.Stat("etc")->mtime, old_);
  EXPECT_EQ(root_.Stat("/")->mtime, old_);
}

TEST_F(MountStubsTest, WhatTheProcessDidStays) {
  auto stubs = MountStubs::Make(
      root_, {{"/etc/hosts", false}, {"/a/b", true}, {"/c", true}, {"/d", false}}, true);
  ASSERT_TRUE(root_.WriteFile("etc/hosts", "written").ok());
  ASSERT_TRUE(root_.WriteFile("a/file", "").ok());
  ASSERT_TRUE(root_.RemoveDir("c").ok());
  WallTime later = FromUnixNanos(1'700'000'000'000'000'000);
  ASSERT_TRUE(root_.SetTimes("/", later, later).ok());
  ASSERT_TRUE(stubs->Remove().ok());
  EXPECT_EQ(root_.ReadFile("etc/hosts", 100).value(), "written");
  EXPECT_TRUE(root_.Exists("a/file").value());
  EXPECT_FALSE(root_.Exists("a/b").value());
  EXPECT_FALSE(root_.Exists("d").value());
  EXPECT_EQ(root_.Stat("/")->mtime, later);
}

TEST_F(MountStubsTest, LinksLeadInsideAndOldClientsKeepParents) {
  ASSERT_TRUE(root_.Symlink("../../run/resolv.conf", "etc/resolv.conf").ok());
  auto stubs = MountStubs::Make(root_, {{"/etc/resolv.conf", false}}, false);
  ASSERT_TRUE(stubs.ok());
  EXPECT_TRUE(root_.Exists("run/resolv.conf").value());
  ASSERT_TRUE(stubs->Remove().ok());
  EXPECT_FALSE(root_.Exists("run/resolv.conf").value());
  EXPECT_TRUE(root_.Exists("run").value());
}

TEST(UserFilesTest, TheFirstLineThatMatchesCounts) {
  constexpr std::string_view kPasswd =
      "root:x:0:0:root:/root:/bin/sh\n# "
      "comment\nbad\nbob:x:1000:1001::/home/bob:/bin/sh\nbob:x:7:7::/:\n";
  const auto ids = [&](std::string_view wanted, MatchBy by) {
    const auto user = FindUser(kPasswd, wanted, by);
    return user ? fmt::format("{} {} {}", user->name, user->uid, user->gid) : "";
  };
  EXPECT_EQ(ids("bob", MatchBy::kName), "bob 1000 1001");
  EXPECT_EQ(ids("7", MatchBy::kNameOrId), "bob 7 7");
  EXPECT_EQ(ids("7", MatchBy::kName), "");
  EXPECT_EQ(ids("eve", MatchBy::kNameOrId), "");
  EXPECT_EQ(ids("", MatchBy::kName), "");
  EXPECT_EQ(FindUser("x:x:99999999999:1::/:", "x", MatchBy::kName)->uid, 0U);
  constexpr std::string_view kGroup = "root:x:0:\nwheel:x:10:root,bob\nstaff:x:50:bob\n";
  EXPECT_EQ(FindGroup(kGroup, "wheel", MatchBy::kName), 10U);
  EXPECT_EQ(FindGroup(kGroup, "50", MatchBy::kNameOrId), 50U);
  EXPECT_EQ(FindGroup("", "wheel", MatchBy::kName), std::nullopt);
  EXPECT_EQ(GroupsListing(kGroup, "bob"), (std::vector<uint32_t>{10, 50}));
}

}  // namespace
}  // namespace kiln::executor
