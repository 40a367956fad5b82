#include "cdi/spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/strings.h"
#include "cdi/yaml.h"

namespace kiln::cdi {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// Quoted scalars in double quotes, plain ones as they are.
std::string Show(const YamlValue& value) {
  using Kind = YamlValue::Kind;
  if (value.kind == Kind::kNull) return "null";
  if (value.kind == Kind::kScalar) return value.plain ? value.text : "\"" + value.text + "\"";
  std::vector<std::string> parts;
  for (size_t i = 0; i < value.values.size(); ++i)
    parts.push_back((value.kind == Kind::kMap ? value.keys[i] + ":" : "") + Show(value.values[i]));
  return value.kind == Kind::kMap ? "{" + Join(parts, ",") + "}" : "[" + Join(parts, ",") + "]";
}

std::string Yaml(std::string_view text) {
  auto value = ParseYaml(text);
  return value.ok() ? Show(*value) : value.error().ToString();
}

TEST(YamlTest, ScalarsStayAsWritten) {
  EXPECT_EQ(Yaml("[~, !!null '', x, null, '~', \"null\", on, 0666, !!str 5, !!int '5', ! 7]"),
            R"([null,null,x,null,"~","null",on,0666,"5",5,"7"])");
}

TEST(YamlTest, JsonIsYaml) {
  EXPECT_EQ(Yaml(R"({"a": [1, "b\n\u00e9\/", {}], "c": {"d": null}})"),
            "{a:[1,\"b\n\xC3\xA9/\",{}],c:{d:null}}");
  EXPECT_EQ(Yaml("{\n\t\"a\":\t1\n}"), "{a:1}");
}

TEST(YamlTest, AliasesAreCopies) {
  EXPECT_EQ(Yaml("a: &x [1, 2]\nb: *x\n"), "{a:[1,2],b:[1,2]}");
  EXPECT_EQ(Yaml("a: *x\n"), "line 1: unknown anchor \"x\"");
  EXPECT_EQ(Yaml("a: &x [*x]\n"), "line 1: unknown anchor \"x\"");
}

TEST(YamlTest, HostileTextsAreRefused) {
  EXPECT_EQ(Yaml("a: 1\na: 2\n"), "line 2: key \"a\" comes twice");
  EXPECT_EQ(Yaml("[1]: 2\n"), "line 1: a key must be a text");
  EXPECT_EQ(Yaml("<<: {a: 1}\n"), "line 1: merge keys (<<) are not supported");
  EXPECT_EQ(Yaml("!!binary aGk=\n"), "line 1: tag \"tag:yaml.org,2002:binary\" is not supported");
  EXPECT_THAT(Yaml("a: [1\nb: 2\n"), HasSubstr("line 2: "));
  EXPECT_THAT(Yaml("a: \xff\n"), HasSubstr("UTF-8"));
  EXPECT_EQ(Yaml(std::string(40, '[') + std::string(40, ']')), "line 1: nested too deep");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 10; ++i) {
    bomb += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i,
                        i - 1);
  }
  EXPECT_EQ(Yaml(bomb), "too large, with its aliases");
  EXPECT_EQ(Yaml(""), "null");
  EXPECT_EQ(Yaml("--- \n... \n"), "null");
}

constexpr std::string_view kWhole = R"(
cdiVersion: "1.1.0"
kind: vendor.com/gpu.v2
annotations: {all: true, five: 5}
containerEdits:
  env: [COMMON=1]
devices:
- name: "0"
  annotations: {org.mobyproject.buildkit.device.class: gpus}
  containerEdits:
    env: [A=b=c]
    deviceNodes:
    - {path: /dev/a, hostPath: /dev/null, type: c, major: 1, minor: 3, fileMode: 0620, permissions: rw, uid: 5, gid: 6}
    - {path: /dev/b}
    mounts:
    - {hostPath: /h, containerPath: /c, type: tmpfs, options: [ro, bind]}
    hooks:
    - {hookName: createRuntime, path: /bin/h, args: [h, x], env: [E=1], timeout: 3}
    netDevices: [{hostInterfaceName: eth1, name: net0}]
    intelRdt: {closID: c, l3CacheSchema: l3, memBwSchema: mb, schemata: [s], enableMonitoring: true}
    additionalGids: [7, 8]
)";

