#include <gmock/gmock.h>
#include <sys/stat.h>

#include <thread>

#include "http/testing/fake_server.h"
#include "llb/source_key.h"
#include "source/http_download.h"
#include "source/testing/source_fixture.h"

namespace kiln::source {
namespace {

using store::Must;
using testing::HasSubstr;

constexpr const char* kDate = "Wed, 21 Oct 2015 07:28:00 GMT";

class HttpSourceTest : public SourceFixture {
 protected:
  llb::HttpSource Url(const std::string& path = "/file.txt") const {
    return {.url = server_.url(path)};
  }
  SourcePtr Make(const llb::HttpSource& spec) { return Must(sources_->Make(spec, {})); }
  store::SnapshotRef Get(const llb::HttpSource& spec) {
    const SourcePtr source = Make(spec);
    Must(source->Key({}, 0));
    return Must(source->Fetch({}));
  }
  std::string Read(const store::SnapshotRef& ref, const std::string& path) {
    return Must(Must(store_->Tree(ref)).ReadFile(path));
  }
  std::string ErrorOf(const llb::HttpSource& spec) {
    const SourcePtr source = Make(spec);
    if (auto key = source->Key({}, 0); !key.ok()) return key.error().ToString();
    auto ref = source->Fetch({});
    return ref.ok() ? "" : ref.error().ToString();
  }
  int Gets() const { return server_.Count("GET /file.txt"); }

