#include "registry/registry.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <atomic>

#include "oci/media_type.h"
#include "registry/testing/fake_credentials.h"
#include "registry/testing/fake_registry.h"
#include "registry/testing/memory_sink.h"

namespace kiln::registry {
namespace {

using http::ReceivedRequest;
using http::Reply;
using progress::Activity;

Activity As(const std::vector<std::string>& sessions) {
  Activity activity;
  activity.sessions = std::make_shared<progress::FixedSessions>(sessions);
  return activity;
}

class RegistryTest : public testing::Test {
 protected:
  static RegistryOptions FastRetries() {
    RegistryOptions options;
    options.retry.first_delay = std::chrono::milliseconds(0);
    return options;
  }

  Repository Repo(const std::string& path = "me/app") {
    return registry_.Open(*oci::Reference::Make(fake_.host(), path));
  }

  FakeRegistry fake_;
  http::Library library_;
  http::Client client_{library_, {}};
  SystemClock clock_;
  FakeCredentials credentials_;
  Registry registry_{client_, clock_, &credentials_, FastRetries()};
};

TEST_F(RegistryTest, ResolvesAndFetches) {
  const auto image =
      fake_.AddImage("me/app", "1", {"layer"}, {.os = "linux", .architecture = "amd64"});
  auto resolved = Repo().Resolve({}, "1");
  ASSERT_TRUE(resolved.ok()) << resolved.error().ToString();
  EXPECT_EQ(resolved->descriptor.digest, image.digest);
  EXPECT_EQ(resolved->descriptor.size, image.size);
  EXPECT_EQ(resolved->descriptor.media_type, oci::kOciManifest);
  EXPECT_FALSE(resolved->content.has_value());
  EXPECT_EQ(Repo().Resolve({}, image.digest.ToString())->descriptor.digest, image.digest);

  auto text = Repo().FetchManifest({}, resolved->descriptor);
  ASSERT_TRUE(text.ok()) << text.error().ToString();
  const auto manifest = oci::DecodeManifest(*text);
  ASSERT_TRUE(manifest.ok());
  MemorySink sink;
  ASSERT_TRUE(Repo().FetchBlob({}, manifest->layers[0], sink).ok());
  EXPECT_EQ(sink.content, "layer");
  EXPECT_TRUE(Repo().FetchSmallBlob({}, manifest->config, 1 << 20).ok());
  EXPECT_EQ(*Repo().StatBlob({}, manifest->layers[0].digest), 5);
}

// As what people write into a Dockerfile: "registry.example:443/app". The server stands for a
// proxy, since nobody can listen on that port here.
TEST_F(RegistryTest, TheDefaultPortMayBeWritten) {
  std::atomic<int> authorized{0};
  http::FakeServer proxy([&](const ReceivedRequest& request) -> Reply {
    if (request.header("Authorization") != "Basic dXNlcjpzZWNyZXQ=") {
      return {.status = 401, .headers = {{"WWW-Authenticate", "Basic realm=r"}}};
    }
    ++authorized;
    return {.status = 404};
  });
  http::ClientOptions through;
  through.proxies = http::ProxySettings(proxy.url(), "", "");
  http::Client client(library_, through);
  credentials_.by_session["s"] = {"user", SecretString("secret")};
  RegistryOptions options = FastRetries();
  for (const char* host : {"registry.example:80", "Registry.example:80", "registry.example"}) {
    authorized = 0;
    options.hosts[host].plain_http = true;
    Registry registry(client, clock_, &credentials_, options);
    const auto resolved =
        registry.Open(*oci::Reference::Make(host, "me/app")).Resolve(As({"s"}), "1");
    ASSERT_FALSE(resolved.ok());
    EXPECT_EQ(resolved.error().code(), Code::kNotFound) << resolved.error().ToString();
    EXPECT_EQ(authorized, 1) << host;
  }
}

TEST_F(RegistryTest, ANumberIsNoOtherAddress) {
  const auto port = fake_.host().substr(fake_.host().find(':'));
  for (const char* host : {"127.1", "2130706433", "0x7f.1"}) {
    const auto repository = registry_.Open(*oci::Reference::Make(host + port, "me/app"));
    const auto resolved = repository.Resolve({}, "1");
    ASSERT_FALSE(resolved.ok());
    EXPECT_NE(resolved.error().ToString().find("no such host"), std::string::npos)
        << resolved.error().ToString();
  }
  EXPECT_EQ(fake_.server().connections(), 0);
}

TEST_F(RegistryTest, TheDigestOfZerosIsAskedFor) {
  const std::string zeros = "sha256:" + std::string(64, '0');
  const auto reference = oci::Reference::ParseNormalized(fake_.host() + "/me/app@" + zeros);
  ASSERT_TRUE(reference.ok());
  EXPECT_EQ(reference->object(), zeros);
  EXPECT_EQ(reference->ToString(), fake_.host() + "/me/app@" + zeros);
  const auto resolved = registry_.Open(*reference).Resolve({}, reference->object());
  ASSERT_FALSE(resolved.ok());
  EXPECT_EQ(resolved.error().code(), Code::kNotFound);
  EXPECT_GT(fake_.server().Count("HEAD /v2/me/app/manifests/" + zeros), 0);
}

TEST_F(RegistryTest, NotFoundNamesTheReference) {
  auto resolved = Repo().Resolve({}, "nope");
  ASSERT_FALSE(resolved.ok());
  EXPECT_EQ(resolved.error().code(), Code::kNotFound);
  EXPECT_EQ(resolved.error().ToString(), fake_.host() + "/me/app:nope: not found");
}

TEST_F(RegistryTest, HashesWhenTheRegistryGivesNoDigest) {
  const auto image = fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.path.find("/manifests/") == std::string::npos) return std::nullopt;
    return Reply{.headers = {{"Content-Type", "application/octet-stream"}},
                 .body = *fake_.Manifest("me/app", "1")};
  });
  auto resolved = Repo().Resolve({}, "1");
  ASSERT_TRUE(resolved.ok()) << resolved.error().ToString();
  EXPECT_EQ(resolved->descriptor.digest, image.digest);
  EXPECT_EQ(resolved->descriptor.media_type, oci::kOciManifest);
  EXPECT_TRUE(resolved->content.has_value());
}