TEST(SpecTest, EveryFieldIsRead) {
  auto spec = ParseSpec(kWhole);
  ASSERT_TRUE(spec.ok()) << spec.error().ToString();
  EXPECT_EQ(spec->kind, "vendor.com/gpu.v2");
  EXPECT_THAT(spec->annotations, ElementsAre(Pair("all", "true"), Pair("five", "5")));
  EXPECT_THAT(spec->edits.env, ElementsAre("COMMON=1"));
  ASSERT_EQ(spec->devices.size(), 1u);
  const Device& device = spec->devices[0];
  EXPECT_EQ(spec->QualifiedName(device), "vendor.com/gpu.v2=0");
  const ContainerEdits& edits = device.edits;
  EXPECT_THAT(edits.env, ElementsAre("A=b=c"));
  ASSERT_EQ(edits.device_nodes.size(), 2u);
  const DeviceNode& node = edits.device_nodes[0];
  EXPECT_EQ(node.path + " " + node.host_path + " " + node.type, "/dev/a /dev/null c");
  EXPECT_EQ(node.major, 1);
  EXPECT_EQ(node.minor, 3);
  EXPECT_EQ(node.file_mode, 0620u);
  EXPECT_EQ(node.permissions, "rw");
  EXPECT_EQ(node.uid, 5u);
  EXPECT_EQ(node.gid, 6u);
  EXPECT_EQ(edits.device_nodes[1].file_mode, std::nullopt);
  ASSERT_EQ(edits.mounts.size(), 1u);
  EXPECT_EQ(edits.mounts[0].host_path + edits.mounts[0].container_path + edits.mounts[0].type,
            "/h/ctmpfs");
  EXPECT_THAT(edits.mounts[0].options, ElementsAre("ro", "bind"));
  ASSERT_EQ(edits.hooks.size(), 1u);
  EXPECT_EQ(edits.hooks[0].name + edits.hooks[0].path, "createRuntime/bin/h");
  EXPECT_THAT(edits.hooks[0].args, ElementsAre("h", "x"));
  EXPECT_THAT(edits.hooks[0].env, ElementsAre("E=1"));
  EXPECT_EQ(edits.hooks[0].timeout, 3);
  ASSERT_EQ(edits.net_devices.size(), 1u);
  EXPECT_EQ(edits.net_devices[0].host_interface + edits.net_devices[0].name, "eth1net0");
  ASSERT_TRUE(edits.intel_rdt);
  EXPECT_EQ(
      edits.intel_rdt->clos_id + edits.intel_rdt->l3_cache_schema + edits.intel_rdt->mem_bw_schema,
      "cl3mb");
  EXPECT_THAT(*edits.intel_rdt->schemata, ElementsAre("s"));
  EXPECT_TRUE(edits.intel_rdt->enable_monitoring);
  EXPECT_THAT(edits.additional_gids, ElementsAre(7, 8));
}

std::string ErrorOf(std::string_view text) {
  auto spec = ParseSpec(text);
  return spec.ok() ? "" : spec.error().ToString();
}

// A spec of one device with these edits.
std::string With(std::string_view edits, std::string_view version = "1.1.0",
                 std::string_view kind = "v.com/c", std::string_view name = "d") {
  return fmt::format(
      R"({{"cdiVersion":"{}","kind":"{}","devices":[{{"name":"{}","containerEdits":{}}}]}})",
      version, kind, name, edits);
}

