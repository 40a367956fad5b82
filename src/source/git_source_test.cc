#include "source/git_source.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "llb/source_key.h"
#include "source/git_command.h"
#include "source/git_watch.h"
#include "source/job_views.h"
#include "source/testing/source_fixture.h"
#include "sys/command.h"

namespace kiln::source {
namespace {

using store::Must;
using testing::HasSubstr;
using testing::Not;

// Remotes here are git-daemons of the end-to-end tests' making; what needs none is tested here.
class GitSourceTest : public SourceFixture {
 protected:
  static constexpr const char* kCommit = "0123456789012345678901234567890123456789";
  static llb::GitSource Remote(const std::string& ref = "") {
    return {.remote = "http://127.0.0.1:1/repo.git", .ref = ref};
  }
};

TEST_F(GitSourceTest, ACommitNeedsNoRemoteForItsKey) {
  llb::GitSource spec = Remote(kCommit);
  const SourcePtr source = Must(sources_->Make(spec, {}));
  EXPECT_FALSE(source->shows_key());
  EXPECT_EQ(Must(source->Key({}, 0)).key, kCommit);
  EXPECT_EQ(source->material()->digest, kCommit);
  spec.keep_git_dir = true;
  EXPECT_EQ(Must(Must(sources_->Make(spec, {}))->Key({}, 0)).key, std::string(kCommit) + ".git");
  spec.keep_git_dir = false;
  spec.subdir = "sub";
  spec.skip_submodules = true;
  spec.mtime = "commit";
  EXPECT_EQ(Must(Must(sources_->Make(spec, {}))->Key({}, 0)).key,
            std::string(kCommit) + ":sub(skip-submodules)(mtime=commit)");
}

TEST_F(GitSourceTest, FetchByCommitNeedsNoRemoteEither) {
  llb::GitSource spec = Remote("main");
  spec.fetch_by_commit = true;
  EXPECT_THAT(Must(sources_->Make(spec, {}))->Key({}, 0).error().ToString(),
              HasSubstr("needs the full checksum"));
  spec.checksum = kCommit;
  EXPECT_EQ(Must(Must(sources_->Make(spec, {}))->Key({}, 0)).key, kCommit);
}

TEST_F(GitSourceTest, ChecksumsAreBeginningsOfCommitOrTag) {
  const GitRevision revision{kCommit, std::string(40, 'a'), "refs/tags/v1"};
  llb::GitSource spec = Remote();
  for (const std::string& good : {std::string(), std::string("012345"), std::string(kCommit),
                                  std::string("aaaa"), std::string(40, 'a')}) {
    spec.checksum = good;
    EXPECT_TRUE(CheckGitChecksum(spec, revision).ok()) << good;
  }
  spec.checksum = "1234";
  EXPECT_EQ(CheckGitChecksum(spec, revision).error().ToString(),
            "expected checksum to match 1234, got " + std::string(40, 'a') + " or " + kCommit);
  spec.checksum = "main";
  EXPECT_EQ(CheckGitChecksum(spec, revision).error().ToString(),
            "invalid checksum main for Git URL, expected hex commit hash");
}

TEST_F(GitSourceTest, HeadIsABranchOrDetached) {
  const std::string sha(40, 'a');
  const auto head = [&](const std::string& symref) {
    const auto revision = RevisionIn("ref: " + symref + "\tHEAD\n" + sha + "\tHEAD\n", {});
    EXPECT_EQ(revision->commit, sha);
    return revision->ref;
  };
  EXPECT_EQ(head("refs/heads/main"), "refs/heads/main");
  EXPECT_EQ(head("--upload-pack=x"), "");
}

TEST_F(GitSourceTest, SecretsOfRemotesAreNotShown) {
  EXPECT_EQ(RedactRemote("https://user:pw@host/r.git"), "https://xxxxx:xxxxx@host/r.git");
  EXPECT_EQ(RedactRemote("https://token@host/r.git"), "https://xxxxx@host/r.git");
  EXPECT_EQ(RedactRemote("https://host/a@b.git"), "https://host/a@b.git");
  EXPECT_EQ(RedactRemote("ssh://git@host/r.git"), "ssh://git@host/r.git");
  EXPECT_EQ(RedactRemote("ssh://git:pw@host/r.git"), "ssh://git:xxxxx@host/r.git");
  EXPECT_EQ(RedactRemote("git@host:r.git"), "git@host:r.git");
}

TEST_F(GitSourceTest, AnUnreachableRemoteLeavesNothing) {
  const SourcePtr source = Must(sources_->Make(Remote(kCommit), {}));
  EXPECT_THAT(source->Fetch({}).error().ToString(),
              HasSubstr("failed to fetch remote http://127.0.0.1:1/repo.git"));
  EXPECT_THAT(Must(sources_->Make(Remote("main"), {}))->Key({}, 0).error().ToString(),
              HasSubstr("failed to fetch remote"));
  const SourcePtr file =
      Must(sources_->Make(llb::GitSource{.remote = "file:///etc", .ref = "main"}, {}));
  EXPECT_THAT(file->Key({}, 0).error().ToString(), HasSubstr("'file' not allowed"));
}

// git and ssh would ask another address than the one that is written.
TEST_F(GitSourceTest, ANumberIsNoHostUnlessItIsAnAddress) {
  for (const char* remote : {"https://1/x.git", "http://0x7f000001:81/x.git",
                             "https://u:p@127.1/x.git", "ssh://git@2130706433:22/x.git",
                             "git@127.1:x.git", "git://0177.0.0.1/x.git", "https://%31/x.git"}) {
    for (const char* ref : {"main", kCommit}) {
      const llb::GitSource spec{.remote = remote, .ref = ref};
      const SourcePtr source = Must(sources_->Make(spec, {}));
      EXPECT_THAT(source->Fetch({}).error().ToString(), HasSubstr("no such host")) << remote;
      EXPECT_THAT(source->Fetch({}).error().ToString(), testing::Not(HasSubstr("u:p@"))) << remote;
      const auto meta = sources_->ResolveGit({}, spec, /*objects=*/true, nullptr);
      EXPECT_THAT(meta.error().ToString(), HasSubstr("no such host")) << remote;
    }
  }
}

TEST_F(GitSourceTest, WhatIsNotServedIsRefusedByName) {
  for (const char* name : {"git.bundle", "git.checkoutbundle", "git.sig.pubkey"}) {
    llb::GitSource spec = Remote("main");
    spec.other = {{name, "x"}};
    EXPECT_THAT(sources_->Make(spec, {}).error().ToString(), HasSubstr(name));
    EXPECT_THAT(sources_->ResolveGit({}, spec, false, nullptr).error().ToString(), HasSubstr(name));
  }
}

// A git that says what it was told.
TEST_F(GitSourceTest, AdviceIsGivenToWhoAsksForIt) {
  const std::string bin = temp_ / "bin";
  ASSERT_TRUE(std::filesystem::create_directory(bin));
  ASSERT_TRUE(WriteFileAtomically(bin + "/git", "#!/bin/sh\nenv\n", 0755).ok());
  const Services services{.store = *store_,
                          .registry = registry_,
                          .sessions = sessions_,
                          .clock = clock_,
                          .http = client_,
                          .spawner = sys::TestSpawner(),
                          .environment = {"PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin"}};
  const progress::Activity activity;
  const auto told = [&](const char* value) {
    llb::GitSource spec = Remote();
    if (value != nullptr) spec.other["git.advice"] = value;
    const auto git = Must(Git::Open(services, spec, activity));
    return Must(git->Run({.args = {"status"}, .quiet = true}));
  };
  EXPECT_THAT(told("true"), HasSubstr("\nGIT_ADVICE=1\n"));
  EXPECT_THAT(told("true"), Not(HasSubstr("advice.detachedHead")));
  for (const char* no : {static_cast<const char*>(nullptr), "false", "1"}) {
    EXPECT_THAT(told(no), HasSubstr("\nGIT_ADVICE=0\n"));
    EXPECT_THAT(told(no), HasSubstr("=advice.detachedHead\n"));
  }
}

TEST(JobViewsTest, WhatWasFoundFirstStays) {
  JobViews views;
  const auto as = [](const std::string& session) {
    progress::Activity activity;
    activity.sessions =
        std::make_shared<progress::FixedSessions>(std::vector<std::string>{session});
    return activity;
  };
  auto view = views.Open(as("s").sessions);
  GitRevision old;
  old.commit = "1";
  GitRevision moved;
  moved.commit = "2";
  EXPECT_FALSE(views.Find<GitRevision>(as("s"), "git r#main"));
  EXPECT_EQ(views.Keep(as("s"), "git r#main", old).commit, "1");
  EXPECT_EQ(views.Keep(as("s"), "git r#main", moved).commit, "1");
  EXPECT_EQ(views.Find<GitRevision>(as("s"), "git r#main")->commit, "1");
  EXPECT_FALSE(views.Find<GitRevision>(as("s"), "git r#other"));
  // Builds of other sessions, and later ones, look for themselves.
  EXPECT_EQ(views.Keep(as("t"), "git r#main", moved).commit, "2");
  EXPECT_FALSE(views.Find<GitRevision>(as("t"), "git r#main"));
  view.reset();
  EXPECT_FALSE(views.Find<GitRevision>(as("s"), "git r#main"));
}

TEST(GitMessagesTest, LeavesOutHowFarItIs) {
  GitMessages messages;
  EXPECT_EQ(messages.Take("remote: Counting objects:  50% (1/2)\rremote: Counting obj"), "");
  EXPECT_EQ(messages.Take("ects: 100% (2/2), done.\nremote: hello\nFrom x\n * br"),
            "remote: hello\nFrom x\n");
  EXPECT_EQ(messages.Take("anch main -> FETCH_HEAD\nReceiving objects: 1% (1/99)\r"),
            " * branch main -> FETCH_HEAD\n");
  EXPECT_EQ(messages.Finish(), "");
  EXPECT_EQ(messages.Take("fatal: "), "");
  EXPECT_EQ(messages.Take("no\r"), "");
  EXPECT_EQ(messages.Finish(), "fatal: no\n");
}

TEST(SilenceWatchTest, EndsWhoIsSilentOrNotWanted) {
  CancelSource outer;
  auto silent =
      SilenceWatch::Start(outer.token(), std::chrono::milliseconds(1), Unavailable("silent"));
  ASSERT_TRUE(silent.ok());
  EXPECT_TRUE((*silent)->token().WaitFor(std::chrono::seconds(20)));
  EXPECT_EQ((*silent)->token().Check().error().ToString(), "silent");
  auto wanted = SilenceWatch::Start(outer.token(), std::chrono::hours(1), Unavailable("silent"));
  ASSERT_TRUE(wanted.ok());
  (*wanted)->Heard();
  EXPECT_FALSE((*wanted)->token().cancelled());
  outer.Cancel();
  EXPECT_EQ((*wanted)->token().Check().error().code(), Code::kCancelled);
}

}  // namespace
}  // namespace kiln::source
