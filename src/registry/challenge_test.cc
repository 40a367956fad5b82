#include "registry/challenge.h"

#include <gtest/gtest.h>

#include <thread>

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

TEST(SlotsTest, CancelEndsAWait) {
  Slots slots(1);
  auto first = slots.Acquire({}, "h", false);
  ASSERT_TRUE(first.ok());
  auto json = slots.Acquire({}, "h", true);
  ASSERT_TRUE(json.ok());
  ASSERT_TRUE(slots.Acquire({}, "other", false).ok());
  CancelSource cancel;
  progress::Activity activity;
  activity.cancel = cancel.token();
  std::thread waiter([&] { EXPECT_FALSE(slots.Acquire(activity, "h", false).ok()); });
  cancel.Cancel();
  waiter.join();
  json->reset();
  first->reset();
  EXPECT_TRUE(slots.Acquire({}, "h", false).ok());
}

}  // namespace
}  // namespace kiln::registry