TEST_F(RegistryTest, ResumesBrokenDownloads) {
  const std::string content(300'000, 'x');
  const auto blob = fake_.AddBlob("me/app", content, std::string(oci::kOciLayer));
  std::atomic<int> cuts{0};
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.path.find("/blobs/") == std::string::npos || cuts >= 5) return std::nullopt;
    ++cuts;
    const std::string range = request.header("Range");
    const size_t start = range.empty() ? 0 : std::stoul(range.substr(6));
    Reply reply{
        .status = start == 0 ? 200 : 206, .body = content.substr(start), .cut_after = 50'000};
    if (start > 0) {
      reply.headers = {{"Content-Range", "bytes " + std::to_string(start) + "-299999/300000"}};
    }
    return reply;
  });
  MemorySink sink;
  const Status status = Repo().FetchBlob({}, blob, sink);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(sink.content, content);
  EXPECT_EQ(sink.restarts, 0);
  EXPECT_EQ(cuts, 5);
}

TEST_F(RegistryTest, SkipsWhatItHasWhenRangeIsIgnored) {
  const std::string content = "0123456789";
  const auto blob = fake_.AddBlob("me/app", content, std::string(oci::kOciLayer));
  std::atomic<bool> cut{true};
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.path.find("/blobs/") == std::string::npos) return std::nullopt;
    if (cut.exchange(false)) return Reply{.body = content, .cut_after = 4};
    return Reply{.body = content};
  });
  MemorySink sink;
  ASSERT_TRUE(Repo().FetchBlob({}, blob, sink).ok());
  EXPECT_EQ(sink.content, content);
}