  http::Reply reply_{.body = "hello"};
  bool honours_validators_ = true;
  http::FakeServer server_{[this](const http::ReceivedRequest& request) {
    http::Reply reply = reply_;
    const auto etag = std::string(http::FindHeader(reply.headers, "ETag"));
    const bool same =
        !etag.empty() && request.header("If-None-Match").find(etag) != std::string::npos;
    const bool unmodified =
        !request.header("If-Modified-Since").empty() &&
        request.header("If-Modified-Since") == http::FindHeader(reply.headers, "Last-Modified");
    if (honours_validators_ && (same || unmodified)) {
      reply.status = 304;
      reply.body.clear();
    }
    return reply;
  }};
};

TEST_F(HttpSourceTest, MakesAFile) {
  reply_.headers = {{"Last-Modified", kDate}};
  const SourcePtr source = Make(Url());
  const SourceKey key = Must(source->Key({}, 0));
  EXPECT_TRUE(key.last);
  llb::HttpKeyParts parts;
  parts.filename = "file.txt";
  parts.checksum = Sha256Of("hello");
  parts.last_modified = kDate;
  EXPECT_EQ(key.key, llb::HttpKey(parts).ToString());
  const store::SnapshotRef ref = Must(source->Fetch({}));
  EXPECT_EQ(Gets(), 1);
  const store::TreeView tree = Must(store_->Tree(ref));
  const store::TreeEntry file = Must(tree.Lookup("/file.txt"));
  EXPECT_EQ(Read(ref, "/file.txt"), "hello");
  EXPECT_EQ(Must(tree.Children(Must(tree.Root()))).size(), 1U);
  const std::string path = store_->LayerDirs(ref).value().front() + "/file.txt";
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  EXPECT_EQ(info.st_mtime, 1445412480);
  EXPECT_EQ(source->material()->digest, Sha256Of("hello").ToString());
}

TEST_F(HttpSourceTest, ModeOwnerAndNameAsAsked) {
  llb::HttpSource spec = Url();
  spec.mode = 0755;
  spec.uid = 12;
  spec.gid = 34;
  spec.filename = "../../other";
  const store::SnapshotRef ref = Get(spec);
  const std::string path = store_->LayerDirs(ref).value().front() + "/other";
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755U);
  EXPECT_EQ(info.st_uid, 12U);
  EXPECT_EQ(info.st_gid, 34U);
  EXPECT_EQ(info.st_mtime, 0);
}

TEST_F(HttpSourceTest, NamesAreOnePlainComponent) {
  const auto name = [](const std::string& url, const std::string& disposition) {
    http::Response response;
    if (!disposition.empty()) response.headers = {{"Content-Disposition", disposition}};
    return HttpFilename({.url = url}, &response);
  };
  EXPECT_EQ(name("http://h/a/b.txt?x=1#y", ""), "b.txt");
  EXPECT_EQ(name("http://h/a/", ""), "download");
  EXPECT_EQ(name("http://h", ""), "download");
  EXPECT_EQ(name("http://h/..", ""), "download");
  EXPECT_EQ(name("http://h/a%20b", ""), "a b");
  EXPECT_EQ(name("http://h/a%2Fb%0a", ""), "download");
  EXPECT_EQ(name("http://h/x", "attachment; filename=\"a; b.txt\""), "a; b.txt");
  EXPECT_EQ(name("http://h/x", "attachment; filename=../../etc/passwd"), "passwd");
  EXPECT_EQ(name("http://h/x", "attachment; filename=\"dir/\""), "x");
  EXPECT_EQ(name("http://h/x", "attachment; filename=plain; filename*=UTF-8''na%20me"), "na me");
  EXPECT_EQ(name("http://h/x", "attachment; filename=\"..\""), "x");
}

TEST_F(HttpSourceTest, AnUnchangedFileIsNotSentAgain) {
  reply_.headers = {{"ETag", "\"one\""}};
  const store::SnapshotRef first = Get(Url());
  EXPECT_EQ(Get(Url()), first);
  EXPECT_EQ(Gets(), 1);
  // A weak tag says the same; so does a server that sends tags but never a 304.
  reply_.headers = {{"ETag", "W/\"one\""}};
  honours_validators_ = false;
  EXPECT_EQ(Get(Url()), first);
  EXPECT_EQ(Gets(), 1);
  reply_.headers = {{"ETag", "\"two\""}};
  reply_.body = "changed";
  EXPECT_EQ(Read(Get(Url()), "/file.txt"), "changed");
  EXPECT_EQ(Gets(), 2);
  // Back to what it was: that is still known.
  reply_.headers = {{"ETag", "\"one\""}};
  honours_validators_ = true;
  EXPECT_EQ(Get(Url()), first);
  EXPECT_EQ(Gets(), 2);
}

TEST_F(HttpSourceTest, ATagThatMeansAnyIsNone) {
  reply_.headers = {{"ETag", "*"}};
  Get(Url());
  reply_.body = "changed";
  EXPECT_EQ(Read(Get(Url()), "/file.txt"), "changed");
  EXPECT_EQ(server_.received().back().header("If-None-Match"), "");
}

TEST_F(HttpSourceTest, WithoutATagTheDateCounts) {
  reply_.headers = {{"Last-Modified", kDate}, {"Date", "Wed, 21 Oct 2015 08:00:00 GMT"}};
  const store::SnapshotRef first = Get(Url());
  EXPECT_EQ(Get(Url()), first);
  // But not if it could have changed again within the same second.
  llb::HttpSource other = Url("/other");
  reply_.headers = {{"Last-Modified", kDate}, {"Date", kDate}};
  const store::SnapshotRef fresh = Get(other);
  EXPECT_NE(Get(other), fresh);
}

TEST_F(HttpSourceTest, AChecksumNeedsNoServerForTheKey) {
  llb::HttpSource spec = Url();
  spec.checksum = Sha256Of("hello");
  const SourcePtr source = Make(spec);
  EXPECT_FALSE(source->shows_key());
  Must(source->Key({}, 0));
  EXPECT_EQ(server_.received().size(), 0U);
  EXPECT_EQ(Read(Must(source->Fetch({})), "/file.txt"), "hello");
  // Known now, whatever the server says.
  reply_.status = 404;
  EXPECT_EQ(Read(Get(spec), "/file.txt"), "hello");
  EXPECT_EQ(Gets(), 1);
}

TEST_F(HttpSourceTest, HostileServers) {
  llb::HttpSource pinned = Url();
  pinned.checksum = Sha256Of("something else");
  EXPECT_THAT(ErrorOf(pinned), HasSubstr("digest mismatch " + Sha256Of("hello").ToString() + ": " +
                                         pinned.checksum->ToString()));
  reply_.status = 404;
  EXPECT_THAT(ErrorOf(Url()), HasSubstr("invalid response status 404"));
  EXPECT_THAT(ErrorOf(pinned), HasSubstr("invalid response status 404"));
  reply_.status = 200;
  reply_.claimed_length = 100;
  reply_.cut_after = 5;
  EXPECT_THAT(ErrorOf(Url()), HasSubstr("/file.txt"));
  reply_ = {.hang_up = true};
  EXPECT_THAT(ErrorOf(Url()), HasSubstr("/file.txt"));
  reply_ = {.status = 302, .headers = {{"Location", "/file.txt"}}};
  EXPECT_THAT(ErrorOf(Url()), HasSubstr("redirects"));
  reply_ = {.status = 206, .headers = {{"Content-Range", "bytes 0-1/9"}}, .body = "he"};
  EXPECT_THAT(ErrorOf(Url()), HasSubstr("invalid response status 206"));
  reply_ = {.raw = "nonsense\r\n\r\n"};
  EXPECT_NE(ErrorOf(Url()), "");
}

TEST_F(HttpSourceTest, TriesAgainWhenTheServerIsUnwell) {
  std::atomic<int> count{0};
  http::FakeServer server([&](const http::ReceivedRequest&) -> http::Reply {
    if (count++ == 0) return {.body = "half of it", .claimed_length = 100, .cut_after = 4};
    if (count == 2) return {.status = 503};
    return {.body = "whole"};
  });
  const store::SnapshotRef ref = Get({.url = server.url("/f")});
  EXPECT_EQ(Read(ref, "/f"), "whole");
}

TEST_F(HttpSourceTest, AnEndlessAnswerCanBeCancelled) {
  http::FakeServer server([&](const http::ReceivedRequest&) -> http::Reply {
    return {.body = std::string(1 << 20, 'x'), .claimed_length = int64_t{1} << 50};
  });
  CancelSource cancel;
  progress::Activity activity;
  activity.cancel = cancel.token();
  const SourcePtr source = Make({.url = server.url("/f")});
  std::thread stopper([&] { cancel.Cancel(Cancelled("enough")); });
  auto key = source->Key(activity, 0);
  stopper.join();
  ASSERT_FALSE(key.ok());
  EXPECT_THAT(key.error().ToString(), HasSubstr("enough"));
}

TEST_F(HttpSourceTest, SendsHeadersAndUserInfo) {
  llb::HttpSource spec = Url();
  spec.url = "http://me:p%40ss@" + server_.host() + "/file.txt";
  spec.headers = {{"accept", "text/plain"}, {"user-agent", "tester"}};
  Get(spec);
  const http::ReceivedRequest request = server_.received().back();
  EXPECT_EQ(request.header("Authorization"), "Basic bWU6cEBzcw==");
  EXPECT_EQ(request.header("Accept"), "text/plain");
  EXPECT_EQ(request.header("User-Agent"), "tester");
}

TEST_F(HttpSourceTest, ResolvesMetadata) {
  reply_.headers = {{"Last-Modified", kDate},
                    {"Content-Disposition", "attachment; filename=named.txt"}};
  MetaCache cache;
  const HttpMeta meta = Must(sources_->ResolveHttp({}, Url(), nullptr, &cache));
  EXPECT_EQ(meta.checksum, Sha256Of("hello"));
  EXPECT_EQ(meta.filename, "named.txt");
  EXPECT_EQ(UnixNanos(*meta.last_modified), int64_t{1445412480} * 1'000'000'000);
  // One build sees one state.
  reply_.body = "changed";
  EXPECT_EQ(Must(sources_->ResolveHttp({}, Url(), nullptr, &cache)).checksum, Sha256Of("hello"));
  llb::HttpSource pinned = Url("/nothing/here");
  pinned.checksum = Sha256Of("any");
  EXPECT_EQ(Must(sources_->ResolveHttp({}, pinned, nullptr, nullptr)).checksum, Sha256Of("any"));
  const FileChecksumRequest asked{FileChecksumRequest::Algorithm::kSha256, "tail"};
  const HttpMeta summed = Must(sources_->ResolveHttp({}, Url(), &asked, &cache));
  EXPECT_EQ(summed.requested_checksum, Sha256Of("changedtail").ToString());
  const FileChecksumRequest longer{FileChecksumRequest::Algorithm::kSha512, ""};
  EXPECT_EQ(Must(sources_->ResolveHttp({}, Url(), &longer, &cache)).requested_checksum.size(),
            std::string("sha512:").size() + 128);
}

TEST_F(HttpSourceTest, WhatABuildResolvedIsWhatItUses) {
  auto view =
      sources_->OpenView(std::make_shared<progress::FixedSessions>(std::vector<std::string>{"s"}));
  const HttpMeta meta = Must(sources_->ResolveHttp(As({"s"}), Url(), nullptr, nullptr));
  reply_.body = "changed";
  const SourcePtr source = Make(Url());
  Must(source->Key(As({"s"}), 0));
  EXPECT_EQ(Read(Must(source->Fetch(As({"s"}))), "/file.txt"), "hello");
  EXPECT_EQ(source->material()->digest, meta.checksum.ToString());
  EXPECT_EQ(server_.received().size(), 1U);
  const FileChecksumRequest asked{FileChecksumRequest::Algorithm::kSha256, "tail"};
  EXPECT_EQ(Must(sources_->ResolveHttp(As({"s"}), Url(), &asked, nullptr)).requested_checksum,
            Sha256Of("hellotail").ToString());
  // Another build looks again.
  EXPECT_EQ(Must(sources_->ResolveHttp({}, Url(), nullptr, nullptr)).checksum, Sha256Of("changed"));
}

TEST_F(HttpSourceTest, ContentEncodingIsUndone) {
  // gzip of "plain text\n".
  const std::string packed(
      "\x1f\x8b\x08\0\0\0\0\0\0\x03\x2b\xc8\x49\xcc\xcc\x53\x28\x49\xad\x28\xe1\x02\0\x22\x36\x29"
      "\xf7\x0b\0\0\0",
      31);
  reply_ = {.headers = {{"Content-Encoding", "gzip"}, {"ETag", "\"one\""}}, .body = packed};
  llb::HttpSource spec = Url();
  spec.checksum = Sha256Of("plain text\n");
  EXPECT_EQ(Read(Get(spec), "/file.txt"), "plain text\n");
  EXPECT_EQ(Read(Get(Url()), "/file.txt"), "plain text\n");
  for (const http::ReceivedRequest& request : server_.received()) {
    EXPECT_EQ(request.header("Accept-Encoding"), "gzip") << request.method;
  }
  reply_.body.resize(20);
  EXPECT_THAT(ErrorOf(Url("/other")), HasSubstr("ends early"));
  reply_.body = "no gzip at all";
  EXPECT_THAT(ErrorOf(Url("/other")), HasSubstr("no gzip"));
  // Other codings are content.
  reply_.headers = {{"Content-Encoding", "br"}};
  EXPECT_EQ(Read(Get(Url("/other")), "/other"), "no gzip at all");
}

// Some servers tell tags of packed forms apart, but not in their answers.
TEST_F(HttpSourceTest, A304ForAnotherTagIsAskedAgainWithoutConditions) {
  std::atomic<int> plain{0};
  http::FakeServer server([&](const http::ReceivedRequest& request) -> http::Reply {
    const bool asked = !request.header("If-None-Match").empty();
    if (asked) return {.status = 304, .headers = {{"ETag", "\"v1\""}}};
    if (request.method == "GET") ++plain;
    return {.headers = {{"ETag", "\"v1-gzip\""}}, .body = "x"};
  });
  EXPECT_EQ(Read(Get({.url = server.url("/f")}), "/f"), "x");
  EXPECT_EQ(Read(Get({.url = server.url("/f")}), "/f"), "x");
  EXPECT_EQ(plain, 2);
}

TEST_F(HttpSourceTest, SignaturesAreRefusedByName) {
  llb::HttpSource spec = Url();
  spec.other = {{"http.sig.pubkey", "x"}};
  EXPECT_THAT(sources_->Make(spec, {}).error().ToString(), HasSubstr("http.sig.pubkey"));
}

}  // namespace
}  // namespace kiln::source
