#include "sys/mounts.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/id_map.h"
#include "sys/kernel.h"
#include "sys/testing/test_spawner.h"

namespace kiln::sys {
namespace {

bool CanMount() { return Mounter({}).Make({.what = TmpfsMount{}}).ok(); }
#define NEEDS_MOUNTS() \
  if (!CanMount()) GTEST_SKIP() << "needs the privilege to mount"

// Both ways of building an overlay.
class OverlayTest : public testing::TestWithParam<bool> {
 protected:
  Mounter mounter() { return Mounter({.legacy_overlay = GetParam(), .scratch_dir = dir_.path()}); }
  std::string Layer(const std::string& name, const std::string& file) {
    std::string path = dir_ / name;
    EXPECT_EQ(mkdir(path.c_str(), 0755), 0);
    EXPECT_TRUE(file.empty() || WriteFileAtomically(path + "/" + file, name).ok());
    return path;
  }
  TempDir dir_;
};

TEST_P(OverlayTest, StacksTopFirstAndWritesToTheUpper) {
  NEEDS_MOUNTS();
  OverlayMount overlay{.lowers = {Layer("top", "f"), Layer("bottom", "f")},
                       .upper = Layer("upper", ""),
                       .work = Layer("work", ""),
                       .is_volatile = true};
  MountTree tree = mounter().Make({.what = overlay}).value();
  RootedPath root = tree.Root().value();
  EXPECT_EQ(root.ReadFile("f", 100).value(), "top");
  ASSERT_TRUE(root.WriteFile("f", "new").ok());
  EXPECT_EQ(ReadFile(dir_ / "upper/f").value(), "new");
  EXPECT_EQ(ReadFile(dir_ / "top/f").value(), "top");
}

TEST_P(OverlayTest, WithoutUpperItIsReadOnly) {
  NEEDS_MOUNTS();
  std::string one = Layer("one", "f");
  for (const auto& lowers : {std::vector{one}, std::vector{one, Layer("two", "g")}}) {
    RootedPath root = mounter().Make({.what = OverlayMount{.lowers = lowers}})->Root().value();
    EXPECT_EQ(root.ReadFile("f", 100).value(), "one");
    EXPECT_FALSE(root.WriteFile("h", "").ok());
  }
}

TEST_P(OverlayTest, TakesAsManyLayersAsItSays) {
  NEEDS_MOUNTS();
  OverlayMount overlay;
  size_t most = mounter().max_overlay_lowers();
  for (size_t i = 0; i < most; ++i)
    overlay.lowers.push_back(
        Layer("layer-with-a-long-name-" + std::to_string(i), "f" + std::to_string(i)));
  RootedPath root = mounter().Make({.what = overlay})->Root().value();
  EXPECT_TRUE(root.Exists("f0").value());
  EXPECT_TRUE(root.Exists("f" + std::to_string(most - 1)).value());
  overlay.lowers.push_back(Layer("one-more", ""));
  EXPECT_EQ(mounter().Make({.what = overlay}).error().code(), Code::kFailedPrecondition);
}

TEST_P(OverlayTest, LongPathsAndColonsAreNoTrouble) {
  NEEDS_MOUNTS();
  std::string deep = dir_.path();
  for (int i = 0; i < 5; ++i) {
    deep += "/" + std::string(100, 'd') + ":,\\";
    ASSERT_EQ(mkdir(deep.c_str(), 0755), 0);
  }
  ASSERT_EQ(mkdir((deep + "/l").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((deep + "/u").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((deep + "/w").c_str(), 0755), 0);
  OverlayMount overlay{.lowers = {deep + "/l"}, .upper = deep + "/u", .work = deep + "/w"};
  RootedPath root = mounter().Make({.what = overlay})->Root().value();
  ASSERT_TRUE(root.WriteFile("f", "x").ok());
  EXPECT_TRUE(ReadFile(deep + "/u/f").ok());
}

TEST_P(OverlayTest, ErrorsNameTheLayer) {
  NEEDS_MOUNTS();
  auto tree = mounter().Make({.what = OverlayMount{.lowers = {dir_ / "missing", dir_ / "too"}}});
  ASSERT_FALSE(tree.ok());
  EXPECT_EQ(tree.error().code(), Code::kNotFound);
  EXPECT_NE(tree.error().ToString().find("missing"), std::string::npos) << tree.error().ToString();
}

INSTANTIATE_TEST_SUITE_P(Both, OverlayTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Legacy" : "OneByOne"; });

size_t MountsBelow(const std::string& path) {
  size_t count = 0;
  std::vector<MountInfo> mounts = ReadMountInfo().value();
  for (const MountInfo& mount : mounts) count += mount.target.starts_with(path);
  return count;
}

TEST(MountTest, AttachedMountsGoWithTheirOwner) {
  NEEDS_MOUNTS();
  TempDir dir;
  std::string odd = dir / "with space";
  ASSERT_EQ(mkdir(odd.c_str(), 0755), 0);
  {
    Mount mount = Mounter({})
                      .MountAt({.what = TmpfsMount{.size_bytes = 1 << 20, .mode = 0700, .uid = 3},
                                .flags = {.nosuid = true, .noexec = true}},
                               odd)
                      .value();
    EXPECT_EQ(MountsBelow(odd), 1u);
    MountInfo info = ReadMountInfo().value().back();
    EXPECT_EQ(info.target, odd);
    EXPECT_EQ(info.fs_type, "tmpfs");
    EXPECT_NE(info.options.find("noexec"), std::string::npos);
    EXPECT_EQ(StatAt(-1, odd).value().uid, 3u);
  }
  EXPECT_EQ(MountsBelow(odd), 0u);
}

TEST(MountTest, BindsOfFilesAndReadOnlyFlags) {
  NEEDS_MOUNTS();
  TempDir dir;
  ASSERT_TRUE(WriteFileAtomically(dir / "source", "data").ok());
  ASSERT_TRUE(WriteFileAtomically(dir / "target", "").ok());
  Mount mount =
      Mounter({})
          .MountAt({.what = BindMount{.source = dir / "source"}, .flags = {.readonly = true}},
                   dir / "target")
          .value();
  EXPECT_EQ(ReadFile(dir / "target").value(), "data");
  EXPECT_EQ(OpenFile(dir / "target", 1 /*O_WRONLY*/).error().code(), Code::kPermissionDenied);
  ASSERT_TRUE(mount.Unmount(/*lazy=*/false).ok());
  EXPECT_EQ(ReadFile(dir / "target").value(), "");
}

TEST(MountTest, UnmountBelowTakesAllThatIsThere) {
  NEEDS_MOUNTS();
  TempDir dir;
  Mounter mounter({});
  (void)mounter.MountAt({.what = TmpfsMount{}}, dir.path()).value().Release();
  ASSERT_EQ(mkdir((dir / "in").c_str(), 0755), 0);
  (void)mounter.MountAt({.what = TmpfsMount{}}, dir / "in").value().Release();
  EXPECT_EQ(MountsBelow(dir.path()), 2u);
  ASSERT_TRUE(UnmountBelow(dir.path()).ok());
  EXPECT_EQ(MountsBelow(dir.path()), 0u);
  EXPECT_TRUE(UnmountBelow(dir.path()).ok());
}

TEST(KernelTest, ProbeLeavesNothingAndFindsWhatIsThere) {
  TempDir dir;
  KernelFeatures features = ProbeKernel(dir.path()).value();
  EXPECT_GE(features.version, (KernelVersion{5, 12}));
  EXPECT_TRUE(features.overlay || !CanMount());
  Fd open = OpenFile(dir.path(), 0).value();
  EXPECT_TRUE(ReadDir(open.get()).value().empty());
}

TEST(KernelTest, AMounterThatIsNotToldTakesWhatTheKernelTakes) {
  NEEDS_MOUNTS();
  TempDir dir;
  const KernelFeatures features = ProbeKernel(dir.path()).value();
  const Mounter made = MakeMounter(features, dir.path());
  EXPECT_EQ(Mounter({}).max_overlay_lowers(), made.max_overlay_lowers());
  EXPECT_EQ(made.max_overlay_lowers() == Mounter({.legacy_overlay = true}).max_overlay_lowers(),
            !features.overlay_lowerdir_plus);
  if (!features.overlay) GTEST_SKIP() << "no overlayfs here";
  for (const char* name : {"one", "two"}) ASSERT_EQ(mkdir((dir / name).c_str(), 0755), 0);
  OverlayMount overlay{.lowers = {dir / "one", dir / "two"}};
  EXPECT_TRUE(Mounter({}).Make({.what = overlay}).ok());
  EXPECT_TRUE(made.Make({.what = overlay}).ok());
}

TEST(KernelTest, WhatIsMissingIsSaidWithItsCost) {
  KernelFeatures features{.version = {6, 1},
                          .cgroup = CgroupMode::kV2,
                          .overlay = true,
                          .overlay_lowerdir_plus = true,
                          .seccomp_filter = true};
  EXPECT_TRUE(Shortcomings(features).empty());
  EXPECT_TRUE(CheckUsable(features).ok());
  features.overlay_lowerdir_plus = false;
  ASSERT_EQ(Shortcomings(features).size(), 1u);
  EXPECT_TRUE(Shortcomings(features)[0].minor);
  EXPECT_TRUE(Shortcomings(features)[0].sentence.starts_with(
      "kernel 6.1: a mount stacks at most 170 layers in place of 500"))
      << Shortcomings(features)[0].sentence;
  features = {.version = {5, 10}, .privileges = {.can_chown = false, .can_mknod = false}};
  features.missing_calls = {"mount_setattr"};
  EXPECT_EQ(Shortcomings(features).size(), 5u);
  EXPECT_NE(CheckUsable(features).error().message().find("5.10 has no mount_setattr: Linux 5.12"),
            std::string::npos);
}

TEST(KernelTest, CgroupModesAreToldApart) {
  MountInfo v1{.target = "/sys/fs/cgroup/memory", .fs_type = "cgroup"};
  MountInfo beside{.target = "/sys/fs/cgroup/unified", .fs_type = "cgroup2"};
  MountInfo v2{.target = "/sys/fs/cgroup", .fs_type = "cgroup2"};
  EXPECT_EQ(DetectCgroupMode({v1}), CgroupMode::kV1);
  EXPECT_EQ(DetectCgroupMode({v1, beside}), CgroupMode::kHybrid);
  EXPECT_EQ(DetectCgroupMode({v2}), CgroupMode::kV2);
  EXPECT_EQ(DetectCgroupMode({}), CgroupMode::kNone);
}

TEST(IdMapTest, TranslatesBothWaysAndRefusesNonsense) {
  IdMap map =
      IdMap::Parse("         0       1000          1\n         1     100000      65536\n").value();
  EXPECT_EQ(map.ToOutside(0), 1000u);
  EXPECT_EQ(map.ToOutside(65536), 165535u);
  EXPECT_EQ(map.ToOutside(65537), std::nullopt);
  EXPECT_EQ(map.ToInside(100000), 1u);
  EXPECT_EQ(map.ToInside(0), std::nullopt);
  EXPECT_EQ(IdMap::Parse(map.ToString()).value(), map);
  EXPECT_TRUE(IdMap::Parse("0 0 4294967295\n")->identity());
  EXPECT_EQ(IdMap().ToOutside(12), 12u);
  EXPECT_FALSE(IdMap::Parse("0 0").ok());
  EXPECT_FALSE(IdMap::Parse("0 0 x").ok());
  EXPECT_FALSE(IdMap::Create({{0, 0, 10}, {5, 100, 1}}).ok());
  EXPECT_FALSE(IdMap::Create({{0, 0, 10}, {50, 9, 1}}).ok());
  EXPECT_FALSE(IdMap::Create({{0, 4294967290u, 10}}).ok());
}

}  // namespace
}  // namespace kiln::sys
