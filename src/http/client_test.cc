#include "http/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "http/ca_bundles.h"
#include "http/gzip_sink.h"
#include "http/retry.h"
#include "http/slot.h"
#include "http/testing/fake_server.h"
#include "http/transfer.h"

namespace kiln::http {
namespace {

using std::chrono::milliseconds;

class ClientTest : public testing::Test {
 protected:
  static Request Get(const std::string& url) {
    Request request;
    request.url = url;
    return request;
  }

  Library library_;
  Client client_{library_, {}};
};

TEST_F(ClientTest, SendsAndReceives) {
  FakeServer server([](const ReceivedRequest& request) {
    return Reply{.status = 201,
                 .headers = {{"X-Seen", request.header("x-a")}},
                 .body = request.method + " " + request.query + " " + request.body};
  });
  StringSource body("hello");
  Request request = Get(server.url("/p?q=1"));
  request.method = "POST";
  request.headers = {{"X-A", "b"}};
  request.body = &body;
  auto response = client_.Send(request);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 201);
  EXPECT_EQ(response->body, "POST q=1 hello");
  EXPECT_EQ(response->header("x-seen"), "b");
  EXPECT_EQ(server.received()[0].header("User-Agent"), "kiln");
  EXPECT_EQ(server.received()[0].header("Expect"), "");
}

TEST_F(ClientTest, ReusesConnections) {
  FakeServer server([](const ReceivedRequest&) { return Reply{.body = "x"}; });
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(client_.Send(Get(server.url())).ok());
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(ClientTest, LimitsBodies) {
  FakeServer server([](const ReceivedRequest& request) {
    if (request.path == "/chunked") {
      return Reply{.raw = "HTTP/1.1 200 X\r\n\r\n" + std::string(5000, 'x')};
    }
    return Reply{.body = std::string(5000, 'x')};
  });
  for (const char* path : {"/", "/chunked"}) {
    Failure failure = Failure::kNone;
    auto response = client_.Send(Get(server.url(path)), 4999, &failure);
    ASSERT_FALSE(response.ok());
    EXPECT_EQ(failure, Failure::kBodyLimit);
    EXPECT_EQ(response.error().code(), Code::kResourceExhausted);
    EXPECT_TRUE(client_.Send(Get(server.url(path)), 5000).ok());
  }
}

TEST_F(ClientTest, LimitsHeaders) {
  FakeServer server([](const ReceivedRequest&) {
    std::string raw = "HTTP/1.1 200 X\r\n";
    for (int i = 0; i < 600; ++i) raw += "X: " + std::string(1000, 'y') + "\r\n";
    return Reply{.raw = raw + "\r\n"};
  });
  auto response = client_.Send(Get(server.url()));
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().ToString().find("headers"), std::string::npos)
      << response.error().ToString();
}

TEST_F(ClientTest, EachTransferHasAHandleOfItsOwn) {
  Client::Slot slot("key");
  ASSERT_TRUE(slot.valid());
  CURL* const first = slot.NewEasy();
  ASSERT_EQ(curl_easy_setopt(first, CURLOPT_PRIVATE, &slot), CURLE_OK);
  CURL* const second = slot.NewEasy();
  // Nothing of the first is in it, wherever it lies.
  char* kept = nullptr;
  ASSERT_EQ(curl_easy_getinfo(second, CURLINFO_PRIVATE, &kept), CURLE_OK);
  EXPECT_EQ(kept, nullptr);
}

TEST_F(ClientTest, DropsAuthorizationAcrossOrigins) {
  FakeServer other([](const ReceivedRequest& request) {
    return Reply{.body = "[" + request.header("Authorization") + "]"};
  });
  FakeServer server([&](const ReceivedRequest& request) {
    if (request.path == "/away") {
      return Reply{.status = 307, .headers = {{"Location", other.url("/x")}}, .body = "ignored"};
    }
    if (request.path == "/home") return Reply{.status = 302, .headers = {{"Location", "/end"}}};
    return Reply{.body = "[" + request.header("Authorization") + "]"};
  });
  Request request = Get(server.url("/away"));
  request.headers = {{"Authorization", "Basic c2VjcmV0"}};
  auto response = client_.Send(request);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->body, "[]");
  EXPECT_EQ(response->url, other.url("/x"));
  request.url = server.url("/home");
  EXPECT_EQ(client_.Send(request)->body, "[Basic c2VjcmV0]");
}

