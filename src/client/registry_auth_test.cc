#include "client/registry_auth.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fd.h"

namespace kiln::client {
namespace {

namespace pb = moby::filesync::v1;

class AuthServiceTest : public testing::Test {
 protected:
  AuthServiceTest() : folder_(testing::TempDir() + "/auth.XXXXXX") {
    EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
    EXPECT_TRUE(
        WriteFileAtomically(folder_ + "/config.json",
                            R"({"auths": {"r.example": {"username": "me", "password": "secret"}}})")
            .ok());
  }
  ~AuthServiceTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<AuthService> Make() {
    const TokenFetcher fetch = [](const progress::Activity&, const WantedToken& wanted,
                                  const RegistryLogin& login) -> Result<FetchedToken> {
      return FetchedToken{.token = SecretString(login.username + "@" + wanted.host + " " +
                                                wanted.realm + " " + wanted.scopes.at(0)),
                          .expires_in = std::chrono::seconds(300)};
    };
    return std::make_unique<AuthService>(DockerConfig::Load(folder_, {}).value(), fetch, activity_);
  }

  static std::string KeyOf(AuthService& service, const std::string& host, const std::string& salt) {
    pb::GetTokenAuthorityRequest request;
    pb::GetTokenAuthorityResponse response;
    request.set_host(host);
    request.set_salt(salt);
    EXPECT_TRUE(service.GetTokenAuthority(nullptr, &request, &response).ok());
    return response.publickey();
  }

  static bool Proves(AuthService& service, const std::string& key) {
    pb::VerifyTokenAuthorityRequest request;
    pb::VerifyTokenAuthorityResponse response;
    request.set_host("r.example");
    request.set_salt("salt");
    request.set_payload("payload");
    EXPECT_TRUE(service.VerifyTokenAuthority(nullptr, &request, &response).ok());
    const std::string& signed_message = response.signed_();
    if (signed_message.size() != 64 + 7 || !signed_message.ends_with("payload")) return false;
    const auto* bytes = reinterpret_cast<const unsigned char*>(signed_message.data());
    EVP_PKEY* pkey = EVP_PKEY_new_raw_public_key(
        EVP_PKEY_ED25519, nullptr, reinterpret_cast<const unsigned char*>(key.data()), key.size());
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, pkey);
    const bool good = EVP_DigestVerify(context, bytes, 64, bytes + 64, 7) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return good;
  }

  std::string folder_;
  progress::Activity activity_;
};

TEST_F(AuthServiceTest, BuildsOfOneUserProveToBeTheirs) {
  const std::string key = KeyOf(*Make(), "r.example", "salt");
  EXPECT_EQ(key.size(), 32U);
  EXPECT_TRUE(Proves(*Make(), key));
  // Not those of somebody else, who has another seed.
  std::filesystem::remove(folder_ + "/.token_seed");
  EXPECT_FALSE(Proves(*Make(), key));
}

TEST_F(AuthServiceTest, KeysDifferByDaemonAndAnonymousOnesDoNotByUser) {
  const auto service = Make();
  EXPECT_NE(KeyOf(*service, "r.example", "salt"), KeyOf(*service, "r.example", "other"));
  const std::string anonymous = KeyOf(*service, "elsewhere.example", "salt");
  std::filesystem::remove(folder_ + "/.token_seed");
  EXPECT_EQ(KeyOf(*Make(), "elsewhere.example", "salt"), anonymous);
}

TEST_F(AuthServiceTest, TheSeedIsKeptFromOthers) {
  KeyOf(*Make(), "r.example", "salt");
  struct stat st;
  ASSERT_EQ(::stat((folder_ + "/.token_seed").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
}

TEST_F(AuthServiceTest, FetchesTokensWithTheLoginOfTheHost) {
  pb::FetchTokenRequest request;
  pb::FetchTokenResponse response;
  request.set_host("r.example");
  request.set_realm("https://auth.example");
  request.add_scopes("repository:a:pull");
  ASSERT_TRUE(Make()->FetchToken(nullptr, &request, &response).ok());
  EXPECT_EQ(response.token(), "me@r.example https://auth.example repository:a:pull");
  EXPECT_EQ(response.expiresin(), 300);
}

TEST_F(AuthServiceTest, WithoutAFetcherThereAreOnlyPasswords) {
  AuthService service(DockerConfig::Load(folder_, {}).value(), {}, activity_);
  EXPECT_FALSE(service.offers_tokens());
  pb::GetTokenAuthorityRequest request;
  pb::GetTokenAuthorityResponse response;
  EXPECT_EQ(service.GetTokenAuthority(nullptr, &request, &response).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  pb::CredentialsRequest asked;
  pb::CredentialsResponse given;
  asked.set_host("r.example");
  ASSERT_TRUE(service.Credentials(nullptr, &asked, &given).ok());
  EXPECT_EQ(given.username() + ":" + given.secret(), "me:secret");
}

}  // namespace
}  // namespace kiln::client
