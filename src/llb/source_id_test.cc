#include "llb/source_id.h"

#include <gtest/gtest.h>

#include "llb/git_url.h"

namespace kiln::llb {
namespace {

template <typename T>
T Parsed(std::string_view identifier, const std::map<std::string, std::string>& attrs = {}) {
  auto source = ParseSource(identifier, attrs);
  EXPECT_TRUE(source.ok()) << source.error().ToString();
  // Parse and print are inverse.
  SourceSpec once = Format(*source);
  auto again = ParseSource(once.identifier, once.attrs);
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(Format(*again), once);
  return std::get<T>(*source);
}

std::string ErrorOf(std::string_view identifier,
                    const std::map<std::string, std::string>& attrs = {}) {
  auto source = ParseSource(identifier, attrs);
  return source.ok() ? "" : source.error().message();
}

TEST(SourceIdTest, Image) {
  auto image =
      Parsed<ImageSource>("docker-image://docker.io/library/a:1", {{"image.resolvemode", "local"},
                                                                   {"image.recordtype", "frontend"},
                                                                   {"image.layerlimit", "3"},
                                                                   {"unknown", "ignored"}});
  EXPECT_EQ(image.ref, "docker.io/library/a:1");
  EXPECT_EQ(image.resolve_mode, ResolveMode::kLocal);
  EXPECT_EQ(image.record_type, RecordType::kFrontend);
  EXPECT_EQ(image.layer_limit, 3);
  EXPECT_EQ(ErrorOf("docker-image://a", {{"image.resolvemode", "x"}}), "invalid resolvemode: x");
  EXPECT_EQ(ErrorOf("docker-image://a", {{"image.layerlimit", "0"}}), "invalid layer limit 0");
  EXPECT_NE(ErrorOf("docker-image://a", {{"image.checksum", "x"}}), "");
  EXPECT_NE(ErrorOf("docker-image://"), "");
  EXPECT_EQ(ErrorOf("foo://x"), "unknown scheme foo: not found");
}

TEST(SourceIdTest, OciLayoutAndBlobs) {
  auto layout = Parsed<OciLayoutSource>("oci-layout://s@sha256:00",
                                        {{"oci.session", "1"}, {"oci.store", "x"}});
  EXPECT_EQ(layout.store_id, "x");
  auto blob =
      Parsed<BlobSource>("oci-layout+blob://s@sha256:00",
                         {{"http.perm", "0755"}, {"http.uid", "7"}, {"http.filename", "f"}});
  EXPECT_TRUE(blob.oci_layout);
  EXPECT_EQ(blob.mode, 0755U);
  EXPECT_EQ(blob.uid, 7U);
}

TEST(SourceIdTest, Git) {
  auto git = Parsed<GitSource>("git://github.com/moby/buildkit.git#v1:sub/dir/..",
                               {{"git.fullurl", "https://github.com/moby/buildkit.git"},
                                {"git.keepgitdir", "true"},
                                {"git.checksum", "abc"},
                                {"git.mountsshsock", "default"},
                                {"git.knownsshhosts", "h"}});
  EXPECT_EQ(git.remote, "https://github.com/moby/buildkit.git");
  EXPECT_EQ(git.ref, "v1");
  EXPECT_EQ(git.subdir, "sub");
  EXPECT_TRUE(git.keep_git_dir);
  EXPECT_EQ(git.ssh_id, "default");
  EXPECT_EQ(CanonicalIdentifier(SourceId(git)), "git://github.com/moby/buildkit.git#v1:sub");

  git = Parsed<GitSource>("git://git@github.com:moby/buildkit.git#main");
  EXPECT_EQ(git.remote, "git@github.com:moby/buildkit.git");
  EXPECT_EQ(CanonicalIdentifier(SourceId(git)), "git://github.com/moby/buildkit.git#main");
  git = Parsed<GitSource>("git://ssh://git@host:22/x");
  EXPECT_EQ(git.remote, "ssh://git@host:22/x");

  EXPECT_EQ(ErrorOf("git://h/x", {{"git.checksum", "xyz"}}),
            "invalid checksum xyz for Git URL, expected hex commit hash");
  EXPECT_NE(ErrorOf("git://h/x#-f"), "");
}

// How to reach a repository is no way to reach another one.
TEST(SourceIdTest, TheFullUrlOfGitIsTheIdentifiersRepository) {
  const auto remote = [](const std::string& identifier, const std::string& full) {
    const auto id = ParseSource(identifier, {{"git.fullurl", full}});
    return id.ok() ? std::get<GitSource>(*id).remote : id.error().ToString();
  };
  EXPECT_EQ(remote("git://H/a/b.git#main", "ssh://u:p@h/a/b.git#other"), "ssh://u:p@h/a/b.git");
  EXPECT_EQ(remote("git://h/a/b", "https://u:p@h/a/b.git?ref=x"), "https://u:p@h/a/b");
  EXPECT_EQ(remote("git://h/a%20b.git", "https://h/a%20b/"), "https://h/a%20b.git");
  EXPECT_EQ(remote("git://h/a/b", "git@h:a/b.git"), "git@h:a/b");
  EXPECT_EQ(remote("git://h/a/b", "git@h:/a/b.git"), "git@h:/a/b");
  EXPECT_EQ(remote("git://h:22/a/b.git", "ssh://git@h:22/a/b.git"), "ssh://git@h:22/a/b.git");
  for (const char* full : {"https://h/a/c.git", "https://i/a/b.git", "https://h:1/a/b.git", "x",
                           "ftp://u:secret@h/a/b.git"}) {
    EXPECT_EQ(remote("git://h/a/b.git", full), "git.fullurl does not match source identifier");
  }
  for (const char* full : {"", "https://u:secret@h/\x01"})
    EXPECT_EQ(remote("git://h/a/b.git", full), "failed to parse git.fullurl");
}

TEST(SourceIdTest, GitUrls) {
  EXPECT_EQ(ParseGitUrl("ftp://h/x").error().message(), "invalid protocol: ftp");
  EXPECT_FALSE(ParseGitUrl("nothing").ok());
  auto url = ParseGitUrl("HTTPS://user:pw@h:80/a%20b?x=1#r%20f:../..");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->host, "h:80");
  EXPECT_EQ(url->path, "/a b");
  EXPECT_EQ(url->remote, "HTTPS://user:pw@h:80/a%20b");
  EXPECT_EQ(url->ref, "r f");
  EXPECT_EQ(url->subdir, "");
}

TEST(SourceIdTest, Http) {
  auto http = Parsed<HttpSource>(
      "https://h/f?x=1",
      {{"http.perm", "420"}, {"http.header.user-agent", "u"}, {"http.header.cookie", "dropped"}});
  EXPECT_EQ(http.url, "https://h/f?x=1");
  EXPECT_EQ(http.mode, 0644U);
  EXPECT_EQ(http.headers, (std::map<std::string, std::string>{{"user-agent", "u"}}));
  EXPECT_EQ(ErrorOf("http://h", {{"http.perm", "9x"}}), "invalid http.perm: \"9x\"");
}

TEST(SourceIdTest, Local) {
  auto local = Parsed<LocalSource>("local://context", {{"local.session", "p:s1"},
                                                       {"local.unique", "u"},
                                                       {"local.includepattern", R"(["a","b"])"},
                                                       {"local.followpaths", "null"},
                                                       {"local.differ", "none"},
                                                       {"local.metadatatransfer", "1"}});
  EXPECT_EQ(local.name, "p-context");
  EXPECT_EQ(local.session_id, "s1");
  EXPECT_EQ(local.include_patterns, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(local.differ, Differ::kNone);
  EXPECT_TRUE(local.metadata_only);
  EXPECT_NE(ErrorOf("local://c", {{"local.followpaths", "[1]"}}), "");
  EXPECT_NE(ErrorOf("local://c", {{"local.followpaths", "{"}}), "");
}

}  // namespace
}  // namespace kiln::llb
