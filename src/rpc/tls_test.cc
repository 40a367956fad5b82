#include "rpc/tls.h"

#include <fcntl.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <filesystem>
#include <thread>

#include "base/ids.h"
#include "rpc/server.h"
#include "rpc/status.h"
#include "rpc/tls_connection.h"
#include "rpc/tunnel.h"

namespace kiln::rpc {
namespace {

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct CertificateDeleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
};

// A key with its certificate, for a test's own machine.
struct Identity {
  std::unique_ptr<EVP_PKEY, KeyDeleter> key;
  std::unique_ptr<X509, CertificateDeleter> certificate;
};

void AddExtension(X509* certificate, X509* issuer, int id, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
  ASSERT_NE(extension, nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// Signed by `issuer`, or by itself: an authority then.
Identity Issue(const char* name, const Identity* issuer) {
  Identity made;
  char curve[] = "P-256";  // EVP_EC_gen casts a const away
  made.key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve));
  made.certificate.reset(X509_new());
  X509* certificate = made.certificate.get();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), issuer == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509* by = issuer == nullptr ? certificate : issuer->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(by));
  if (issuer == nullptr) {
    AddExtension(certificate, by, NID_basic_constraints, "critical,CA:TRUE");
  } else {
    AddExtension(certificate, by, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
  }
  X509_sign(certificate, issuer == nullptr ? made.key.get() : issuer->key.get(), EVP_sha256());
  return made;
}

class TlsTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Writes both as NAME.cert and NAME.key.
  TlsFiles Write(const std::string& name, const Identity& identity) {
    TlsFiles files{.cert = folder_ + name + ".cert", .key = folder_ + name + ".key", .ca = ""};
    FILE* out = fopen(files.cert.c_str(), "w");
    PEM_write_X509(out, identity.certificate.get());
    fclose(out);
    out = fopen(files.key.c_str(), "w");
    PEM_write_PrivateKey(out, identity.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    fclose(out);
    return files;
  }
  TlsFiles WithAuthority(TlsFiles files, const std::string& name) {
    files.ca = folder_ + name + ".cert";
    return files;
  }

  const std::string folder_ = testing::TempDir() + "/tls-" + NewId() + "/";
  Poller poller_;
};

class AliveService final : public grpc::health::v1::Health::CallbackService {
 public:
  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest*,
                                  grpc::health::v1::HealthCheckResponse* response) override {
    response->set_status(grpc::health::v1::HealthCheckResponse::SERVING);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

Status Check(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  grpc::health::v1::HealthCheckResponse response;
  return ToStatus(grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &response));
}

// Waits until the peer has closed, and says whether it did within `time`.
bool Closes(const Fd& socket, std::chrono::milliseconds time) {
  const auto until = std::chrono::steady_clock::now() + time;
  std::array<char, 4096> buffer{};
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd readable{socket.get(), POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left.count())) <= 0) continue;
    if (recv(socket.get(), buffer.data(), buffer.size(), 0) <= 0) return true;
  }
}

class TlsServerTest : public TlsTest {
 protected:
  void SetUp() override {
    TlsTest::SetUp();
    authority_ = Issue("authority", nullptr);
    Write("authority", authority_);
    Write("stranger", Issue("stranger", nullptr));
    server_files_ = Write("server", Issue("server", &authority_));
    client_files_ = WithAuthority(Write("client", Issue("client", &authority_)), "authority");
  }

  void Serve(const TlsFiles& files) {
    tls_ = TlsServer::Load(files).value();
    server_ = Server::Start({&alive_}, poller_).value();
    Fd listener = std::move(ListenOn(*Address::Parse("tcp://127.0.0.1:0"), {}).value().front());
    address_ = BoundAddress(listener).value();
    server_->Accept(std::move(listener), tls_);
  }

  Result<std::shared_ptr<grpc::Channel>> Connect(const TlsFiles& files,
                                                 const std::string& name = "127.0.0.1") {
    TRY_ASSIGN(auto context, TlsContext::LoadClient(files));
    TRY_ASSIGN(Fd socket, ConnectTo(address_));
    TRY_ASSIGN(Fd plain, ConnectTls(poller_, context, std::move(socket), name));
    return ChannelOverSocket(std::move(plain));
  }
  std::string ErrorOf(const TlsFiles& files, const std::string& name = "127.0.0.1") {
    const auto channel = Connect(files, name);
    return channel.ok() ? "" : channel.error().ToString();
  }

  Identity authority_;
  TlsFiles server_files_;
  TlsFiles client_files_;
  AliveService alive_;
  Address address_;
  std::shared_ptr<TlsServer> tls_;
  std::unique_ptr<Server> server_;
};

TEST_F(TlsServerTest, ClientsAndServersKnowEachOther) {
  Serve(WithAuthority(server_files_, "authority"));
  EXPECT_TRUE(Check(Connect(client_files_).value()).ok());
  EXPECT_TRUE(Check(Connect(client_files_, "localhost").value()).ok());
  EXPECT_NE(ErrorOf(client_files_, "other.example").find("hostname mismatch"), std::string::npos)
      << ErrorOf(client_files_, "other.example");
  TlsFiles wrong = WithAuthority(client_files_, "stranger");
  EXPECT_NE(ErrorOf(wrong).find("the server's certificate: self-signed certificate"),
            std::string::npos)
      << ErrorOf(wrong);
  TlsFiles nobody;
  nobody.ca = client_files_.ca;
  EXPECT_NE(ErrorOf(nobody).find("the server refuses the connection"), std::string::npos)
      << ErrorOf(nobody);
  TlsFiles foreign = WithAuthority(Write("foreign", Issue("foreign", nullptr)), "authority");
  EXPECT_NE(ErrorOf(foreign).find("the server refuses the connection"), std::string::npos)
      << ErrorOf(foreign);
}