// Ordinary headers are none; what continues one is refused, since no sound server sends it.
TEST_F(ClientTest, RefusesHeadersThatGoOnInTheNextLine) {
  for (const char* line : {"A: b\r\n", "HTTP/1.1 200 OK\r\n", "\r\n", "A:  b\tc\r\n"}) {
    EXPECT_FALSE(IsFolded(line)) << line;
  }
  EXPECT_TRUE(IsFolded(" more\r\n"));
  EXPECT_TRUE(IsFolded("\tmore\r\n"));
}

TEST_F(ClientTest, TrailersChangeNothing) {
  FakeServer server([](const ReceivedRequest&) {
    return Reply{.raw =
                     "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nETag: one\r\n\r\n"
                     "2\r\nok\r\n0\r\nLocation: elsewhere\r\n\r\n"};
  });
  auto response = client_.Send(Get(server.url()));
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->body, "ok");
  EXPECT_EQ(response->header("ETag"), "one");
  EXPECT_EQ(response->header("Location"), "");
}

TEST_F(ClientTest, ADocumentThatDripsIsGivenUp) {
  FakeServer server([](const ReceivedRequest&) {
    return Reply{.body = std::string(1000, 'x'), .drip = milliseconds(10)};
  });
  ClientOptions options;
  options.stall_timeout = milliseconds(300);
  Client client(library_, options);
  auto response = client.Send(Get(server.url()));
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().ToString().find("no whole answer in 3000 ms"), std::string::npos)
      << response.error().ToString();
  // A download too, unless it gets on.
  struct Drop final : ResponseSink {
    Status OnHeaders(const Response&) override { return OkStatus(); }
    Status OnData(std::string_view) override { return OkStatus(); }
  } sink;
  Failure failure = Failure::kNone;
  response = client.Stream(Get(server.url()), sink, &failure);
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().ToString().find("too slow"), std::string::npos)
      << response.error().ToString();
  EXPECT_EQ(failure, Failure::kTimeout);
}

TEST_F(ClientTest, ReadsTrustedCertificatesOncePerChange) {
  CaBundles bundles;
  const std::string folder = testing::TempDir();
  const std::string system = folder + "/ca-system";
  const std::string extra = folder + "/ca-extra";
  ASSERT_TRUE(WriteFileAtomically(system, "S").ok());
  ASSERT_TRUE(WriteFileAtomically(extra, "one").ok());
  auto first = bundles.Get(system, {extra});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(**first, "S\none");
  EXPECT_EQ(bundles.Get(system, {extra})->get(), first->get());
  ASSERT_TRUE(WriteFileAtomically(extra, "two").ok());
  EXPECT_EQ(**bundles.Get(system, {extra}), "S\ntwo");
  EXPECT_EQ(**bundles.Get(folder + "/none", {extra}), "\ntwo");
  EXPECT_FALSE(bundles.Get(system, {folder + "/none"}).ok());
}

class Collected final : public ResponseSink {
 public:
  Status OnHeaders(const Response& response) override {
    headers = response.headers;
    body.clear();
    return OkStatus();
  }
  Status OnData(std::string_view data) override {
    body += data;
    return OkStatus();
  }
  Headers headers;
  std::string body;
};

// gzip -n of "plain text\n".
constexpr std::string_view kPlainGzip(
    "\x1f\x8b\x08\0\0\0\0\0\0\x03\x2b\xc8\x49\xcc\xcc\x53\x28\x49\xad\x28\xe1\x02\0\x22\x36\x29\xf7"
    "\x0b\0\0\0",
    31);