TEST_F(RegistryTest, RetriesServerErrorsAndSaysSo) {
  class LogSink final : public progress::Sink {
   public:
    void OnVertex(const progress::Vertex&) override {}
    void OnStatus(const progress::VertexStatus&) override {}
    void OnLog(const progress::VertexLog& log) override { text += log.data; }
    void OnWarning(const progress::VertexWarning&) override {}
    std::string text;
  };
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  std::atomic<int> failures{3};
  fake_.set_fault([&](const ReceivedRequest&) -> std::optional<Reply> {
    if (failures-- > 0) return Reply{.status = 503};
    return std::nullopt;
  });
  Activity activity;
  const auto log = std::make_shared<LogSink>();
  activity.sink = log;
  EXPECT_TRUE(Repo().Resolve(activity, "1").ok());
  EXPECT_NE(log->text.find("503 Service Unavailable"), std::string::npos);
  EXPECT_NE(log->text.find("retrying in 0s"), std::string::npos);
  failures = 100;
  auto resolved = Repo().Resolve(activity, "1");
  ASSERT_FALSE(resolved.ok());
  EXPECT_NE(resolved.error().ToString().find("unexpected status from HEAD request to http://"),
            std::string::npos);
}

TEST_F(RegistryTest, HostileAnswersGiveClearErrors) {
  const auto blob = fake_.AddBlob("me/app", "content", std::string(oci::kOciLayer));
  const auto fetch_with = [&](Reply reply) {
    fake_.set_fault([reply](const ReceivedRequest&) { return reply; });
    MemorySink sink;
    const Status status = Repo().FetchBlob({}, blob, sink);
    return status.ok() ? std::string() : status.error().ToString();
  };
  EXPECT_NE(fetch_with({.body = "CONTENT"}).find("unexpected commit digest"), std::string::npos);
  EXPECT_NE(fetch_with({.body = "short"}).find("unexpected commit size 5, expected 7"),
            std::string::npos);
  EXPECT_NE(fetch_with({.body = "longer than promised"}).find("unexpected commit size"),
            std::string::npos);
  EXPECT_NE(fetch_with({.status = 302, .headers = {{"Location", "/x"}}}).find("stopped after"),
            std::string::npos);
  EXPECT_NE(fetch_with({.status = 404}).find("not found"), std::string::npos);
  EXPECT_NE(fetch_with({.hang_up = true}), "");
  EXPECT_NE(fetch_with({.headers = {{"Content-Encoding", "br"}}, .body = "content"})
                .find("Content-Encoding"),
            std::string::npos);

  const auto resolve_with = [&](Reply reply) {
    fake_.set_fault([reply](const ReceivedRequest&) { return reply; });
    auto resolved = Repo().Resolve({}, "1");
    return resolved.ok() ? std::string() : resolved.error().ToString();
  };
  EXPECT_NE(resolve_with({.body = "not json"}).find("not valid JSON"), std::string::npos);
  EXPECT_NE(resolve_with({.headers = {{"Content-Type", "text/plain"}}, .body = "x"})
                .find("schema 1 has been removed"),
            std::string::npos);
  EXPECT_NE(resolve_with({.body = std::string(5 << 20, ' ')}).find("longer than"),
            std::string::npos);
  EXPECT_NE(resolve_with({.headers = {{"Content-Type", std::string(oci::kOciManifest)},
                                      {"Docker-Content-Digest", Sha256Of("x").ToString()}},
                          .body = std::string(5 << 20, ' ')})
                .find("larger than"),
            std::string::npos);
  EXPECT_NE(resolve_with({.raw = "SSH-2.0-OpenSSH\r\n"}), "");

  fake_.set_fault([&](const ReceivedRequest&) {
    return Reply{.headers = {{"Content-Type", std::string(oci::kOciManifest)},
                             {"Docker-Content-Digest", Sha256Of("other").ToString()}},
                 .body = "{}"};
  });
  auto resolved = Repo().Resolve({}, Sha256Of("wanted").ToString());
  ASSERT_FALSE(resolved.ok());
  EXPECT_NE(resolved.error().ToString().find("unexpected commit digest"), std::string::npos);
}