TEST_F(TlsServerTest, FilesThatChangeAreReadAgain) {
  tls_ = TlsServer::Load(server_files_).value();
  const auto first = tls_->Current();
  EXPECT_EQ(tls_->Current(), first);
  Write("server", Issue("renewed", &authority_));
  const auto second = tls_->Current();
  EXPECT_NE(second, first);
  ASSERT_TRUE(WriteFileAtomically(server_files_.key, "no key").ok());
  EXPECT_EQ(tls_->Current(), second);
  EXPECT_EQ(tls_->Current(), second);
  // A key that belongs to another certificate: half of a renewal.
  ASSERT_TRUE(WriteFileAtomically(server_files_.key, *ReadFile(client_files_.key)).ok());
  EXPECT_EQ(tls_->Current(), second);
  Write("server", Issue("again", &authority_));
  EXPECT_NE(tls_->Current(), second);
}

TEST_F(TlsServerTest, NeedsBothCertificateAndKey) {
  TlsFiles half = server_files_;
  half.key.clear();
  EXPECT_FALSE(TlsServer::Load(half).ok());
  TlsFiles authority_only;
  authority_only.ca = client_files_.ca;
  EXPECT_FALSE(TlsServer::Load(authority_only).ok());
  EXPECT_TRUE(TlsContext::LoadClient(authority_only).ok());
  half = client_files_;
  half.key.clear();
  EXPECT_FALSE(TlsContext::LoadClient(half).ok());
}

TEST_F(TlsServerTest, PeersThatDoNotShakeHandsAreLeft) {
  const auto context = TlsContext::LoadServer(server_files_).value();
  auto [ours, theirs] = SocketPair().value();
  fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
  const Fd plain =
      AcceptTls(poller_, context, std::move(theirs), {.handshake = std::chrono::milliseconds(50)})
          .value();
  EXPECT_TRUE(Closes(ours, std::chrono::seconds(20)));
  EXPECT_TRUE(Closes(plain, std::chrono::seconds(20)));
}

// With TLS 1.3 clients speak before they know whether they are let in, as those of gRPC do; one
// that fails to write never reads why it was refused.
TEST_F(TlsServerTest, WhoIsRefusedMaySpeakBeforeItReadsWhy) {
  const auto context = TlsContext::LoadServer(WithAuthority(server_files_, "authority")).value();
  const Fd listener = std::move(ListenOn(*Address::Parse("tcp://127.0.0.1:0"), {}).value().front());
  const Fd ours = ConnectTo(BoundAddress(listener).value()).value();
  Fd theirs;
  while (!theirs) theirs = Fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
  const Fd plain = AcceptTls(poller_, context, std::move(theirs)).value();

  TlsFiles nobody;
  nobody.ca = client_files_.ca;
  const auto client = TlsContext::LoadClient(nobody).value();
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(client->get()), SSL_free);
  SSL_set_fd(ssl.get(), ours.get());
  BIO* written = BIO_new(BIO_s_mem());
  SSL_set0_wbio(ssl.get(), written);
  const auto flush = [&] {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(written, &bytes);
    EXPECT_EQ(send(ours.get(), bytes, static_cast<size_t>(size), MSG_NOSIGNAL), size);
    BIO_reset(written);
  };
  SSL_set_connect_state(ssl.get());
  pollfd readable{ours.get(), POLLIN, 0};
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  SSL_connect(ssl.get());
  flush();
  while (!SSL_is_init_finished(ssl.get())) {
    ASSERT_EQ(poll(&readable, 1, 20000), 1);
    SSL_connect(ssl.get());
  }
  flush();
  EXPECT_TRUE(Closes(plain, std::chrono::seconds(20)));  // the server has refused the client
  const std::string words(4096, 'x');
  for (int i = 0; i < 3; ++i) {
    ASSERT_GT(SSL_write(ssl.get(), words.data(), static_cast<int>(words.size())), 0);
    flush();
  }
  ERR_clear_error();
  ASSERT_EQ(poll(&readable, 1, 20000), 1);
  char byte = 0;
  EXPECT_LE(SSL_read(ssl.get(), &byte, 1), 0);
  EXPECT_NE(TlsError().find("certificate required"), std::string::npos) << TlsError();
}

TEST_F(TlsServerTest, PeersThatDoNotEndTheirSideAreLeft) {
  const auto context = TlsContext::LoadServer(server_files_).value();
  auto [ours, theirs] = SocketPair().value();
  fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
  Fd plain =
      AcceptTls(poller_, context, std::move(theirs), {.closing = std::chrono::milliseconds(50)})
          .value();
  const auto client = TlsContext::LoadClient(client_files_).value();
  SSL* ssl = SSL_new(client->get());
  SSL_set_fd(ssl, ours.get());
  ASSERT_EQ(SSL_connect(ssl), 1);
  plain.Reset();  // as gRPC does with a connection it has done with
  // The peer only reads, and answers nothing.
  EXPECT_TRUE(Closes(ours, std::chrono::seconds(20)));
  SSL_free(ssl);
}

}  // namespace
}  // namespace kiln::rpc