TEST(GzipSinkTest, UndoesContentEncoding) {
  Response answer{.status = 200,
                  .headers = {{"Content-Encoding", "GZIP"}, {"Content-Length", "31"}}};
  Collected inner;
  GzipSink sink(inner);
  // A byte at a time, and two members after each other.
  ASSERT_TRUE(sink.OnHeaders(answer).ok());
  for (int i = 0; i < 2; ++i) {
    for (const char c : kPlainGzip) ASSERT_TRUE(sink.OnData({&c, 1}).ok());
  }
  EXPECT_TRUE(sink.Finish().ok());
  EXPECT_EQ(inner.body, "plain text\nplain text\n");
  EXPECT_TRUE(inner.headers.empty());
  // Ends early; is none; is empty; is not packed.
  ASSERT_TRUE(sink.OnHeaders(answer).ok());
  ASSERT_TRUE(sink.OnData(kPlainGzip.substr(0, 20)).ok());
  EXPECT_FALSE(sink.Finish().ok());
  ASSERT_TRUE(sink.OnHeaders(answer).ok());
  EXPECT_FALSE(sink.OnData("plain text, nothing else").ok());
  ASSERT_TRUE(sink.OnHeaders(answer).ok());
  EXPECT_TRUE(sink.Finish().ok());
  answer.headers = {{"Content-Encoding", "br"}};
  ASSERT_TRUE(sink.OnHeaders(answer).ok());
  ASSERT_TRUE(sink.OnData("as it is").ok());
  EXPECT_TRUE(sink.Finish().ok());
  EXPECT_EQ(inner.body, "as it is");
}

TEST_F(ClientTest, StopsRedirectLoops) {
  FakeServer server([](const ReceivedRequest&) {
    return Reply{.status = 302, .headers = {{"Location", "/again"}}};
  });
  auto response = client_.Send(Get(server.url("/a?token=secret")));
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().ToString().find("stopped after 10 redirects"), std::string::npos);
  EXPECT_EQ(response.error().ToString().find("secret"), std::string::npos);
  Request request = Get(server.url());
  request.max_redirects = 0;
  EXPECT_EQ(client_.Send(request)->status, 302);
}

TEST_F(ClientTest, RedirectsToOtherSchemesAreRefused) {
  FakeServer server([](const ReceivedRequest&) {
    return Reply{.status = 302, .headers = {{"Location", "file:///etc/passwd"}}};
  });
  auto response = client_.Send(Get(server.url()));
  ASSERT_FALSE(response.ok());
  EXPECT_NE(response.error().ToString().find("scheme"), std::string::npos)
      << response.error().ToString();
}

TEST_F(ClientTest, ReplaysBodyOnTemporaryRedirect) {
  FakeServer server([](const ReceivedRequest& request) {
    if (request.path == "/a") return Reply{.status = 307, .headers = {{"Location", "/b"}}};
    return Reply{.body = request.method + " " + request.body};
  });
  StringSource body("content");
  Request request = Get(server.url("/a"));
  request.method = "PUT";
  request.body = &body;
  EXPECT_EQ(client_.Send(request)->body, "PUT content");
}

TEST_F(ClientTest, TruncatedBodyIsAnError) {
  FakeServer server([](const ReceivedRequest&) {
    return Reply{.body = std::string(1000, 'x'), .cut_after = 10};
  });
  Failure failure = Failure::kNone;
  auto response = client_.Send(Get(server.url()), 1 << 20, &failure);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(failure, Failure::kBroken);
}

TEST_F(ClientTest, RefusedConnectionNamesTheUrl) {
  std::string url;
  {
    FakeServer server([](const ReceivedRequest&) { return Reply{}; });
    url = server.url("/v2/");
  }
  Failure failure = Failure::kNone;
  auto response = client_.Send(Get(url), 1 << 20, &failure);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(failure, Failure::kConnect);
  EXPECT_TRUE(response.error().ToString().starts_with("GET \"" + url + "\": "))
      << response.error().ToString();
}

TEST_F(ClientTest, CancelEndsARequestAtOnce) {
  std::promise<void> arrived;
  std::promise<void> release;
  FakeServer server([&](const ReceivedRequest&) {
    arrived.set_value();
    release.get_future().wait();
    return Reply{};
  });
  CancelSource cancel;
  Request request = Get(server.url());
  request.cancel = cancel.token();
  std::thread canceller([&] {
    arrived.get_future().wait();
    cancel.Cancel(Cancelled("no longer wanted"));
  });
  Failure failure = Failure::kNone;
  auto response = client_.Send(request, 100, &failure);
  canceller.join();
  release.set_value();
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(failure, Failure::kStopped);
  EXPECT_EQ(response.error().code(), Code::kCancelled);
  EXPECT_NE(response.error().ToString().find("no longer wanted"), std::string::npos);
}

