#include "client/docker_config.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"

namespace kiln::client {
namespace {

// A helper that knows one login, and keeps what it was asked.
struct FakeHelper {
  std::vector<std::string> asked;
  DockerConfig::Helper Function(const std::string& host, const std::string& answer) {
    return [this, host, answer](const CancelToken&, const std::string& name,
                                const std::string& wanted) -> Result<std::string> {
      asked.push_back(name + " " + wanted);
      if (wanted != host) return NotFound("no login");
      return answer;
    };
  }
};

std::string Describe(const Result<RegistryLogin>& login) {
  if (!login.ok()) return "error: " + login.error().ToString();
  std::string out = login->username + ":" + login->secret.Reveal();
  if (!login->registry_token.empty()) out += " token " + login->registry_token.Reveal();
  return out;
}

TEST(DockerConfigTest, FindsLoginsByHostAndUrl) {
  const std::string auth = Base64Encode("me:se:cret");
  const auto config =
      DockerConfig::Parse(R"({"auths": {"plain.example:5000": {"auth": ")" + auth + R"("},
          "https://url.example/v1/": {"username": "u", "password": "p"},
          "https://index.docker.io/v1/": {"auth": ")" +
                              Base64Encode("hub:x") + R"("},
          "id.example": {"auth": ")" +
                              Base64Encode("<token>:") + R"(", "identitytoken": "idt"},
          "token.example": {"registrytoken": "bearer"},
          "empty.example": {}}})",
                          {});
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_EQ(Describe(config->Find({}, "plain.example:5000")), "me:se:cret");
  EXPECT_EQ(Describe(config->Find({}, "url.example")), "u:p");
  EXPECT_EQ(Describe(config->Find({}, "registry-1.docker.io")), "hub:x");
  EXPECT_EQ(Describe(config->Find({}, "id.example")), ":idt");
  EXPECT_EQ(Describe(config->Find({}, "token.example")), ": token bearer");
  EXPECT_EQ(Describe(config->Find({}, "empty.example")), ":");
  EXPECT_EQ(Describe(config->Find({}, "plain.example")), ":");
}

TEST(DockerConfigTest, AsksTheHelperOfTheHostThenTheStore) {
  FakeHelper helper;
  const auto config = DockerConfig::Parse(
      R"({"credsStore": "pass", "credHelpers": {"cloud.example": "cloud"},
          "auths": {"local.example": {"username": "u", "password": "p"}, "kept.example": {}}})",
      helper.Function("kept.example", R"({"ServerURL":"x","Username":"<token>","Secret":"idt"})"));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(Describe(config->Find({}, "cloud.example")), ":");
  EXPECT_EQ(Describe(config->Find({}, "kept.example")), ":idt");
  EXPECT_EQ(Describe(config->Find({}, "local.example")), "u:p");
  EXPECT_EQ(helper.asked, (std::vector<std::string>{"cloud cloud.example", "pass kept.example",
                                                    "pass local.example"}));
}

TEST(DockerConfigTest, AHelperIsGivenTheTokenThatEndsIt) {
  CancelSource cancel;
  const auto config = DockerConfig::Parse(
      R"({"credsStore": "slow"})",
      [&](const CancelToken& token, const std::string&, const std::string&) -> Result<std::string> {
        cancel.Cancel();
        TRY(token.Check());
        return "{}";
      });
  ASSERT_TRUE(config.ok());
  EXPECT_FALSE(config->Find(cancel.token(), "x.example").ok());
}

TEST(DockerConfigTest, ErrorsOfHelpersAndFilesAreSaid) {
  const auto failing = [](const CancelToken&, const std::string&,
                          const std::string&) -> Result<std::string> {
    return FailedPrecondition("locked");
  };
  const auto config = DockerConfig::Parse(R"({"credsStore": "pass"})", failing);
  EXPECT_EQ(Describe(config->Find({}, "x.example")), "error: locked");
  const auto garbage = [](const CancelToken&, const std::string&,
                          const std::string&) -> Result<std::string> {
    return std::string("secret garbage");
  };
  const auto odd = DockerConfig::Parse(R"({"credsStore": "pass"})", garbage);
  EXPECT_EQ(Describe(odd->Find({}, "x.example")),
            "error: docker-credential-pass gave no JSON object");
  EXPECT_FALSE(DockerConfig::Parse("[]", {}).ok());
  const auto bad = DockerConfig::Parse(R"({"auths": {"h": {"auth": "?"}}})", {});
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().ToString(), "auth of h is not base64 of user:password");
}

}  // namespace
}  // namespace kiln::client
