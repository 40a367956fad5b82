// Registries, mirrors, proxies and token servers that fail, lie or want it otherwise.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "oci/media_type.h"
#include "registry/registry.h"
#include "registry/testing/fake_credentials.h"
#include "registry/testing/fake_registry.h"
#include "registry/testing/memory_sink.h"

namespace kiln::registry {
namespace {

using http::ReceivedRequest;
using http::Reply;
using progress::Activity;

constexpr size_t kMiB = size_t{1} << 20;

Activity As(const std::string& session) {
  Activity activity;
  activity.sessions = std::make_shared<progress::FixedSessions>(std::vector<std::string>{session});
  return activity;
}

class FaultsTest : public testing::Test {
 protected:
  FaultsTest() { credentials_.by_session["s"] = {"user", SecretString("secret")}; }

  static RegistryOptions FastRetries() {
    RegistryOptions options;
    options.retry.first_delay = std::chrono::milliseconds(0);
    return options;
  }
  Repository Repo() { return registry_.Open(*oci::Reference::Make(fake_.host(), "me/app")); }

  static oci::Descriptor Describe(const std::string& content) {
    oci::Descriptor blob;
    blob.digest = Sha256Of(content);
    blob.size = static_cast<int64_t>(content.size());
    return blob;
  }

  FakeRegistry fake_;
  http::Library library_;
  http::Client client_{library_, {}};
  SystemClock clock_;
  FakeCredentials credentials_;
  Registry registry_{client_, clock_, &credentials_, FastRetries()};
};

TEST_F(FaultsTest, AManifestCannotSendToAnyNumberOfPlaces) {
  http::FakeServer elsewhere([](const ReceivedRequest&) { return Reply{.status = 404}; });
  oci::Descriptor blob = fake_.AddBlob("me/app", "text", std::string(oci::kOciLayer));
  blob.urls.assign(1000, elsewhere.url("/blob"));
  MemorySink sink;
  ASSERT_TRUE(Repo().FetchBlob({}, blob, sink).ok());
  EXPECT_EQ(sink.content, "text");
  EXPECT_EQ(elsewhere.Count("GET /blob"), 8);
}

TEST_F(FaultsTest, WhatARefusalSaysIsForPeople) {
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (!request.path.starts_with("/v2/")) return std::nullopt;
    return Reply{.status = 401,
                 .headers = {{"WWW-Authenticate", "Bearer realm=\"http://" + fake_.host() +
                                                      "/token\",error=\"a\x1b[2J\""}}};
  });
  const auto refused = Repo().Resolve(As("s"), "1");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().ToString().find("server message: a [2J: authorization failed"),
            std::string::npos)
      << refused.error().ToString();
}

TEST_F(FaultsTest, WhereARegistryRedirectsToMayNotAskForCredentials) {
  std::atomic<int> stolen{0};
  http::FakeServer elsewhere([&](const ReceivedRequest& request) {
    if (!request.header("Authorization").empty()) ++stolen;
    return Reply{.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}};
  });
  const auto blob = fake_.AddBlob("me/app", "content", std::string(oci::kOciLayer));
  fake_.set_auth(FakeRegistry::Auth::kBasic);
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.path.find("/blobs/") == std::string::npos) return std::nullopt;
    if (request.header("Authorization").empty()) return std::nullopt;
    return Reply{.status = 307, .headers = {{"Location", elsewhere.url("/blob")}}};
  });
  MemorySink sink;
  const Status status = Repo().FetchBlob(As("s"), blob, sink);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().ToString().find(elsewhere.host()), std::string::npos)
      << status.error().ToString();
  EXPECT_EQ(elsewhere.Count("GET /blob"), 1);
  EXPECT_EQ(stolen, 0);
}

TEST_F(FaultsTest, ErrorsWithoutEndAreCutOffAndStillSaid) {
  fake_.set_fault([&](const ReceivedRequest&) {
    // Claims more than it ever sends: only who hangs up gets away.
    return Reply{.status = 418, .body = std::string(3 * kMiB, 'x'), .claimed_length = 1LL << 40};
  });
  const auto resolved = Repo().Resolve({}, "1");
  ASSERT_FALSE(resolved.ok());
  EXPECT_NE(resolved.error().ToString().find("418"), std::string::npos)
      << resolved.error().ToString();
}

TEST_F(FaultsTest, DocumentsThatAreTooLongNameTheirUrl) {
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.method == "HEAD") return Reply{.status = 405};
    return Reply{.body = std::string(6 * kMiB, ' ')};
  });
  const auto resolved = Repo().Resolve({}, "1");
  ASSERT_FALSE(resolved.ok());
  EXPECT_NE(resolved.error().ToString().find(fake_.host() + "/v2/me/app/manifests/1: answer is "
                                                            "longer than"),
            std::string::npos)
      << resolved.error().ToString();
}