TEST_F(ClientTest, DeadlineAndStallEndARequest) {
  std::promise<void> release;
  auto released = release.get_future().share();
  FakeServer server([released](const ReceivedRequest&) {
    released.wait();
    return Reply{};
  });
  Request request = Get(server.url());
  request.deadline = std::chrono::steady_clock::now() + milliseconds(30);
  auto response = client_.Send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Code::kDeadlineExceeded);
  request.deadline.reset();
  request.stall_timeout = milliseconds(30);
  Failure failure = Failure::kNone;
  ASSERT_FALSE(client_.Send(request, 100, &failure).ok());
  EXPECT_EQ(failure, Failure::kTimeout);
  release.set_value();
}

class FailingSink final : public ResponseSink {
 public:
  Status OnHeaders(const Response&) override { return OkStatus(); }
  Status OnData(std::string_view) override { return DataLoss("sink is full"); }
};

TEST_F(ClientTest, SinkErrorsComeBackUnchanged) {
  FakeServer server([](const ReceivedRequest&) { return Reply{.body = "data"}; });
  FailingSink sink;
  Failure failure = Failure::kNone;
  auto response = client_.Stream(Get(server.url()), sink, &failure);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(failure, Failure::kCaller);
  EXPECT_EQ(response.error().ToString(), "sink is full");
}

TEST_F(ClientTest, BodyThatEndsEarlyIsAnError) {
  class Short final : public BodySource {
   public:
    Result<size_t> Read(char*, size_t) override { return size_t{0}; }
    Status Rewind() override { return OkStatus(); }
    std::optional<int64_t> size() const override { return 5; }
  };
  FakeServer server([](const ReceivedRequest&) { return Reply{}; });
  Short body;
  Request request = Get(server.url());
  request.method = "PUT";
  request.body = &body;
  auto response = client_.Send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().ToString(), "body ended after 0 of 5 bytes");
}

TEST_F(ClientTest, UsesTheProxyForPlainHttp) {
  FakeServer proxy([](const ReceivedRequest& request) { return Reply{.body = request.path}; });
  Client client(library_, {.proxies = {proxy.url(), "", "direct.example"}});
  EXPECT_EQ(client.Send(Get("http://far.example/x"))->body, "http://far.example/x");
}

TEST_F(ClientTest, RefusesHeaderInjection) {
  Request request = Get("http://127.0.0.1:1/");
  request.headers = {{"A", "b\r\nC: d"}};
  auto response = client_.Send(request);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(response.error().code(), Code::kInvalidArgument);
}

TEST(UrlTest, ParsesAndResolves) {
  EXPECT_EQ(Url::Parse("https://h/x?y#z")->ToString(), "https://h/x?y");
  EXPECT_EQ(Url::Parse("http://[::1]:5000")->origin(), "http://[::1]:5000");
  EXPECT_FALSE(Url::Parse("ftp://h/").ok());
  EXPECT_FALSE(Url::Parse("no url").ok());
  EXPECT_EQ(*ResolveUrl("https://h/a/b?c", "../d"), "https://h/d");
  EXPECT_EQ(*ResolveUrl("https://h/a", "//other/x"), "https://other/x");
  EXPECT_EQ(RedactUrl("https://u:p@h/x?token=1"), "https://h/x");
  EXPECT_EQ(WithQuery("http://h/?a=b", "c", "d/e f"), "http://h/?a=b&c=d%2Fe%20f");
}

// Programs take these for 127.0.0.1, or for another address than a reader would think of.
TEST(UrlTest, ANumberIsNoAddressUnlessItIsWrittenAsOne) {
  for (const char* host : {"127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1.",
                           "127.0.0.1.", "1.2.3.4.5", "10.0.0.256", "%31.2.3.4", "a.7"}) {
    EXPECT_FALSE(Url::Parse(std::string("http://") + host + ":80/x").ok()) << host;
    EXPECT_FALSE(Url::Parse(std::string("http://u:p@") + host + "/x").ok()) << host;
    EXPECT_FALSE(ResolveUrl("https://h/a", std::string("//") + host + "/x").ok()) << host;
    EXPECT_FALSE(ResolveUrl("https://h/a", std::string("http://") + host + "/x").ok()) << host;
  }
  const auto refused = Url::Parse("http://127.1:5000/v2/");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().ToString().find("no such host: \"127.1\""), std::string::npos)
      << refused.error().ToString();
  for (const char* host :
       {"127.0.0.1", "10.2.3.4", "7up", "1.2.3.4.example", "x7", "0xyz", "[::1]"}) {
    EXPECT_TRUE(Url::Parse(std::string("http://") + host + ":80/x").ok()) << host;
  }
  // Also where libcurl makes the base's own host of it.
  EXPECT_FALSE(ResolveUrl("http://127.0.0.1/a", "http://127.1/x").ok());
  EXPECT_FALSE(ResolveUrl("http://127.0.0.1/a", "//127.1/x").ok());
  EXPECT_TRUE(ResolveUrl("http://127.0.0.1/a", "http://127.0.0.1:5/x").ok());
  EXPECT_EQ(*ResolveUrl("http://127.0.0.1:81/a", "/b?next=http://127.1/"),
            "http://127.0.0.1:81/b?next=http://127.1/");
}

