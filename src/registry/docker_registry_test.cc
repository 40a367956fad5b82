// Against Debian's docker-registry. Skipped where it is not installed.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "base/ids.h"
#include "oci/media_type.h"
#include "registry/registry.h"
#include "registry/testing/fake_credentials.h"
#include "registry/testing/memory_sink.h"

namespace kiln::registry {
namespace {

constexpr char kProgram[] = "/usr/bin/docker-registry";

// A docker-registry on a free port with its storage in a temporary folder.
class Daemon {
 public:
  explicit Daemon(const std::string& more_config)
      : folder_(std::filesystem::temp_directory_path() / ("kiln-registry-" + NewId())) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "config.yml")
        << "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: "
        << folder_.string() << "/data}}\n"
        << (more_config.starts_with("http:") ? "" : "http: {addr: '127.0.0.1:0', secret: x}\n")
        << more_config;
    auto pipe = Pipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe->second.get(), 2);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    const std::string config = folder_ / "config.yml";
    const char* arguments[] = {kProgram, "serve", config.c_str(), nullptr};
    posix_spawn(&pid_, kProgram, &actions, nullptr, const_cast<char**>(arguments), environ);
    posix_spawn_file_actions_destroy(&actions);
    pipe->second.Reset();
    log_ = std::move(pipe->first);
    FindPort();
  }
  ~Daemon() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  std::string host() const { return "127.0.0.1:" + port_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  void FindPort() {
    std::string text;
    char chunk[4096];
    const std::string mark = "listening on 127.0.0.1:";
    while (port_.empty()) {
      auto count = ReadSome(log_.get(), chunk, sizeof chunk);
      if (!count.ok() || *count == 0) return;
      text.append(chunk, *count);
      const size_t at = text.find(mark);
      const size_t end =
          text.find_first_not_of("0123456789", at == std::string::npos ? at : at + mark.size());
      if (at != std::string::npos && end != std::string::npos) {
        port_ = text.substr(at + mark.size(), end - at - mark.size());
      }
    }
  }

  std::filesystem::path folder_;
  pid_t pid_ = -1;
  Fd log_;
  std::string port_;
};

class DockerRegistryTest : public testing::Test {
 protected:
  void SetUp() override {
    if (access(kProgram, X_OK) != 0) GTEST_SKIP() << "docker-registry is not installed";
  }

  http::Library library_;
  http::Client client_{library_, {}};
  SystemClock clock_;
  FakeCredentials credentials_;
  Registry registry_{client_, clock_, &credentials_, {}};
};

oci::Descriptor Describe(const std::string& content, std::string_view media_type) {
  oci::Descriptor descriptor;
  descriptor.media_type = media_type;
  descriptor.digest = Sha256Of(content);
  descriptor.size = static_cast<int64_t>(content.size());
  return descriptor;
}

// Pushes a small image and reads it back.
void RoundTrip(const Repository& repo, const progress::Activity& activity) {
  const std::string layer(3 << 20, 'L');
  const std::string config = R"({"architecture":"amd64","os":"linux"})";
  oci::Manifest manifest;
  manifest.media_type = oci::kOciManifest;
  manifest.config = Describe(config, oci::kOciConfig);
  manifest.layers = {Describe(layer, oci::kOciLayer)};
  for (const auto& [descriptor, content] :
       {std::pair{manifest.layers[0], layer}, std::pair{manifest.config, config}}) {
    http::StringSource body(content);
    const Status status = repo.PushBlob(activity, descriptor, body);
    ASSERT_TRUE(status.ok()) << status.error().ToString();
  }
  const std::string text = oci::Encode(manifest);
  const Status pushed = repo.PushManifest(activity, Describe(text, oci::kOciManifest), text, "v1");
  ASSERT_TRUE(pushed.ok()) << pushed.error().ToString();

  auto resolved = repo.Resolve(activity, "v1");
  ASSERT_TRUE(resolved.ok()) << resolved.error().ToString();
  EXPECT_EQ(resolved->descriptor.digest, Sha256Of(text));
  EXPECT_EQ(*repo.FetchManifest(activity, resolved->descriptor), text);
  MemorySink sink;
  const Status fetched = repo.FetchBlob(activity, manifest.layers[0], sink);
  ASSERT_TRUE(fetched.ok()) << fetched.error().ToString();
  EXPECT_EQ(sink.content, layer);
}

