#include "cdi/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fd.h"
#include "base/ids.h"

namespace kiln::cdi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() {
    for (const std::string& name : {Low(), High()}) std::filesystem::create_directories(name);
  }
  ~RegistryTest() override { std::filesystem::remove_all(root_); }
  RegistryTest(const RegistryTest&) = delete;
  RegistryTest& operator=(const RegistryTest&) = delete;

  std::string Low() const { return root_ + "/low"; }
  std::string High() const { return root_ + "/high"; }

  static void Write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  }
  // A spec whose devices set the variable D to "<value><their name>".
  static std::string SpecOf(const std::string& kind, const std::vector<std::string>& names,
                            const std::string& value = "", const std::string& more = "") {
    std::string text = "cdiVersion: 0.6.0\nkind: " + kind + "\n" + more + "devices:\n";
    for (const std::string& name : names)
      text += fmt::format("- name: {0}\n  containerEdits: {{env: [D={1}{0}]}}\n", name, value);
    return text;
  }
  static std::vector<std::string> Names(const std::shared_ptr<const Catalog>& catalog) {
    std::vector<std::string> names;
    for (const Entry& entry : catalog->devices())
      names.push_back((entry.auto_allowed ? "+" : "") + entry.name);
    return names;
  }
  // What a request finds, or the error.
  std::vector<std::string> Find(const std::string& name, bool optional = false) {
    auto found = registry_.Current()->Find({{name, optional}});
    return found.ok() ? *found : std::vector<std::string>{found.error().ToString()};
  }

  const std::string root_ = testing::TempDir() + "/cdi-" + NewId();
  Registry registry_{{Low(), root_ + "/missing", High()}, {"auto.com/kind", "v.com/x=allowed"}};
};

TEST_F(RegistryTest, FilesAreReadAnewWhenTheyChange) {
  EXPECT_THAT(Names(registry_.Current()), IsEmpty());
  Write(Low() + "/a.yaml", SpecOf("v.com/x", {"b", "a", "allowed"}));
  Write(
      Low() + "/b.json",
      R"({"cdiVersion":"0.6.0","kind":"auto.com/kind","devices":[{"name":"j","containerEdits":{"env":["A=1"]}}]})");
  Write(Low() + "/c.yml", SpecOf("v.com/y", {"a"}));
  Write(Low() + "/bad.yaml", "nonsense: [");
  std::filesystem::create_directory(Low() + "/folder.yaml");
  ASSERT_EQ(mkfifo((Low() + "/fifo.yaml").c_str(), 0600), 0);
  const auto first = registry_.Current();
  EXPECT_THAT(Names(first),
              ElementsAre("+auto.com/kind=j", "v.com/x=a", "+v.com/x=allowed", "v.com/x=b"));
  EXPECT_EQ(registry_.Current(), first) << "nothing has changed";
  std::filesystem::remove(Low() + "/b.json");
  EXPECT_THAT(Names(registry_.Current()),
              ElementsAre("v.com/x=a", "+v.com/x=allowed", "v.com/x=b"));
}

TEST_F(RegistryTest, LaterFoldersWinAndEqualsConflict) {
  Write(Low() + "/a.yaml", SpecOf("v.com/x", {"a", "b"}, "low-"));
  Write(High() + "/a.yaml", SpecOf("v.com/x", {"a"}, "high-"));
  auto edits = registry_.Current()->EditsFor({{"v.com/x=*"}});
  ASSERT_TRUE(edits.ok());
  EXPECT_THAT(edits->env, ElementsAre("D=high-a", "D=low-b"));
  Write(High() + "/b.yaml", SpecOf("v.com/x", {"a"}, "other-"));
  EXPECT_THAT(Names(registry_.Current()), ElementsAre("v.com/x=b"));
}

TEST_F(RegistryTest, RequestsFindWhatUpstreamFinds) {
  Write(Low() + "/a.yaml", SpecOf("v.com/x", {"b", "a"}) + R"(- name: c
  annotations: {org.mobyproject.buildkit.device.class: fast}
  containerEdits: {env: [C=1]}
- name: d
  annotations: {org.mobyproject.buildkit.device.class: fast}
  containerEdits: {env: [C=1]}
- name: e
  annotations: {org.mobyproject.buildkit.device.class: v.com/none=x}
  containerEdits: {env: [C=1]}
)");
  EXPECT_THAT(Find("v.com/x"), ElementsAre("v.com/x=a"));
  EXPECT_THAT(Find("v.com/x="), ElementsAre("v.com/x=a"));
  EXPECT_THAT(Find("v.com/x=b"), ElementsAre("v.com/x=b"));
  EXPECT_THAT(Find("v.com/x=*"),
              ElementsAre("v.com/x=a", "v.com/x=b", "v.com/x=c", "v.com/x=d", "v.com/x=e"));
  EXPECT_THAT(Find("fast"), ElementsAre("v.com/x=c", "v.com/x=d"));
  EXPECT_THAT(Find("v.com/none=x"), ElementsAre("v.com/x=e"));
  EXPECT_THAT(Find("v.com/x=f"), ElementsAre("required device \"v.com/x=f\" is not registered"));
  EXPECT_THAT(Find(""), ElementsAre("required device \"\" is not registered"));
  EXPECT_THAT(Find("v.com/x=f", /*optional=*/true), IsEmpty());
  auto found = registry_.Current()->Find({{"fast"}, {"v.com/x=c"}, {"v.com/x"}});
  EXPECT_THAT(*found, ElementsAre("v.com/x=c", "v.com/x=d", "v.com/x=a"));
}

TEST_F(RegistryTest, AnnotationsOfTheSpecHoldForItsDevices) {
  Write(
      Low() + "/a.yaml",
      SpecOf("v.com/x", {"a"}, "",
             "annotations: {org.mobyproject.buildkit.device.autoallow: true, k: spec, l: spec}\n") +
          R"(- name: b
  annotations: {org.mobyproject.buildkit.device.autoallow: "no", k: own}
  containerEdits: {env: [C=1]}
)");
  const auto catalog = registry_.Current();
  EXPECT_THAT(Names(catalog), ElementsAre("+v.com/x=a", "v.com/x=b"));
  EXPECT_EQ(catalog->Get("v.com/x=b")->annotations.at("k"), "own");
  EXPECT_EQ(catalog->Get("v.com/x=b")->annotations.at("l"), "spec");
  EXPECT_EQ(catalog->Get("v.com/x"), nullptr);
}

TEST_F(RegistryTest, EditsOfTheSpecAreMadeOnce) {
  Write(Low() + "/a.yaml",
        SpecOf("v.com/x", {"a", "b"}, "", "containerEdits: {env: [COMMON=1]}\n"));
  auto edits = registry_.Current()->EditsFor({{"v.com/x=b"}, {"v.com/x=a"}, {"none", true}});
  ASSERT_TRUE(edits.ok());
  EXPECT_THAT(edits->env, ElementsAre("COMMON=1", "D=b", "D=a"));
  Write(Low() + "/b.yaml",
        "cdiVersion: 0.6.0\nkind: v.com/y\ndevices: [{name: a, containerEdits: {deviceNodes: "
        "[{path: /not/there}]}}]\n");
  EXPECT_TRUE(registry_.Current()
                  ->EditsFor({{"v.com/y"}})
                  .error()
                  .ToString()
                  .starts_with(
                      "failed to inject devices: failed to stat CDI host device \"/not/there\": "));
}

}  // namespace
}  // namespace kiln::cdi