TEST(UrlTest, KnowsOneOrigin) {
  const auto same = [](const char* a, const char* b) {
    return SameOrigin(*Url::Parse(a), *Url::Parse(b));
  };
  EXPECT_TRUE(same("https://h:443/a", "https://h/b"));
  EXPECT_TRUE(same("http://H", "http://h:80"));
  EXPECT_FALSE(same("http://h:443", "https://h:443"));
  EXPECT_FALSE(same("https://h:444", "https://h"));
}

TEST(UrlTest, KnowsLoopback) {
  for (const char* host :
       {"localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:1", "::1", "[::1]:5"}) {
    EXPECT_TRUE(IsLoopbackHost(host)) << host;
  }
  for (const char* host : {"localhost.example", "128.0.0.1", "example:80", ""}) {
    EXPECT_FALSE(IsLoopbackHost(host)) << host;
  }
}

TEST(ProxyTest, HonoursExclusions) {
  const ProxySettings proxies("p:1", "http://s:2",
                              "a.example,.b.example,10.0.0.0/8,c.example:8080");
  const auto proxy_for = [&](const char* url) { return proxies.For(*Url::Parse(url)); };
  EXPECT_EQ(proxy_for("http://x/"), "http://p:1");
  EXPECT_EQ(proxy_for("https://x/"), "http://s:2");
  for (const char* url :
       {"http://a.example/", "http://www.a.example/", "http://x.b.example/", "http://10.1.2.3/",
        "http://c.example:8080/", "http://localhost/", "https://127.0.0.1/"}) {
    EXPECT_EQ(proxy_for(url), "") << url;
  }
  EXPECT_NE(proxy_for("http://b.example/"), "");
  EXPECT_NE(proxy_for("http://xa.example/"), "");
  EXPECT_NE(proxy_for("http://c.example/"), "");
}

TEST(RetryTest, BacksOffAndHonoursRetryAfter) {
  const RetryPolicy policy{
      .attempts = 4, .first_delay = milliseconds(1000), .max_delay = milliseconds(3000)};
  EXPECT_EQ(policy.DelayBefore(1, {}), milliseconds(1000));
  EXPECT_EQ(policy.DelayBefore(2, {}), milliseconds(2000));
  EXPECT_EQ(policy.DelayBefore(9, {}), milliseconds(3000));
  EXPECT_EQ(policy.DelayBefore(1, milliseconds(10)), milliseconds(10));
  Response response;
  response.headers = {{"Retry-After", "2"}};
  EXPECT_EQ(RetryAfter(response, WallTime()), milliseconds(2000));
  response.headers = {{"Retry-After", "Thu, 01 Jan 1970 00:00:10 GMT"}};
  EXPECT_EQ(RetryAfter(response, WallTime()), milliseconds(10'000));
  response.headers = {{"Retry-After", "soon"}};
  EXPECT_EQ(RetryAfter(response, WallTime()), std::nullopt);
}

TEST(RetryTest, StopsWhenItCannotHelp) {
  const RetryPolicy policy{.attempts = 3, .first_delay = milliseconds(0)};
  int runs = 0;
  const Status last = Retry(policy, {}, [&] {
    ++runs;
    return Attempt{.status = Unavailable("try {}", runs), .retryable = true};
  });
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(last.error().ToString(), "try 3");
  runs = 0;
  EXPECT_FALSE(Retry(policy, {}, [&] {
                 ++runs;
                 return Attempt{.status = NotFound("no"), .retryable = false};
               }).ok());
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace kiln::http