TEST_F(DockerRegistryTest, PushesPullsAndMounts) {
  Daemon daemon("");
  const Repository repo = registry_.Open(*oci::Reference::Make(daemon.host(), "a/b"));
  RoundTrip(repo, {});
  auto missing = repo.Resolve({}, "v2");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), Code::kNotFound);
  const std::string layer(3 << 20, 'L');
  http::StringSource body(layer);
  const Repository other = registry_.Open(*oci::Reference::Make(daemon.host(), "a/c"));
  const Status mounted = other.PushBlob({}, Describe(layer, oci::kOciLayer), body, {"a/b"});
  ASSERT_TRUE(mounted.ok()) << mounted.error().ToString();
  EXPECT_EQ(*other.StatBlob({}, Sha256Of(layer)), 3 << 20);
}

TEST_F(DockerRegistryTest, InsecureUseFallsBackToPlainHttp) {
  Daemon daemon("");
  RoundTrip(registry_.Open(*oci::Reference::Make(daemon.host(), "a/b"), {.insecure = true}), {});
}

TEST_F(DockerRegistryTest, LoopbackMaySpeakTlsThatNobodySigned) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("kiln-cert-" + NewId());
  std::filesystem::create_directories(folder);
  const std::string make =
      "openssl req -x509 -newkey ed25519 -nodes -subj /CN=localhost -days 1 "
      "-addext subjectAltName=IP:127.0.0.1 -keyout " +
      (folder / "key.pem").string() + " -out " + (folder / "cert.pem").string() + " 2>/dev/null";
  ASSERT_EQ(std::system(make.c_str()), 0);  // NOLINT(bugprone-command-processor): words of our own
  Daemon secure("http: {addr: '127.0.0.1:0', secret: x, tls: {certificate: " +
                (folder / "cert.pem").string() + ", key: " + (folder / "key.pem").string() +
                "}}\n");
  RoundTrip(registry_.Open(*oci::Reference::Make(secure.host(), "a/b")), {});
  // Listed without a CA the certificate counts for nothing; with it all is well.
  RegistryOptions options;
  options.hosts[secure.host()].plain_http = false;
  Registry strict(client_, clock_, nullptr, options);
  auto refused = strict.Open(*oci::Reference::Make(secure.host(), "a/b")).Resolve({}, "v1");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().ToString().find("certificate"), std::string::npos)
      << refused.error().ToString();
  options.hosts[secure.host()].ca_files = {(folder / "cert.pem").string()};
  Registry trusting(client_, clock_, nullptr, options);
  auto trusted = trusting.Open(*oci::Reference::Make(secure.host(), "a/b")).Resolve({}, "v1");
  EXPECT_TRUE(trusted.ok()) << trusted.error().ToString();
  std::filesystem::remove_all(folder);
}

TEST_F(DockerRegistryTest, BasicAuthentication) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("kiln-htpasswd-" + NewId());
  std::ofstream(file) << "user:$2b$04$1TIB/uaiqCK2J4wORvd1k.eUgCj0x0yDbYNu0DPLPVjdfT3sKk5bm\n";
  Daemon daemon("auth: {htpasswd: {realm: r, path: " + file.string() + "}}\n");
  const Repository repo = registry_.Open(*oci::Reference::Make(daemon.host(), "a/b"));
  credentials_.by_session["s"] = {"user", SecretString("secret")};
  progress::Activity activity;
  activity.sessions = std::make_shared<progress::FixedSessions>(std::vector<std::string>{"s"});
  RoundTrip(repo, activity);
  auto anonymous = repo.Resolve({}, "v1");
  ASSERT_FALSE(anonymous.ok());
  EXPECT_NE(anonymous.error().ToString().find("pull access denied"), std::string::npos);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace kiln::registry