TEST_F(RegistryTest, DeniedAccessHasUpstreamsWords) {
  fake_.set_auth(FakeRegistry::Auth::kBasic);
  auto resolved = Repo().Resolve({}, "1");
  ASSERT_FALSE(resolved.ok());
  EXPECT_EQ(resolved.error().ToString(),
            "pull access denied, repository does not exist or may require authorization: "
            "authorization failed: no basic auth credentials");
  fake_.set_auth(FakeRegistry::Auth::kNone);
  fake_.set_fault([](const ReceivedRequest&) {
    return Reply{.status = 403, .body = R"({"errors":[{"code":"DENIED"}]})"};
  });
  resolved = Repo().Resolve({}, "1");
  EXPECT_EQ(resolved.error().ToString(),
            "pull access denied, repository does not exist or may require authorization: "
            "server message: denied: authorization failed");
}

TEST_F(RegistryTest, UsesBasicCredentialsOfAnySession) {
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.set_auth(FakeRegistry::Auth::kBasic);
  credentials_.by_session["wrong"] = {"user", SecretString("guess")};
  credentials_.by_session["right"] = {"user", SecretString("secret")};
  EXPECT_FALSE(Repo().Resolve(As({"wrong"}), "1").ok());
  auto resolved = Repo().Resolve(As({"gone", "wrong", "right"}), "1");
  EXPECT_TRUE(resolved.ok()) << resolved.error().ToString();
}

TEST_F(RegistryTest, FetchesTokensOnceAndRenewsThem) {
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  credentials_.by_session["s"] = {"user", SecretString("secret")};
  for (int i = 0; i < 3; ++i) {
    auto resolved = Repo().Resolve(As({"s"}), "1");
    ASSERT_TRUE(resolved.ok()) << resolved.error().ToString();
  }
  EXPECT_EQ(fake_.tokens_issued(), 1);
  EXPECT_EQ(credentials_.asked, 1);
  fake_.RevokeTokens();
  EXPECT_TRUE(Repo().Resolve(As({"s"}), "1").ok());
  EXPECT_EQ(fake_.tokens_issued(), 2);
  for (const auto& request : fake_.server().received()) {
    if (request.path == "/token") {
      EXPECT_NE(request.query.find("scope=repository%3Ame%2Fapp%3Apull"), std::string::npos)
          << request.query;
      EXPECT_NE(request.query.find("service=fake"), std::string::npos);
    }
  }
}

TEST_F(RegistryTest, SessionsShareTokensOnlyAfterProof) {
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  credentials_.by_session["a"] = {"user", SecretString("secret")};
  credentials_.by_session["same"] = {"user", SecretString("secret")};
  credentials_.by_session["other"] = {"user", SecretString("guess")};
  ASSERT_TRUE(Repo().Resolve(As({"a"}), "1").ok());
  ASSERT_TRUE(Repo().Resolve(As({"same"}), "1").ok());
  EXPECT_EQ(fake_.tokens_issued(), 1);
  auto resolved = Repo().Resolve(As({"other"}), "1");
  ASSERT_FALSE(resolved.ok());
  EXPECT_NE(resolved.error().ToString().find("failed to authorize: failed to fetch oauth token"),
            std::string::npos)
      << resolved.error().ToString();
}

