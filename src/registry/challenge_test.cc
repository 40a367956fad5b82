#include "registry/challenge.h"

#include <gtest/gtest.h>

#include <thread>

#include "registry/gate.h"
#include "registry/slots.h"
#include "registry/token.h"

namespace kiln::registry {
namespace {

TEST(ChallengeTest, ParsesSeveralInOneHeader) {
  const auto challenges = ParseChallenges(
      {{"WWW-Authenticate",
        R"(Basic realm="a, b", BEARER realm="https://x/y?z", Service=s,scope="repository:a/b:pull,push")"},
       {"www-authenticate", "Digest realm=x"}});
  ASSERT_EQ(challenges.size(), 2U);
  EXPECT_EQ(challenges[0].scheme, "bearer");
  EXPECT_EQ(challenges[0].Get("realm"), "https://x/y?z");
  EXPECT_EQ(challenges[0].Get("service"), "s");
  EXPECT_EQ(challenges[0].Get("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(challenges[1].Get("realm"), "a, b");
}

TEST(ChallengeTest, SurvivesRubbish) {
  for (const char* text : {"", ",,,", "=", "Bearer", "Bearer realm=\"unclosed", "\"\"\"",
                           "Bearer realm=\"a\\\"b\"", "\x01\x02"}) {
    ParseChallenges({{"WWW-Authenticate", text}});
  }
  EXPECT_EQ(ParseChallenges({{"WWW-Authenticate", R"(Bearer realm="a\"b")"}})[0].Get("realm"),
            "a\"b");
  EXPECT_LE(ParseChallenges({{"WWW-Authenticate", std::string(100'000, 'B') + " "}}).size(), 16U);
}

TEST(ScopeSetTest, MergesAndSorts) {
  ScopeSet scopes;
  scopes.AddText("repository:b/c:push,pull repository:a:pull");
  scopes.Add("repository:a", "delete");
  EXPECT_EQ(scopes.ToString(), "repository:a:delete,pull repository:b/c:pull,push");
}

TEST(TokenTest, IsUsedForNineTenthsOfItsLife) {
  FakeClock clock;
  const auto life = [&](const Token& token) {
    return std::chrono::duration_cast<std::chrono::seconds>(TokenDeadline(token, clock) -
                                                            clock.Steady())
        .count();
  };
  EXPECT_EQ(life({}), 54);
  EXPECT_EQ(life({.token = {}, .expires_in = std::chrono::seconds(100)}), 90);
  EXPECT_EQ(life({.token = {},
                  .expires_in = std::chrono::seconds(100),
                  .issued_at = clock.Now() - std::chrono::seconds(30)}),
            60);
  EXPECT_EQ(life({.token = {},
                  .expires_in = std::chrono::seconds(100),
                  .issued_at = clock.Now() - std::chrono::hours(3)}),
            0);
  EXPECT_EQ(life({.token = {},
                  .expires_in = std::chrono::seconds(100),
                  .issued_at = clock.Now() + std::chrono::hours(3)}),
            90);
  EXPECT_EQ(life({.token = {},
                  .expires_in = std::chrono::seconds(100),
                  .issued_at = *ParseRfc3339("1678-01-01T00:00:00Z")}),
            0);
}

TEST(SlotsTest, PullsDoNotWaitForPushes) {
  Slots slots(1);
  auto push = slots.Acquire({}, "h", Purpose::kPush, false);
  ASSERT_TRUE(push.ok());
  const auto soon = progress::Activity().WithTimeout(std::chrono::seconds(5));
  EXPECT_TRUE(slots.Acquire(soon, "h", Purpose::kPull, false).ok());
}

TEST(GateTest, LetsOneInAndCancelEndsAWait) {
  Gate gate;
  auto first = gate.Enter({});
  ASSERT_TRUE(first.ok());
  CancelSource cancel;
  progress::Activity activity;
  activity.cancel = cancel.token();
  std::thread waiter([&] { EXPECT_FALSE(gate.Enter(activity).ok()); });
  cancel.Cancel();
  waiter.join();
  EXPECT_FALSE(gate.Enter(progress::Activity().WithTimeout(std::chrono::milliseconds(1))).ok());
  first->reset();
  EXPECT_TRUE(gate.Enter({}).ok());
}

TEST(SlotsTest, CancelEndsAWait) {
  Slots slots(1);
  auto first = slots.Acquire({}, "h", Purpose::kPull, false);
  ASSERT_TRUE(first.ok());
  auto json = slots.Acquire({}, "h", Purpose::kPull, true);
  ASSERT_TRUE(json.ok());
  ASSERT_TRUE(slots.Acquire({}, "other", Purpose::kPull, false).ok());
  CancelSource cancel;
  progress::Activity activity;
  activity.cancel = cancel.token();
  std::thread waiter(
      [&] { EXPECT_FALSE(slots.Acquire(activity, "h", Purpose::kPull, false).ok()); });
  cancel.Cancel();
  waiter.join();
  json->reset();
  first->reset();
  EXPECT_TRUE(slots.Acquire({}, "h", Purpose::kPull, false).ok());
}

}  // namespace
}  // namespace kiln::registry
