#include "build/entitlements.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"

namespace kiln::build {
namespace {

using testing::ElementsAre;

const std::set<std::string> kAllowed = {"network.host", "device"};

std::string ErrorOf(const std::set<std::string>& granted) {
  auto parsed = Entitlements::Parse(granted, kAllowed);
  return parsed.ok() ? "" : parsed.error().ToString();
}

TEST(EntitlementsTest, NamesAreChecked) {
  EXPECT_EQ(ErrorOf({"network.host", "device", "device=a/b=c"}), "");
  EXPECT_EQ(ErrorOf({"nonsense"}), "unknown entitlement nonsense");
  EXPECT_EQ(ErrorOf({"network.host=x"}), "unknown entitlement network.host=x");
  EXPECT_EQ(ErrorOf({"security.insecure"}),
            "granting entitlement security.insecure is not allowed by build daemon configuration");
  EXPECT_EQ(Entitlements::Parse({"device=a/b=c"}, {}).error().ToString(),
            "granting entitlement device is not allowed by build daemon configuration");
  EXPECT_EQ(ErrorOf({"device=a/b=c,alias"}), "invalid device config \"alias\"");
  EXPECT_EQ(ErrorOf({"device=a/b=c,as=x"}), "unknown device config key \"as\"");
}

// Three devices of one kind, one of which needs no permission.
cdi::Catalog CatalogOf() {
  auto spec = std::make_shared<cdi::Spec>(*cdi::ParseSpec(R"(
cdiVersion: 0.6.0
kind: v.com/x
devices:
- {name: a, containerEdits: {env: [A=1]}, annotations: {org.mobyproject.buildkit.device.class: c}}
- {name: b, containerEdits: {env: [A=1]}}
- {name: free, containerEdits: {env: [A=1]}, annotations: {org.mobyproject.buildkit.device.autoallow: true}}
)"));
  std::vector<std::string> problems;
  return cdi::Catalog({{"file", 0, spec}}, {}, &problems);
}

// What remains of a step's devices, "?" behind those that are optional, or the error.
std::vector<std::string> Resolve(const std::set<std::string>& granted,
                                 const std::vector<std::string>& wanted) {
  auto entitlements = Entitlements::Parse(granted, kAllowed);
  pb::ExecOp exec;
  for (std::string_view name : wanted) {
    pb::CDIDevice& device = *exec.add_cdidevices();
    device.set_optional(name.ends_with('?'));
    if (device.optional()) name.remove_suffix(1);
    device.set_name(std::string(name));
  }
  const Status resolved = entitlements->ResolveDevices(CatalogOf(), exec);
  if (!resolved.ok()) return {resolved.error().ToString()};
  std::vector<std::string> names;
  for (const pb::CDIDevice& device : exec.cdidevices())
    names.push_back(device.name() + (device.optional() ? "?" : ""));
  return names;
}

TEST(EntitlementsTest, DevicesNeedPermission) {
  EXPECT_THAT(Resolve({}, {"v.com/x=a"}),
              ElementsAre("device v.com/x=a is requested by the build but not allowed"));
  EXPECT_THAT(
      Resolve({}, {"v.com/x=*"}),
      ElementsAre("devices v.com/x=a, v.com/x=b are requested by the build but not allowed"));
  EXPECT_THAT(Resolve({}, {"v.com/x=free"}), ElementsAre("v.com/x=free"));
  EXPECT_THAT(Resolve({"device=v.com/x=a"}, {"c", "v.com/x"}), ElementsAre("v.com/x=a"));
  EXPECT_THAT(Resolve({"device=v.com/x=*"}, {"v.com/x=*"}),
              ElementsAre("v.com/x=a", "v.com/x=b", "v.com/x=free"));
  EXPECT_THAT(Resolve({"device=v.com/x"}, {"v.com/x=b"}),
              ElementsAre("device v.com/x=b is requested by the build but not allowed"));
  EXPECT_THAT(Resolve({"device=c"}, {"v.com/x=a"}), ElementsAre("v.com/x=a"));
}

TEST(EntitlementsTest, MissingDevicesAreErrorsUnlessOptional) {
  EXPECT_THAT(Resolve({}, {"v.com/none"}),
              ElementsAre("required device \"v.com/none\" is not registered"));
  EXPECT_THAT(Resolve({}, {"v.com/none?"}), ElementsAre());
  EXPECT_THAT(Resolve({"device=v.com/none"}, {"v.com/x=free"}),
              ElementsAre("required device \"v.com/none\" is not registered"));
}

TEST(EntitlementsTest, AllDevicesStayAsTheyWereAskedFor) {
  EXPECT_THAT(Resolve({"device", "device=v.com/x=a"}, {"v.com/x=*", "v.com/none?"}),
              ElementsAre("v.com/x=*", "v.com/none?"));
}

TEST(EntitlementsTest, AliasesStandForDevices) {
  EXPECT_THAT(Resolve({"device=v.com/x=a,alias=gpu"}, {"gpu?", "v.com/x=free?"}),
              ElementsAre("v.com/x=a?", "v.com/x=free"));
  EXPECT_THAT(Resolve({"device=v.com/x=a,alias=gpu"}, {"v.com/x=a"}),
              ElementsAre("device v.com/x=a is requested by the build but not allowed"));
}

}  // namespace
}  // namespace kiln::build
