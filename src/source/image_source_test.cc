#include "source/image_source.h"

#include "archive/tar.h"
#include "llb/source_key.h"
#include "oci/media_type.h"
#include "source/testing/source_fixture.h"

namespace kiln::source {
namespace {

using store::Must;

const oci::Platform kAmd64{.os = "linux", .architecture = "amd64"};
const oci::Platform kArm64{.os = "linux", .architecture = "arm64"};

std::string Tar(const std::string& path, const std::string& data) {
  archive::StringSink sink;
  archive::TarWriter tar(sink);
  archive::TarEntry entry;
  entry.path = path;
  entry.mode = 0644;
  entry.size = static_cast<int64_t>(data.size());
  Must(tar.Add(entry));
  Must(tar.WriteData(data));
  Must(tar.Finish());
  return sink.text();
}

class ImageSourceTest : public SourceFixture {
 protected:
  llb::ImageSource Image(const std::string& object,
                         const std::string& repository = "me/app") const {
    return {.ref = fake_.host() + "/" + repository + object};
  }
  SourcePtr Make(const llb::SourceId& id, const oci::Platform& platform = kAmd64) {
    return Must(sources_->Make(id, platform));
  }
  // Everything from now on finds the registry dead.
  void KillRegistry() {
    fake_.set_fault([](const http::ReceivedRequest&) { return http::Reply{.status = 404}; });
  }
  std::string AddIndex(const std::vector<oci::Descriptor>& manifests, const std::string& tag) {
    oci::Index index;
    index.media_type = oci::kOciIndex;
    index.manifests = manifests;
    const std::string text = oci::Encode(index);
    fake_.AddManifest("me/app", tag, text, std::string(oci::kOciIndex));
    return Sha256Of(text).ToString();
  }
  std::string ErrorOf(const llb::SourceId& id, const oci::Platform& platform = kAmd64) {
    auto source = sources_->Make(id, platform);
    if (!source.ok()) return source.error().ToString();
    auto key = (*source)->Key({}, 0);
    if (!key.ok()) return key.error().ToString();
    auto ref = (*source)->Fetch({});
    return ref.ok() ? "" : ref.error().ToString();
  }
};

TEST_F(ImageSourceTest, LayersComeWhenTheyAreRead) {
  const std::string one = Tar("a", "1");
  const std::string two = Tar("b", "2");
  const auto image = fake_.AddImage("me/app", "1", {one, two}, kAmd64);
  const SourcePtr source = Make(Image(":1"));
  const SourceKey first = Must(source->Key({}, 0));
  EXPECT_TRUE(first.last);
  EXPECT_EQ(first.key, llb::ImageManifestKey(image.digest, kAmd64, 0).ToString());

  const store::SnapshotRef ref = Must(source->Fetch({}));
  EXPECT_FALSE(Must(store_->IsLocal(ref)));
  EXPECT_EQ(fake_.server().Count("GET /v2/me/app/blobs/" + Sha256Of(one).ToString()), 0);
  Must(store_->EnsureLocal({}, ref));
  const store::TreeView tree = Must(store_->Tree(ref));
  EXPECT_EQ(Must(tree.ReadFile("/a")), "1");
  EXPECT_EQ(Must(tree.ReadFile("/b")), "2");
  EXPECT_EQ(source->material()->digest, image.digest.ToString());
  EXPECT_EQ(Must(store_->Info(ref)).description, "pulled from " + fake_.host() + "/me/app:1");
}

TEST_F(ImageSourceTest, KnownDigestsNeedNoNetwork) {
  const auto image = fake_.AddImage("me/app", "1", {Tar("a", "1")}, kAmd64);
  const std::string object = "@" + image.digest.ToString();
  const store::SnapshotRef ref = Must(Make(Image(object))->Fetch({}));
  Must(store_->EnsureLocal({}, ref));
  KillRegistry();
  const auto before = fake_.server().received().size();
  const SourcePtr again = Make(Image(object));
  Must(again->Key({}, 0));
  EXPECT_EQ(Must(again->Fetch({})), ref);
  EXPECT_EQ(fake_.server().received().size(), before);
  // The same digest from another place is not taken on trust.
  EXPECT_NE(ErrorOf(Image(object, "other/app")), "");
}

TEST_F(ImageSourceTest, ADigestAllowedFromAnotherNameIsKnownFromThereToo) {
  const auto image = fake_.AddImage("me/app", "1", {Tar("a", "1")}, kAmd64);
  fake_.AddManifest("other/app", "1", *fake_.Manifest("me/app", "1"), image.media_type);
  const std::string object = "@" + image.digest.ToString();
  Must(Make(Image(object))->Fetch({}));
  Must(Make(Image(object, "other/app"))->Key({}, 0));
  KillRegistry();
  const auto before = fake_.server().received().size();
  for (const char* name : {"me/app", "other/app"}) {
    Must(Make(Image(object, name))->Key({}, 0));
    EXPECT_EQ(fake_.server().received().size(), before) << name;
  }
  EXPECT_NE(ErrorOf(Image(object, "third/app")), "");
}

TEST_F(ImageSourceTest, ABuildSeesOneStateOfAName) {
  const auto old = fake_.AddImage("me/app", "1", {Tar("a", "1")}, kAmd64);
  auto view =
      sources_->OpenView(std::make_shared<progress::FixedSessions>(std::vector<std::string>{"s"}));
  EXPECT_EQ(Must(sources_->ResolveImage(As({"s"}), Image(":1"), kAmd64, true, nullptr)).digest,
            old.digest);
  const auto moved = fake_.AddImage("me/app", "1", {Tar("a", "2")}, kAmd64);
  const auto key_for = [&](const std::string& session) {
    return Must(Make(Image(":1"))->Key(As({session}), 0)).key;
  };
  const std::string old_key = llb::ImageManifestKey(old.digest, kAmd64, 0).ToString();
  const std::string new_key = llb::ImageManifestKey(moved.digest, kAmd64, 0).ToString();
  EXPECT_EQ(key_for("s"), old_key);
  EXPECT_EQ(key_for("another"), new_key);
  view.reset();
  EXPECT_EQ(key_for("s"), new_key);
}

TEST_F(ImageSourceTest, SelectsThePlatform) {
  const auto amd = fake_.AddImage("me/app", "", {Tar("amd", "")}, kAmd64);
  const auto arm = fake_.AddImage("me/app", "", {Tar("arm", "")}, kArm64);
  oci::Descriptor attestation = amd;
  attestation.platform = oci::Platform{.os = "unknown", .architecture = "unknown"};
  const std::string digest = AddIndex({attestation, amd, arm}, "multi");
  const store::SnapshotRef ref = Must(Make(Image(":multi"), kArm64)->Fetch({}));
  Must(store_->EnsureLocal({}, ref));
  EXPECT_TRUE(Must(store_->Tree(ref)).Lookup("/arm").ok());
  EXPECT_EQ(ErrorOf(Image(":multi"), {.os = "linux", .architecture = "s390x"}),
            "no match for platform in manifest: not found");
  EXPECT_EQ(Must(Make(Image(":multi"), kArm64)->Key({}, 0)).key,
            llb::ImageManifestKey(Must(Digest::Parse(digest)), kArm64, 0).ToString());
}

TEST_F(ImageSourceTest, EntriesWithoutPlatformAreCheckedByConfig) {
  auto amd = fake_.AddImage("me/app", "", {Tar("amd", "")}, kAmd64);
  auto arm = fake_.AddImage("me/app", "", {Tar("arm", "")}, kArm64);
  amd.platform.reset();
  arm.platform.reset();
  AddIndex({amd, arm}, "bare");
  const store::SnapshotRef ref = Must(Make(Image(":bare"), kArm64)->Fetch({}));
  Must(store_->EnsureLocal({}, ref));
  EXPECT_TRUE(Must(store_->Tree(ref)).Lookup("/arm").ok());
}

TEST_F(ImageSourceTest, LimitsLayersAndChecksDigests) {
  fake_.AddImage("me/app", "1", {Tar("a", "1"), Tar("b", "2")}, kAmd64);
  llb::ImageSource limited = Image(":1");
  limited.layer_limit = 1;
  const store::SnapshotRef ref = Must(Make(limited)->Fetch({}));
  Must(store_->EnsureLocal({}, ref));
  EXPECT_FALSE(Must(store_->Tree(ref)).Lookup("/b").ok());
  limited.layer_limit = 3;
  EXPECT_EQ(ErrorOf(limited), "layer limit 3 is greater than the number of layers in the image 2");
  llb::ImageSource pinned = Image(":1");
  pinned.checksum = Sha256Of("other");
  EXPECT_NE(
      ErrorOf(pinned).find("does not match expected checksum " + Sha256Of("other").ToString()),
      std::string::npos);
}

TEST_F(ImageSourceTest, NoLayersMeansScratch) {
  fake_.AddImage("me/app", "empty", {}, kAmd64);
  const SourcePtr source = Make(Image(":empty"));
  Must(source->Key({}, 0));
  EXPECT_TRUE(Must(source->Fetch({})).is_scratch());
}

TEST_F(ImageSourceTest, RefusesWhatIsNoImage) {
  oci::Manifest artifact;
  artifact.media_type = oci::kOciManifest;
  artifact.config = fake_.AddBlob("me/app", "{}", "application/vnd.oci.empty.v1+json");
  artifact.layers = {fake_.AddBlob("me/app", "text", "text/plain")};
  fake_.AddManifest("me/app", "artifact", oci::Encode(artifact), artifact.media_type);
  EXPECT_NE(ErrorOf(Image(":artifact"))
                .find("is no image: its configuration has media type "
                      "\"application/vnd.oci.empty.v1+json\""),
            std::string::npos)
      << ErrorOf(Image(":artifact"));
  // A configuration that lists nothing, beside layers.
  artifact.config = fake_.AddBlob("me/app", R"({"architecture":"amd64","os":"linux"})",
                                  std::string(oci::kOciConfig));
  fake_.AddManifest("me/app", "unlisted", oci::Encode(artifact), artifact.media_type);
  EXPECT_NE(ErrorOf(Image(":unlisted")).find("mismatched image rootfs and manifest layers"),
            std::string::npos);
  EXPECT_NE(ErrorOf(Image(":unlisted")).find("text/plain"), std::string::npos);
  // So says the metadata that a frontend asks for.
  for (const char* tag : {":artifact", ":unlisted"}) {
    EXPECT_FALSE(sources_->ResolveImage({}, Image(tag), kAmd64, true, nullptr).ok()) << tag;
  }
  oci::Index loop;
  loop.media_type = oci::kOciIndex;
  std::string inner = oci::Encode(loop);
  for (int i = 0; i < 8; ++i) {
    oci::Index outer = loop;
    outer.manifests = {fake_.AddManifest("me/app", "deep", inner, loop.media_type)};
    inner = oci::Encode(outer);
  }
  fake_.AddManifest("me/app", "deep", inner, loop.media_type);
  EXPECT_NE(ErrorOf(Image(":deep")).find("nested more than"), std::string::npos);
  EXPECT_NE(ErrorOf(Image("")).find("object required"), std::string::npos);
  // Wide instead of deep: none says which platform it is for.
  oci::Descriptor wide = fake_.AddImage("me/app", "", {}, kArm64);
  for (int level = 0; level < 3; ++level) {
    oci::Index outer = loop;
    for (int i = 0; i < 10; ++i) {
      wide.platform.reset();
      wide.annotations = {{"number", std::to_string(i)}};
      outer.manifests.push_back(wide);
    }
    wide = fake_.AddManifest("me/app", "wide", oci::Encode(outer), loop.media_type);
  }
  EXPECT_NE(ErrorOf(Image(":wide")).find("too many descriptors"), std::string::npos)
      << ErrorOf(Image(":wide"));
}

TEST_F(ImageSourceTest, ResolvesMetadataOncePerJob) {
  const auto image = fake_.AddImage("me/app", "1", {}, kAmd64);
  MetaCache cache;
  const ImageMeta meta = Must(sources_->ResolveImage({}, Image(":1"), kAmd64, true, &cache));
  EXPECT_EQ(meta.digest, image.digest);
  EXPECT_EQ(Must(oci::DecodeImageConfig(meta.config)).platform, kAmd64);
  const auto requests = fake_.server().received().size();
  EXPECT_EQ(Must(sources_->ResolveImage({}, Image(":1"), kAmd64, true, &cache)).config,
            meta.config);
  EXPECT_EQ(Must(sources_->ResolveImage({}, Image(":1"), kAmd64, false, &cache)).digest,
            meta.digest);
  EXPECT_EQ(fake_.server().received().size(), requests);
  // Another job asks for the name again, but has the documents.
  Must(sources_->ResolveImage({}, Image(":1"), kAmd64, true, nullptr));
  EXPECT_EQ(fake_.server().received().size(), requests + 1);
}

TEST_F(ImageSourceTest, BlobsBecomeFiles) {
  const auto blob = fake_.AddBlob("me/app", "some bytes", "text/plain");
  llb::BlobSource spec;
  spec.ref = fake_.host() + "/me/app@" + blob.digest.ToString();
  spec.filename = "data.txt";
  spec.mode = 0640;
  const store::SnapshotRef ref = Must(Make(spec)->Fetch({}));
  const store::TreeView tree = Must(store_->Tree(ref));
  EXPECT_EQ(Must(tree.ReadFile("/data.txt")), "some bytes");
  const store::TreeEntry entry = Must(tree.Lookup("/data.txt"));
  EXPECT_EQ(entry.node->mode & 07777, 0640U);
  EXPECT_EQ(entry.node->mtime_ns, 0);
  spec.filename = "../x";
  EXPECT_FALSE(sources_->Make(spec, kAmd64).ok());
}

}  // namespace
}  // namespace kiln::source