TEST_F(FaultsTest, TokenServersAreAskedAgain) {
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  std::atomic<int> faults{3};
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.path != "/token" || faults-- <= 0) return std::nullopt;
    if (faults == 2) return Reply{.hang_up = true};
    return Reply{.status = faults == 1 ? 429 : 503, .headers = {{"Retry-After", "0"}}};
  });
  const auto resolved = Repo().Resolve(As("s"), "1");
  EXPECT_TRUE(resolved.ok()) << resolved.error().ToString();
  EXPECT_EQ(fake_.tokens_issued(), 1);
}

TEST_F(FaultsTest, RetryAfterCountsOnce) {
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  RegistryOptions options;
  // Without the header it would wait for longer than a test may take.
  options.retry.first_delay = std::chrono::minutes(5);
  options.retry.max_delay = std::chrono::minutes(5);
  Registry registry(client_, clock_, nullptr, options);
  std::atomic<int> faults{2};
  fake_.set_fault([&](const ReceivedRequest&) -> std::optional<Reply> {
    if (faults-- <= 0) return std::nullopt;
    return Reply{.status = faults == 1 ? 429 : 503, .headers = {{"Retry-After", "0"}}};
  });
  const auto repo = registry.Open(*oci::Reference::Make(fake_.host(), "me/app"));
  EXPECT_TRUE(repo.Resolve({}, "1").ok());
}

TEST_F(FaultsTest, BlobsThatAreTooLargeGoInChunks) {
  const std::string content = std::string(kMiB, 'a') + std::string(kMiB, 'b') + "end";
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.body.size() <= kMiB) return std::nullopt;
    return Reply{.status = 413, .body = "<html>too large</html>"};
  });
  http::StringSource body(content);
  const auto blob = Describe(content);
  const Status status = Repo().PushBlob(As("s"), blob, body);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(fake_.Blob("me/app", blob.digest), content);
  int patches = 0;
  for (const auto& request : fake_.server().received()) patches += request.method == "PATCH";
  EXPECT_EQ(patches, 3);
}

TEST_F(FaultsTest, ChunksAreAsLongAsTheRegistryAsks) {
  const std::string content(kMiB + 7, 'a');
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.method == "PUT" && !request.body.empty()) return Reply{.status = 405};
    if (request.method != "POST") return std::nullopt;
    return Reply{.status = 202,
                 .headers = {{"Location", "/v2/me/app/blobs/uploads/u" +
                                              std::to_string(fake_.server().received().size())},
                             {"OCI-Chunk-Min-Length", std::to_string(20 * kMiB)}}};
  });
  http::StringSource body(content);
  const Status status = Repo().PushBlob({}, Describe(content), body);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(fake_.Blob("me/app", Sha256Of(content)), content);
}

TEST_F(FaultsTest, ABrokenChunkIsSentAgain) {
  const std::string content = std::string(kMiB, 'a') + std::string(kMiB, 'b');
  std::atomic<int> patches{0};
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.body.size() > kMiB) return Reply{.status = 413};
    if (request.method == "PATCH" && ++patches == 2) return Reply{.hang_up = true};
    return std::nullopt;
  });
  http::StringSource body(content);
  const Status status = Repo().PushBlob({}, Describe(content), body);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(fake_.Blob("me/app", Sha256Of(content)), content);
  EXPECT_GE(patches, 3);
}

class MirrorFaultsTest : public FaultsTest {
 protected:
  MirrorFaultsTest() {
    RegistryOptions options = FastRetries();
    options.hosts[fake_.host()].mirrors = {mirror_.host() + "/cache"};
    with_mirror_ = std::make_unique<Registry>(client_, clock_, &credentials_, options);
  }
  Repository Mirrored() {
    return with_mirror_->Open(*oci::Reference::Make(fake_.host(), "me/app"));
  }

  FakeRegistry mirror_;
  std::unique_ptr<Registry> with_mirror_;
};

// Leaves the digest to its owner, as the store does.
class TrustingSink final : public BlobSink {
 public:
  Status Write(std::string_view data) override { return inner_.Write(data); }
  uint64_t offset() const override { return inner_.offset(); }
  Status Restart() override { return inner_.Restart(); }
  bool verifies_digest() const override { return true; }
  const std::string& content() const { return inner_.content; }

 private:
  MemorySink inner_;
};