TEST_F(RegistryTest, ClientsFetchAndProveTokens) {
  fake_.AddImage("me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  TokenAuthorityKey public_key{};
  size_t size = public_key.size();
  ASSERT_EQ(EVP_PKEY_get_raw_public_key(key, public_key.data(), &size), 1);
  credentials_.authority = [&](const std::string&) { return std::optional(public_key); };
  std::atomic<int> fetched{0};
  credentials_.fetch = [&](const std::string&, const TokenRequest& request) -> Result<Token> {
    ++fetched;
    EXPECT_EQ(request.service, "fake");
    EXPECT_EQ(request.scopes, std::vector<std::string>{"repository:me/app:pull"});
    http::Request get;
    get.url = request.realm;
    TRY(client_.Send(get));
    return Token{.token = SecretString("good-" + std::to_string(fake_.tokens_issued()))};
  };
  credentials_.verify = [&](const std::string& session,
                            std::string_view payload) -> Result<std::string> {
    std::string signature(64, '\0');
    size_t length = signature.size();
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestSignInit(context, nullptr, nullptr, nullptr, key);
    EVP_DigestSign(context, reinterpret_cast<unsigned char*>(signature.data()), &length,
                   reinterpret_cast<const unsigned char*>(payload.data()), payload.size());
    EVP_MD_CTX_free(context);
    if (session == "liar") signature[0] = static_cast<char>(signature[0] ^ 1);
    return signature + std::string(payload);
  };
  ASSERT_TRUE(Repo().Resolve(As({"a"}), "1").ok());
  ASSERT_TRUE(Repo().Resolve(As({"b"}), "1").ok());
  EXPECT_EQ(fetched, 1);
  ASSERT_TRUE(Repo().Resolve(As({"liar"}), "1").ok());
  EXPECT_EQ(fetched, 2);
  EVP_PKEY_free(key);
}

TEST_F(RegistryTest, EndlessChallengesEnd) {
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.path == "/token") return Reply{.body = R"({"access_token":"t"})"};
    return Reply{.status = 401,
                 .headers = {{"WWW-Authenticate", "Bearer realm=\"" + fake_.server().url("/token") +
                                                      "\",error=\"insufficient_scope\""}}};
  });
  auto resolved = Repo().Resolve({}, "1");
  ASSERT_FALSE(resolved.ok());
  EXPECT_EQ(resolved.error().ToString(),
            "pull access denied, repository does not exist or may require authorization: "
            "server message: insufficient_scope: authorization failed");
  EXPECT_LT(fake_.server().received().size(), 10U);
}

TEST_F(RegistryTest, PushesOnceAndMounts) {
  credentials_.by_session["s"] = {"user", SecretString("secret")};
  fake_.set_auth(FakeRegistry::Auth::kBearer);
  const std::string content(200'000, 'z');
  oci::Descriptor blob;
  blob.digest = Sha256Of(content);
  blob.size = static_cast<int64_t>(content.size());
  http::StringSource body(content);
  Status status = Repo().PushBlob(As({"s"}), blob, body);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(fake_.Blob("me/app", blob.digest), content);

  const auto before = fake_.server().received().size();
  ASSERT_TRUE(Repo().PushBlob(As({"s"}), blob, body).ok());
  EXPECT_EQ(fake_.server().received().size(), before + 1);

  status = Repo("me/other").PushBlob(As({"s"}), blob, body, {"x/y", "me/app"});
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(fake_.Blob("me/other", blob.digest), content);
  EXPECT_EQ(fake_.server().received().back().method, "POST");
  ASSERT_TRUE(Repo("me/third").PushBlob(As({"s"}), blob, body, {"not/there"}).ok());
  EXPECT_EQ(fake_.Blob("me/third", blob.digest), content);
}

TEST_F(RegistryTest, PushSurvivesABrokenUpload) {
  std::atomic<int> breaks{2};
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.method != "PUT" || breaks-- <= 0) return std::nullopt;
    return Reply{.hang_up = true};
  });
  oci::Descriptor blob;
  blob.digest = Sha256Of("blob");
  blob.size = 4;
  http::StringSource body("blob");
  const Status status = Repo().PushBlob({}, blob, body);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(fake_.Blob("me/app", blob.digest), "blob");
}

TEST_F(RegistryTest, PushesManifestsByTagAndDigest) {
  const std::string text = R"({"schemaVersion":2,"config":{}})";
  oci::Descriptor manifest;
  manifest.media_type = oci::kOciManifest;
  manifest.digest = Sha256Of(text);
  manifest.size = static_cast<int64_t>(text.size());
  ASSERT_TRUE(Repo().PushManifest({}, manifest, text, "v1").ok());
  EXPECT_EQ(fake_.Manifest("me/app", "v1"), text);
  ASSERT_TRUE(Repo("me/b").PushManifest({}, manifest, text, "").ok());
  EXPECT_EQ(fake_.Manifest("me/b", manifest.digest.ToString()), text);
  const auto puts = fake_.server().Count("PUT /v2/me/app/manifests/v1");
  ASSERT_TRUE(Repo().PushManifest({}, manifest, text, "v1").ok());
  EXPECT_EQ(fake_.server().Count("PUT /v2/me/app/manifests/v1"), puts);
  EXPECT_FALSE(Repo().PushManifest({}, manifest, text + " ", "v1").ok());
}