TEST(SpecTest, WhatIsWrongIsSaid) {
  constexpr std::string_view kEnv = R"({"env":["A=1"]})";
  EXPECT_EQ(ErrorOf(With(kEnv)), "");
  EXPECT_EQ(ErrorOf(""), "no Spec data");
  EXPECT_EQ(ErrorOf("[]"), "not an object");
  EXPECT_EQ(ErrorOf("{kinds: 1}"), "unknown field \"kinds\"");
  EXPECT_EQ(ErrorOf("{Kind: 1}"), "unknown field \"Kind\"");
  EXPECT_EQ(ErrorOf("{devices: 1}"), "devices: not a list");
  EXPECT_EQ(ErrorOf("{devices: [{name: [1]}]}"), "devices: 0: name: not a text");
  EXPECT_EQ(ErrorOf("{devices: [null]}"), "devices: 0: not an object");
  EXPECT_EQ(ErrorOf(R"({"cdiVersion":"1.1.0","kind":"v.com/c"})"),
            "invalid CDI Spec: invalid spec, no devices");
  EXPECT_EQ(ErrorOf(With("{}")),
            "invalid CDI Spec: failed add device \"d\": invalid device, empty device edits");
  EXPECT_EQ(ErrorOf(With(kEnv, "1.2.0")), "invalid CDI Spec: invalid version \"1.2.0\"");
  EXPECT_EQ(ErrorOf(With(kEnv, "0.6.0", "vendor")), "invalid CDI Spec: invalid vendor: empty name");
  EXPECT_EQ(ErrorOf(With(kEnv, "0.6.0", "5.com/x")),
            "invalid CDI Spec: invalid vendor: \"5.com\", should start with a letter");
  EXPECT_EQ(ErrorOf(With(kEnv, "0.6.0", "v.com/x/y")),
            "invalid CDI Spec: invalid class: invalid character \"/\" in name \"x/y\"");
  EXPECT_EQ(ErrorOf(With(kEnv, "0.6.0", "v.com/x-")),
            "invalid CDI Spec: invalid class: \"x-\", should end with a letter or digit");
  EXPECT_THAT(ErrorOf(With(kEnv, "0.6.0", "v.com/x", "a b")),
              HasSubstr("invalid device name: invalid character \" \" in name \"a b\""));
  EXPECT_THAT(ErrorOf(R"({"cdiVersion":"1.1.0","kind":"v.com/c","devices":[
      {"name":"d","containerEdits":{"env":["A=1"]}},{"name":"d","containerEdits":{"env":["A=1"]}}]})"),
              HasSubstr("invalid spec, multiple device \"d\""));
  const std::pair<std::string_view, std::string_view> edits[] = {
      {R"({"env":["A"]})", "invalid container edits: invalid environment variable \"A\""},
      {R"({"env":["=A"]})", "invalid environment variable \"=A\""},
      {R"({"deviceNodes":[{}]})", "invalid (empty) device path"},
      {R"({"deviceNodes":[{"path":"/d","type":"x"}]})", "device \"/d\": invalid type \"x\""},
      {R"({"deviceNodes":[{"path":"/d","permissions":"rx"}]})", "invalid permissions \"rx\""},
      {R"({"deviceNodes":[{"path":"/d","uid":-1}]})", "uid: not a whole number in range"},
      {R"({"deviceNodes":[{"path":"/d","major":1.5}]})", "major: not a whole number in range"},
      {R"({"deviceNodes":[{"path":"/d","uid":"5"}]})", "uid: not a whole number in range"},
      {R"({"deviceNodes":[{"path":"/d","uid":08}]})", "uid: not a whole number in range"},
      {R"({"deviceNodes":[{"path":"/d","uid":4294967296}]})", "uid: not a whole number in range"},
      {R"({"intelRdt":{"enableMonitoring":1}})", "enableMonitoring: not true or false"},
      {R"({"mounts":[{"containerPath":"/c"}]})", "invalid mount, empty host path"},
      {R"({"mounts":[{"hostPath":"/c"}]})", "invalid mount, empty container path"},
      {R"({"hooks":[{"hookName":"x","path":"/p"}]})", "invalid hook name \"x\""},
      {R"({"hooks":[{"hookName":"poststop"}]})", "invalid hook \"poststop\" with empty path"},
      {R"({"hooks":[{"hookName":"poststop","path":"/p","env":["x"]}]})",
       "invalid hook \"poststop\""},
      {R"({"intelRdt":{"closID":".."}})", "invalid ClosID"},
      {R"({"netDevices":[{"name":"a"}]})", "empty HostInterfaceName"},
      {R"({"netDevices":[{"hostInterfaceName":"a"}]})", "empty Name"},
      {R"({"netDevices":[{"hostInterfaceName":"a","name":"b"},{"hostInterfaceName":"a","name":"c"}]})",
       "duplicate HostInterfaceName \"a\""},
      {R"({"netDevices":[{"hostInterfaceName":"a","name":"b"},{"hostInterfaceName":"c","name":"b"}]})",
       "duplicate Name \"b\""},
  };
  for (const auto& [text, error] : edits) EXPECT_THAT(ErrorOf(With(text)), HasSubstr(error));
}

