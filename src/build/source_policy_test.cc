#include "build/source_policy.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace kiln::build {
namespace {

namespace spb = ::moby::buildkit::v1::sourcepolicy;

SourcePolicy PolicyOf(const std::vector<std::string>& texts) {
  std::vector<spb::Policy> policies(texts.size());
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(texts[i], &policies[i]));
  auto policy = SourcePolicy::Create(policies);
  EXPECT_TRUE(policy.ok()) << policy.error().ToString();
  return std::move(*policy);
}

// The identifier afterwards, or the error.
std::string After(const SourcePolicy& policy, const std::string& identifier) {
  pb::SourceOp source;
  source.set_identifier(identifier);
  auto changed = policy.Evaluate(source);
  if (!changed.ok()) return changed.error().ToString();
  EXPECT_EQ(*changed, source.identifier() != identifier);
  return source.identifier();
}

TEST(SourcePolicyTest, LastMatchingRuleDecidesAndAllPoliciesMustAllow) {
  std::string deny_all = R"(rules { action: DENY selector { identifier: "*" } })";
  std::string allow_a =
      deny_all + R"(rules { action: ALLOW selector { identifier: "docker-image://a" } })";
  EXPECT_EQ(After(SourcePolicy(), "docker-image://b"), "docker-image://b");
  EXPECT_EQ(After(PolicyOf({allow_a}), "docker-image://a"), "docker-image://a");
  std::string denied = R"(source "docker-image://a" denied by policy: source denied by policy)";
  EXPECT_EQ(After(PolicyOf({allow_a, deny_all}), "docker-image://a"), denied);
  EXPECT_EQ(
      After(
          PolicyOf(
              {R"(rules { action: DENY selector { match_type: REGEX identifier: "image://a" } })"}),
          "docker-image://a"),
      denied);
}

TEST(SourcePolicyTest, Converts) {
  EXPECT_EQ(After(PolicyOf({R"(rules { action: CONVERT
      selector { identifier: "docker-image://docker.io/library/golang:*" }
      updates { identifier: "docker-image://mirror/golang:${1}-alpine" } })"}),
                  "docker-image://docker.io/library/golang:1.19"),
            "docker-image://mirror/golang:1.19-alpine");
  EXPECT_EQ(After(PolicyOf({R"(rules { action: CONVERT
      selector { match_type: REGEX identifier: "docker\\.io/(?P<repo>[^/]+)/x" }
      updates { identifier: "m/$repo/$1/$$" } })"}),
                  "docker-image://docker.io/library/x:1"),
            "docker-image://m/library/library/$:1");
  EXPECT_EQ(
      After(PolicyOf({R"(rules { action: CONVERT selector { match_type: EXACT identifier: "a" }
                               updates { identifier: "https://$1" } })"}),
            "a"),
      "https://$1");
  EXPECT_EQ(After(PolicyOf({R"(rules { action: CONVERT selector { identifier: "a" } })"}), "a"),
            "error mutating source policy: missing destination for convert rule");
}

TEST(SourcePolicyTest, ConversionsStartOverAndEnd) {
  std::string a_to_b =
      R"(rules { action: CONVERT selector { identifier: "a" } updates { identifier: "b" } })";
  std::string b_to_a =
      R"(rules { action: CONVERT selector { identifier: "b" } updates { identifier: "a" } })";
  std::string deny_b = R"(rules { action: DENY selector { identifier: "b" } })";
  EXPECT_EQ(After(PolicyOf({deny_b, a_to_b}), "a"),
            R"(source "b" denied by policy: source denied by policy)");
  EXPECT_EQ(After(PolicyOf({a_to_b, b_to_a}), "a"),
            "too many mutations on a single source: too many operations");
}

TEST(SourcePolicyTest, ConstraintsAndAttributes) {
  SourcePolicy policy = PolicyOf({R"(rules { action: CONVERT
      selector { identifier: "*" constraints { key: "k" value: "^v" condition: MATCHES }
                 constraints { key: "n" value: "x" condition: NOTEQUAL } }
      updates { attrs { key: "image.checksum" value: "s" } } })"});
  pb::SourceOp source;
  source.set_identifier("a");
  EXPECT_FALSE(*policy.Evaluate(source));
  (*source.mutable_attrs())["k"] = "v1";
  EXPECT_TRUE(*policy.Evaluate(source));
  // No identifier in the update: the selector's own, which for "*" expands to nothing new.
  EXPECT_EQ(source.attrs().at("image.checksum"), "s");
}

TEST(SourcePolicyTest, DoublingEnds) {
  const auto policy = PolicyOf({R"(rules { action: CONVERT
      selector { match_type: REGEX identifier: "x" } updates { identifier: "$0$0$0$0$0$0$0$0" } })"});
  pb::SourceOp source;
  source.set_identifier("https://x");
  const auto changed = policy.Evaluate(source);
  ASSERT_FALSE(changed.ok());
  EXPECT_EQ(changed.error().code(), Code::kInvalidArgument);
}

TEST(SourcePolicyTest, RefusesWhatItCannotRead) {
  auto error = [](const std::string& text) {
    std::vector<spb::Policy> policies(1);
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &policies[0]));
    auto policy = SourcePolicy::Create(policies);
    return policy.ok() ? "" : policy.error().message();
  };
  EXPECT_NE(error("rules { action: DENY }"), "");
  EXPECT_NE(error(R"(rules { selector { match_type: REGEX identifier: "(" } })"), "");
  EXPECT_NE(error(R"(rules { selector { identifier: "a**" } })"), "");
  EXPECT_NE(error("version: 7"), "");
}

}  // namespace
}  // namespace kiln::build
