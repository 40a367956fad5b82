#include "control/config.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"

namespace kiln::control {
namespace {

TEST(ConfigTest, ReadsTheKeysOfBuildkitd) {
  Config config;
  const Status applied = ApplyToml(R"(
root = "/data"
debug = true
insecure-entitlements = ["network.host"]
silenceTimeout = "45s"
[grpc]
  address = ["unix:///run/x.sock", "tcp://0.0.0.0:1234"]
  gid = 5
  [grpc.tls]
    cert = "/c"
    key = "/k"
[cdi]
  disabled = true
  specDirs = ["/d", "/e"]
  autoAllowed = ["v.com/x"]
[dns]
  nameservers = ["1.1.1.1"]
[registry."docker.io"]
  mirrors = ["mirror.local:5000/hub"]
  http = true
[worker.oci]
  max-parallelism = 3
  labels = { team = "x" }
  platforms = ["linux/arm64"]
  maxUsedSpace = "10GB"
  [[worker.oci.gcpolicy]]
    keepDuration = "48h"
    filters = ["type==source.local"]
    reservedSpace = "10%"
)",
                                   &config);
  ASSERT_TRUE(applied.ok()) << applied.error().ToString();
  EXPECT_EQ(config.root, "/data");
  EXPECT_EQ(config.log_level, LogLevel::kDebug);
  EXPECT_EQ(config.addresses.size(), 2U);
  EXPECT_EQ(config.socket_owner.gid, 5);
  EXPECT_EQ(config.silence_timeout, std::chrono::seconds(45));
  EXPECT_EQ(config.registries.at("docker.io").plain_http, true);
  EXPECT_EQ(config.max_parallelism, 3);
  EXPECT_TRUE(config.cdi_disabled);
  EXPECT_EQ(config.cdi_spec_dirs, (std::vector<std::string>{"/d", "/e"}));
  EXPECT_EQ(config.cdi_auto_allowed, (std::vector<std::string>{"v.com/x"}));
  EXPECT_EQ(config.max_used->bytes, uint64_t{10} << 30);
  ASSERT_EQ(config.gc_policy.size(), 1U);
  const auto rules = GcRulesOf(config, uint64_t{100} << 30);
  ASSERT_EQ(rules.size(), 1U);
  EXPECT_EQ(rules[0].reserved_bytes, 11'000'000'000U);  // 10 GiB div 2^30 plus one, in 10^9
  EXPECT_EQ(rules[0].keep_duration, std::chrono::hours(48));
}

TEST(ConfigTest, CertificatesOfARegistryMayLieInAFolder) {
  std::string folder = testing::TempDir() + "/certs.XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const char* name : {"b.crt", "a.crt", "client.cert", "client.key", "notes.txt"})
    ASSERT_TRUE(WriteFileAtomically(folder + "/" + name, "").ok());
  const std::string text =
      "[registry.\"r.example\"]\nca = [\"/first\"]\ntlsconfigdir = [\"/not/there\", \"" + folder +
      "\"]\n";
  Config config;
  const Status applied = ApplyToml(text, &config);
  ASSERT_TRUE(applied.ok()) << applied.error().ToString();
  const registry::HostConfig& host = config.registries.at("r.example");
  EXPECT_EQ(host.ca_files,
            (std::vector<std::string>{"/first", folder + "/a.crt", folder + "/b.crt"}));
  EXPECT_EQ(host.key_pair->certificate_file, folder + "/client.cert");
  EXPECT_EQ(host.key_pair->key_file, folder + "/client.key");
  ASSERT_TRUE(WriteFileAtomically(folder + "/other.cert", "").ok());
  Config two;
  EXPECT_FALSE(ApplyToml(text, &two).ok());
  std::filesystem::remove_all(folder);
}

TEST(ConfigTest, UnknownAndUnservedKeysAreNamed) {
  Config config;
  const auto error = [&](const char* text) {
    const Status status = ApplyToml(text, &config);
    return status.ok() ? std::string() : status.error().ToString();
  };
  EXPECT_EQ(error("rooot = \"/x\""), "unknown configuration key rooot, did you mean root?");
  EXPECT_EQ(
      error("[worker.oci]\nsnapshoter = \"native\""),
      "unknown configuration key worker.oci.snapshoter, did you mean worker.oci.snapshotter?");
  EXPECT_EQ(error("[otel]\nsocketPath = \"/x\""),
            "configuration key otel.socketPath is not supported");
  EXPECT_EQ(error("silenceTimeout = \"10ms\""), "silenceTimeout is less than a second");
  EXPECT_EQ(error("[[worker.oci.gcpolicy]]\nkeepDuration = 9223372036854775807"),
            "worker.oci.gcpolicy.keepDuration is out of range");
  EXPECT_EQ(error("root = 5"), "root must be a string");
  EXPECT_NE(error("root = "), "");
  EXPECT_EQ(error("insecure-entitlements = [\"all\"]"), "invalid entitlement : all");
  EXPECT_NE(error("[worker.oci]\nnetworkMode = \"cni\"").find("not supported"), std::string::npos);
}

// What says what is done anyway, or stands in a section that is off, stops nothing.
TEST(ConfigTest, WorkingFilesOfBuildkitdWork) {
  for (const char* text : {
           "[log]\nformat = \"text\"",
           "[log]\nformat = \"json\"",
           // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one text in two lines
           "[worker.containerd]\nenabled = false\nhypervIsolation = true\nnamespace = "
           "\"x\"\nmax-parallelism = 4\n"
           "[worker.containerd.runtime]\nname = \"y\"\n[[worker.containerd.gcpolicy]]\nall = true",
           "[worker.containerd]\nnamespace = \"x\"",
           "[worker.containerd]\nenabled = \"auto\"",
           "[frontend.\"gateway.v0\"]\nenabled = true\nallowedRepositories = []",
           "[frontend.\"gateway.v0\"]\nenabled = false\nallowedRepositories = [\"x\"]",
           "[worker.oci]\nenabled = true\ncniPoolSize = 0\ncniConfigPath = "
           "\"/etc/buildkit/cni.json\"\ncniBinaryPath = \"/opt/cni/bin\"\nbridgeName = "
           "\"buildkit0\"\nbridgeSubnet = \"10.10.0.0/16\"\nselinux = false\nrootless = false",
           "[worker.oci]\nnetworkMode = \"host\"\ncniPoolSize = 16\ncniConfigPath = \"/x\"",
           "[worker.oci]\nproxySnapshotterPath = \"\"\n[worker.oci.stargzSnapshotter]\nnoprefetch "
           "= "
           "true",
           "provenanceEnvDir = \"/etc/buildkit/provenance.d\"",
           "[otel]\nsocketPath = \"/run/buildkit/otel-grpc.sock\"",
           "[grpc]\ndebugAddress = \"\"",
           "[system]\nplatformsCacheMaxAge = \"-1s\"\nsessionAuthTimeout = 120",
           "[compaction]\nenabled = true\nminReclaimPercent = 5",
           "[cache.gha.sign]\ncommand = []\n[cache.gha.verify]\nrequired = false",
       }) {
    Config config;
    const Status applied = ApplyToml(text, &config);
    EXPECT_TRUE(applied.ok()) << text << ": " << applied.error().ToString();
  }
}

TEST(ConfigTest, WhatIsNotServedIsNamed) {
  const std::pair<const char*, const char*> kCases[] = {
      {"[log]\nformat = \"xml\"", "log.format: unsupported log type \"xml\""},
      {"[worker.containerd]\nenabled = true",
       "worker.containerd.enabled: there is no worker but worker.oci"},
      {"[worker.oci]\nenabled = false",
       "worker.oci.enabled must not be false: there is no other worker"},
      {"[worker.oci]\ncniPoolSize = 4",
       "configuration key worker.oci.cniPoolSize is not supported"},
      {"[cache.gha.verify]\nrequired = true",
       "configuration key cache.gha.verify.required is not supported"},
      {"[compaction]\nidleTimeout = 0",
       "invalid compaction configuration: invalid database compaction policy"},
      {"[compaction]\nminReclaimPercent = 20\nminReclaimPercentFloor = 30",
       "invalid compaction configuration: invalid database compaction policy"},
      {"[system]\nsessionAuthTimeout = true", "system.sessionAuthTimeout must be a duration"},
  };
  for (const auto& [text, want] : kCases) {
    Config config;
    const Status applied = ApplyToml(text, &config);
    EXPECT_EQ(applied.ok() ? "" : applied.error().ToString(), want) << text;
  }
}

TEST(ConfigTest, HistoryIsKeptAsItsSectionSays) {
  const auto read = [](const char* text) {
    Config config;
    const Status applied = ApplyToml(text, &config);
    EXPECT_TRUE(applied.ok()) << text;
    return config;
  };
  EXPECT_EQ(read("").history_max_entries, 50);
  EXPECT_EQ(read("").history_max_age, std::chrono::hours(48));
  const Config age = read("[history]\nmaxAge = \"1h\"");
  EXPECT_EQ(age.history_max_entries, 0);
  EXPECT_EQ(age.history_max_age, std::chrono::hours(1));
  EXPECT_TRUE(age.record_history);
  EXPECT_FALSE(read("[history]\nmaxEntries = 0").record_history);
  const Config few = read("[history]\nmaxEntries = 3");
  EXPECT_TRUE(few.record_history);
  EXPECT_EQ(few.history_max_age.count(), 0);
}

TEST(ConfigTest, CharactersBeyondAsciiAreForStringsAndComments) {
  Config config;
  EXPECT_TRUE(ApplyToml("# caf\xC3\xA9\nroot = \"/caf\xC3\xA9 \\\" '\"\n", &config).ok());
  EXPECT_TRUE(ApplyToml("root = \"\"\"\ncaf\xC3\xA9\"\"\"\n", &config).ok());
  EXPECT_EQ(ApplyToml("\n\xEF\xB2\xBF[worker]", &config).error().ToString(),
            "line 2: unexpected character 0xef");
  EXPECT_FALSE(ApplyToml("[=a]", &config).ok());
}

TEST(ConfigTest, SizesHaveBinaryMultiples) {
  EXPECT_EQ(ParseDiskSize("512MB")->bytes, uint64_t{512} << 20);
  EXPECT_EQ(ParseDiskSize("1GiB")->bytes, uint64_t{1} << 30);
  EXPECT_EQ(ParseDiskSize("42")->bytes, 42U);
  EXPECT_EQ(ParseDiskSize("7%")->percent, 7);
  for (const char* bad : {"", "x", "101%", "-1", "99999999999TB"})
    EXPECT_FALSE(ParseDiskSize(bad).ok()) << bad;
}

TEST(ConfigTest, DefaultRulesFollowTheDisk) {
  const auto rules = GcRulesOf(Config(), uint64_t{1000} << 30);
  ASSERT_EQ(rules.size(), 4U);
  EXPECT_EQ(rules[0].max_used_bytes, 512'000'000U);
  EXPECT_EQ(rules[1].reserved_bytes, 10'000'000'000U);
  EXPECT_EQ(rules[1].max_used_bytes, 100'000'000'000U);
  EXPECT_TRUE(rules[3].all);
  Config off;
  off.gc = false;
  EXPECT_TRUE(GcRulesOf(off, 1).empty());
}

}  // namespace
}  // namespace kiln::control