TEST_F(MirrorFaultsTest, AMirrorThatLiesIsPassedOver) {
  const auto blob = fake_.AddBlob("me/app", "content", std::string(oci::kOciLayer));
  mirror_.set_fault([](const ReceivedRequest&) { return Reply{.body = "CONTENT"}; });
  TrustingSink sink;
  const Status status = Mirrored().FetchBlob({}, blob, sink);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(sink.content(), "content");
}

TEST_F(MirrorFaultsTest, ABrokenMirrorIsNotWaitedFor) {
  const auto image =
      fake_.AddImage("me/app", "1", {"layer"}, {.os = "linux", .architecture = "amd64"});
  mirror_.set_fault([](const ReceivedRequest&) {
    return Reply{.status = 503, .headers = {{"Retry-After", "30"}}};
  });
  const auto resolved = Mirrored().Resolve({}, "1");
  ASSERT_TRUE(resolved.ok()) << resolved.error().ToString();
  EXPECT_EQ(resolved->descriptor.digest, image.digest);
  EXPECT_EQ(mirror_.server().received().size(), 1U);
}

TEST_F(MirrorFaultsTest, NotFoundSaysMoreThanNoAnswer) {
  const auto nobody = [](const ReceivedRequest&) { return Reply{.hang_up = true}; };
  const auto said = [&] { return Mirrored().Resolve({}, "none").error(); };
  EXPECT_EQ(said().ToString(), fake_.host() + "/me/app:none: not found");
  for (FakeRegistry* silent : {&mirror_, &fake_}) {
    mirror_.set_fault({});
    fake_.set_fault({});
    silent->set_fault(nobody);
    EXPECT_EQ(said().code(), Code::kNotFound);
    EXPECT_THAT(
        said().ToString(),
        testing::StartsWith(fake_.host() + "/me/app:none: not found, and there is no answer of " +
                            silent->host() + ": "));
    // Content is not gone as long as somebody who may have it does not answer.
    EXPECT_EQ(Mirrored().StatBlob({}, Sha256Of("x")).error().code(), Code::kUnavailable);
  }
  // Who answers, whatever it is, says more; who does not, is told if nobody does.
  mirror_.set_fault([](const ReceivedRequest&) { return Reply{.status = 503}; });
  fake_.set_fault({});
  EXPECT_THAT(said().ToString(), testing::HasSubstr("503 Service Unavailable"));
  mirror_.set_fault(nobody);
  fake_.set_fault(nobody);
  EXPECT_EQ(said().code(), Code::kUnavailable);
}

TEST_F(MirrorFaultsTest, WhatAMirrorBeganTheRegistryEnds) {
  const std::string content(100'000, 'x');
  const auto blob = fake_.AddBlob("me/app", content, std::string(oci::kOciLayer));
  mirror_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (!request.header("Range").empty()) return Reply{.status = 500};
    return Reply{.body = content, .cut_after = 60'000};
  });
  TrustingSink sink;
  const Status status = Mirrored().FetchBlob({}, blob, sink);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(sink.content(), content);
}

TEST_F(MirrorFaultsTest, TokensAreForTheMirrorsOwnRepository) {
  mirror_.AddImage("cache/me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  mirror_.set_auth(FakeRegistry::Auth::kBearer);
  ASSERT_TRUE(Mirrored().Resolve(As("s"), "1").ok());
  for (const auto& request : mirror_.server().received()) {
    if (request.path != "/token") continue;
    EXPECT_NE(request.query.find("scope=repository%3Acache%2Fme%2Fapp%3Apull"), std::string::npos)
        << request.query;
  }
  EXPECT_EQ(mirror_.tokens_issued(), 1);
}

TEST_F(MirrorFaultsTest, WrongContentNamesReferenceAndHost) {
  const auto image =
      fake_.AddImage("me/app", "1", {"layer"}, {.os = "linux", .architecture = "amd64"});
  for (FakeRegistry* one : {&fake_, &mirror_}) {
    one->set_fault([](const ReceivedRequest& request) -> std::optional<Reply> {
      if (request.path.find("/manifests/") == std::string::npos) return std::nullopt;
      return Reply{.body = "garbage"};
    });
  }
  oci::Descriptor wanted = image;
  wanted.size = 7;
  const auto manifest = Mirrored().FetchManifest({}, wanted);
  ASSERT_FALSE(manifest.ok());
  const std::string text = manifest.error().ToString();
  EXPECT_TRUE(text.starts_with(fake_.host() + "/me/app@" + image.digest.ToString() + " from " +
                               mirror_.host() + ": unexpected commit digest "))
      << text;
}

}  // namespace
}  // namespace kiln::registry