TEST(SpecTest, NewFieldsNeedTheirVersion) {
  const auto needs = [](std::string_view version, const std::string& below) {
    EXPECT_EQ(ErrorOf(below),
              fmt::format("invalid CDI Spec: the spec version must be at least v{}", version));
  };
  constexpr std::string_view kEnv = R"({"env":["A=1"]})";
  EXPECT_EQ(ErrorOf(With(kEnv, "0.1.0")), "");
  EXPECT_EQ(ErrorOf(With(kEnv, "v0.3.0")), "");
  needs("0.4.0",
        With(R"({"mounts":[{"hostPath":"/h","containerPath":"/c","type":"x"}]})", "0.3.0"));
  needs("0.5.0", With(R"({"deviceNodes":[{"path":"/d","hostPath":"/h"}]})", "0.4.0"));
  needs("0.5.0", With(kEnv, "0.4.0", "v.com/c", "0"));
  needs("0.6.0", With(kEnv, "0.5.0", "v.com/c.d"));
  needs("0.7.0", With(R"({"intelRdt":{}})", "0.6.0"));
  needs("0.7.0", With(R"({"additionalGids":[1]})", "0.6.0"));
  needs("1.1.0", With(R"({"intelRdt":{"schemata":[]}})", "1.0.0"));
  needs("1.1.0", With(R"({"netDevices":[{"hostInterfaceName":"a","name":"b"}]})", "1.0.0"));
}

TEST(SpecTest, NumbersAreThoseOfYaml) {
  auto spec = ParseSpec(With(
      R"({"deviceNodes":[{"path":"/d","major":-0x8000000000000000,"minor":+1_000,"fileMode":0o17,"uid":0b101,"gid":017}]})"));
  ASSERT_TRUE(spec.ok()) << spec.error().ToString();
  const DeviceNode& node = spec->devices[0].edits.device_nodes[0];
  EXPECT_EQ(node.major, INT64_MIN);
  EXPECT_EQ(node.minor, 1000);
  EXPECT_EQ(node.file_mode, 15u);
  EXPECT_EQ(node.uid, 5u);
  EXPECT_EQ(node.gid, 15u);
}

TEST(EditsTest, NodesAreCompletedFromTheHost) {
  ContainerEdits edits;
  edits.device_nodes = {{.path = "/dev/null"}, {.path = "/x", .host_path = "/dev/zero"}};
  ASSERT_TRUE(FillFromHost(edits).ok());
  struct stat null{};
  ASSERT_EQ(stat("/dev/null", &null), 0);
  EXPECT_EQ(edits.device_nodes[0].type, "c");
  EXPECT_EQ(edits.device_nodes[0].major, major(null.st_rdev));
  EXPECT_EQ(edits.device_nodes[0].minor, minor(null.st_rdev));
  EXPECT_EQ(edits.device_nodes[0].file_mode, null.st_mode & 07777);
  EXPECT_EQ(edits.device_nodes[1].minor, 5);
  const auto error = [](DeviceNode node) {
    ContainerEdits one;
    one.device_nodes = {std::move(node)};
    const Status filled = FillFromHost(one);
    return filled.ok() ? "" : filled.error().ToString();
  };
  EXPECT_EQ(error({.path = "/dev/not-there"}),
            "failed to stat CDI host device \"/dev/not-there\": no such file or directory");
  EXPECT_EQ(error({.path = "/"}), "failed to stat CDI host device \"/\": not a device node");
  EXPECT_EQ(error({.path = "/dev/null", .type = "b"}),
            "CDI device (\"/dev/null\", \"/dev/null\"), host type mismatch (b, c)");
  EXPECT_EQ(error({.path = "/dev/not-there", .type = "c", .major = 9, .minor = 9}), "");
}

}  // namespace
}  // namespace kiln::cdi
