#include "http/client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/strings.h"
#include "http/retry.h"
#include "http/testing/fake_server.h"

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

// libcurl 7.88 follows a pointer to the last header of the transfer before.
TEST_F(ClientTest, AFoldedLineAfterTheStatusIsHarmless) {
  std::atomic<int> count{0};
  FakeServer server([&](const ReceivedRequest&) {
    const char* header = count++ == 0 ? "A: b\r\n" : " folded: line\r\n";
    return Reply{.raw = std::string("HTTP/1.1 200 X\r\n") + header + "\r\n"};
  });
  EXPECT_TRUE(client_.Send(Get(server.url())).ok());
  (void)client_.Send(Get(server.url()));
  EXPECT_EQ(server.connections(), 2);
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