TEST_F(RegistryTest, UploadLocationElsewhereGetsNoCredentials) {
  http::FakeServer storage([](const ReceivedRequest& request) {
    return Reply{.status = request.header("Authorization").empty() ? 201 : 500};
  });
  credentials_.by_session["s"] = {"user", SecretString("secret")};
  fake_.set_auth(FakeRegistry::Auth::kBasic);
  fake_.set_fault([&](const ReceivedRequest& request) -> std::optional<Reply> {
    if (request.method != "POST" || request.header("Authorization").empty()) return std::nullopt;
    return Reply{.status = 202, .headers = {{"Location", storage.url("/up?sig=1")}}};
  });
  oci::Descriptor blob;
  blob.digest = Sha256Of("blob");
  blob.size = 4;
  http::StringSource body("blob");
  const Status status = Repo().PushBlob(As({"s"}), blob, body);
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_EQ(storage.Count("PUT /up"), 1);
}

TEST_F(RegistryTest, MirrorsAreAskedFirst) {
  FakeRegistry mirror;
  const auto image =
      mirror.AddImage("cache/me/app", "1", {}, {.os = "linux", .architecture = "amd64"});
  fake_.AddImage("me/app", "2", {"x"}, {.os = "linux", .architecture = "amd64"});
  RegistryOptions options = FastRetries();
  options.hosts[fake_.host()].mirrors = {mirror.host() + "/cache"};
  Registry registry(client_, clock_, nullptr, options);
  const Repository repo = registry.Open(*oci::Reference::Make(fake_.host(), "me/app"));
  EXPECT_EQ(repo.Resolve({}, "1")->descriptor.digest, image.digest);
  EXPECT_TRUE(fake_.server().received().empty());
  EXPECT_TRUE(mirror.server().received()[0].query.starts_with("ns=127.0.0.1"));
  EXPECT_TRUE(repo.Resolve({}, "2").ok());
}

TEST(HostsTest, FollowConfigurationAndHost) {
  const auto endpoints = EndpointsOf({}, "example.com", Purpose::kPush, true);
  EXPECT_EQ(endpoints->front().schemes, (std::vector<std::string>{"https", "http"}));
  EXPECT_FALSE(endpoints->front().tls.verify);
  EXPECT_EQ(EndpointsOf({}, "example.com", Purpose::kPull, false)->front().schemes,
            std::vector<std::string>{"https"});
  EXPECT_EQ(EndpointsOf({}, "docker.io", Purpose::kPull, false)->front().host,
            "registry-1.docker.io");
  EXPECT_EQ(EndpointsOf({}, "localhost:5000", Purpose::kPull, false)->front().schemes.front(),
            "http");
}

TEST_F(RegistryTest, ReferrersComeFromApiOrTag) {
  const Digest subject = Sha256Of("subject");
  EXPECT_TRUE(Repo().Referrers({}, subject)->manifests.empty());
  fake_.AddManifest("me/app", "sha256-" + subject.hex(),
                    R"({"schemaVersion":2,"manifests":[{"mediaType":"x","digest":")" +
                        subject.ToString() + R"(","size":1}]})",
                    std::string(oci::kOciIndex));
  EXPECT_EQ(Repo().Referrers({}, subject)->manifests.size(), 1U);
}

TEST_F(RegistryTest, ForeignUrlsAreTriedFirst) {
  http::FakeServer elsewhere([](const ReceivedRequest&) { return Reply{.body = "foreign"}; });
  oci::Descriptor blob;
  blob.digest = Sha256Of("foreign");
  blob.size = 7;
  blob.urls = {"ftp://x/", elsewhere.url("/a")};
  MemorySink sink;
  ASSERT_TRUE(Repo().FetchBlob({}, blob, sink).ok());
  EXPECT_EQ(sink.content, "foreign");
  EXPECT_TRUE(fake_.server().received().empty());
}

}  // namespace
}  // namespace kiln::registry
