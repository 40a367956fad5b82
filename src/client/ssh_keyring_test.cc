#include "client/ssh_keyring.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <filesystem>

#include "base/fd.h"
#include "base/ids.h"
#include "base/strings.h"
#include "client/ssh_key.h"

namespace kiln::client {
namespace {

// Made by `ssh-keygen -t ed25519` for this test; opens nothing.
constexpr const char* kEd25519 =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n"
    "QyNTUxOQAAACBUbAajKZhHGcnI1vyi6QZRjX22QJZnBvqrRys8mH2+KwAAAIg2pSwfNqUs\n"
    "HwAAAAtzc2gtZWQyNTUxOQAAACBUbAajKZhHGcnI1vyi6QZRjX22QJZnBvqrRys8mH2+Kw\n"
    "AAAED2AIqDoTjqg6qOzXlnTl+XYO6i3f186PNo7brppwZPTVRsBqMpmEcZycjW/KLpBlGN\n"
    "fbZAlmcG+qtHKzyYfb4rAAAABHRlc3QB\n"
    "-----END OPENSSH PRIVATE KEY-----\n";
constexpr const char* kEd25519Public =
    "AAAAC3NzaC1lZDI1NTE5AAAAIFRsBqMpmEcZycjW/KLpBlGNfbZAlmcG+qtHKzyYfb4r";
constexpr const char* kEncrypted =
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABDTsf6YUr\n"
    "qA3und33x99OmpAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIKnA251R9vVrxwBG\n"
    "OK4GxnlgiIIiOCFAaNsgACanDW3yAAAAkFUaJI7RlB3MeG1dSVd8C4MCi8OghTEoRbyK7A\n"
    "odRHpQMEUn+Xb7Qpo/XzNeAXGw+nJxrfqP7FHfkFju+wnfRzJcr4hM2YuHdS3+nZjTDENq\n"
    "FXGU/35kl077RD0jOf/e6Sp6IHEf8eEFG4yPoUn6iOfMxFs3AJ/HJQ9G7oYe6JMebxxnI5\n"
    "jRImuonWzfI9wIww==\n"
    "-----END OPENSSH PRIVATE KEY-----\n";

std::string PemOf(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  EXPECT_EQ(PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

class SshKeyringTest : public testing::Test {
 protected:
  Result<std::shared_ptr<const SshKeyring>> Load(const std::vector<std::string>& texts) {
    std::vector<std::string> paths;
    for (const std::string& text : texts) {
      paths.push_back(testing::TempDir() + "/key-" + NewId());
      EXPECT_TRUE(WriteFileAtomically(paths.back(), text, 0600).ok());
    }
    auto keyring = SshKeyring::Load(paths);
    for (const std::string& path : paths) std::filesystem::remove(path);
    return keyring;
  }
};

std::vector<std::string> BlobsOf(const SshKeyring& keyring) {
  const std::string answer = keyring.Answer("\x0b");
  SshReader reader(answer);
  EXPECT_EQ(reader.Byte(), 12);
  const uint32_t count = reader.Uint32().value_or(0);
  std::vector<std::string> blobs;
  for (uint32_t i = 0; i < count; ++i) {
    blobs.emplace_back(reader.String().value_or(""));
    reader.String();
  }
  return blobs;
}

std::string SignRequest(const std::string& blob, std::string_view data, uint32_t flags) {
  std::string request = "\x0d";
  PutString(blob, &request);
  PutString(data, &request);
  PutUint32(flags, &request);
  return request;
}

TEST_F(SshKeyringTest, ListsAKeyOfOpensshAndSignsWithIt) {
  auto keyring = Load({kEd25519});
  ASSERT_TRUE(keyring.ok()) << keyring.error().ToString();
  const auto blobs = BlobsOf(**keyring);
  ASSERT_EQ(blobs.size(), 1U);
  EXPECT_EQ(Base64Encode(blobs[0]), kEd25519Public);
  const std::string answer = (*keyring)->Answer(SignRequest(blobs[0], "data", 0));
  SshReader reader(answer);
  EXPECT_EQ(reader.Byte(), 14);
  SshReader signature(reader.String().value_or(""));
  EXPECT_EQ(signature.String(), "ssh-ed25519");
  EXPECT_EQ(signature.String().value_or("").size(), 64U);
}

TEST_F(SshKeyringTest, TakesPemAndChoosesTheHashByFlags) {
  const Pkey rsa(EVP_RSA_gen(2048));
  const Pkey ec(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384"));
  auto keyring = Load({PemOf(rsa.get()), PemOf(ec.get())});
  ASSERT_TRUE(keyring.ok()) << keyring.error().ToString();
  const auto blobs = BlobsOf(**keyring);
  ASSERT_EQ(blobs.size(), 2U);
  const std::pair<uint32_t, const char*> kCases[] = {
      {0, "ssh-rsa"}, {2, "rsa-sha2-256"}, {4, "rsa-sha2-512"}};
  for (const auto& [flags, name] : kCases) {
    const std::string answer = (*keyring)->Answer(SignRequest(blobs[0], "data", flags));
    SshReader reader(std::string_view(answer).substr(1));
    SshReader signature(reader.String().value_or(""));
    EXPECT_EQ(signature.String(), name);
  }
  const std::string answer = (*keyring)->Answer(SignRequest(blobs[1], "data", 0));
  SshReader reader(std::string_view(answer).substr(1));
  SshReader signature(reader.String().value_or(""));
  EXPECT_EQ(signature.String(), "ecdsa-sha2-nistp384");
}

TEST_F(SshKeyringTest, RefusesWhatItDoesNotServe) {
  auto keyring = Load({kEd25519});
  ASSERT_TRUE(keyring.ok());
  for (const std::string& request : {std::string(), std::string("\x0d"), std::string("\x11"),
                                     std::string("\x13"), SignRequest("other", "data", 0)}) {
    EXPECT_EQ((*keyring)->Answer(request), "\x05");
  }
}

TEST_F(SshKeyringTest, RefusesKeysThatItCannotRead) {
  const std::pair<std::string, std::string> kCases[] = {
      {kEncrypted, "passphrase"},
      {"hello", "not a private key"},
      {std::string(kEd25519).substr(0, 120), "malformed"},
      {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
       "malformed"},
  };
  for (const auto& [text, word] : kCases) {
    auto keyring = Load({text});
    ASSERT_FALSE(keyring.ok());
    EXPECT_NE(keyring.error().ToString().find(word), std::string::npos)
        << keyring.error().ToString();
  }
}

TEST_F(SshKeyringTest, CutsTheStreamIntoRequests) {
  auto keyring = Load({kEd25519});
  ASSERT_TRUE(keyring.ok());
  SshAgentStream stream(*keyring);
  std::string bytes;
  PutString("\x0b", &bytes);
  PutString("\x11", &bytes);
  std::string answers;
  for (const char c : bytes) {
    auto fed = stream.Feed({&c, 1});
    ASSERT_TRUE(fed.ok());
    answers += *fed;
  }
  SshReader reader(answers);
  EXPECT_EQ(reader.String().value_or("")[0], 12);
  EXPECT_EQ(reader.String(), "\x05");
  EXPECT_FALSE(stream.Feed("\xff\xff\xff\xff").ok());
}

}  // namespace
}  // namespace kiln::client
