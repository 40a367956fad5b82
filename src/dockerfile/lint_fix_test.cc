#include "dockerfile/lint_fix.h"

#include <gtest/gtest.h>

#include <string>

#include "dockerfile/offline.h"
#include "dockerfile/parser.h"

namespace kiln::dockerfile {
namespace {

std::string Mended(const std::string& data) {
  LoadedDockerfile loaded;
  loaded.source = {"Dockerfile", data};
  loaded.ignore_file = "";
  for (int round = 0; round < 8; ++round) {
    const auto check = CheckOffline(Options(), loaded);
    const auto fixed = FixFindings(loaded.source, check.findings);
    if (!fixed.ok()) return "error: " + fixed.error().ToString();
    if (fixed->data == loaded.source.data) break;
    loaded.source.data = fixed->data;
  }
  return loaded.source.data;
}

struct FixCase {
  const char* before;
  const char* after;
};

TEST(LintFixTest, MendsWhatNeedsNoThought) {
  const FixCase kCases[] = {
      {"FROM scratch\nenv A=1\nEnv B=2\nLABEL c=d\n",
       "FROM scratch\nENV A=1\nENV B=2\nLABEL c=d\n"},
      {"from scratch\nenv a=1\nRun x\n", "from scratch\nenv a=1\nrun x\n"},
      {"FROM scratch\nEN\\\nv A=1\n", "FROM scratch\nEN\\\nV A=1\n"},
      {"FROM scratch as a\n", "FROM scratch AS a\n"},
      {"from scratch \\\n  AS a\n", "from scratch \\\n  as a\n"},
      {"FROM scratch AS Stage\nCOPY --from=Stage / /\n",
       "FROM scratch AS stage\nCOPY --from=Stage / /\n"},
      {"FROM scratch\nMAINTAINER me\n",
       "FROM scratch\nLABEL org.opencontainers.image.authors=\"me\"\n"},
      {"from scratch\nmaintainer  a \"b\" $c \n",
       "from scratch\nlabel  org.opencontainers.image.authors=\"a \\\"b\\\" \\$c\" \n"},
      {"FROM scratch\nENV k v\nLABEL l  some value\n",
       "FROM scratch\nENV k=v\nLABEL l=\"some value\"\n"},
      {"FROM scratch\nENV k \"a\"\n", "FROM scratch\nENV k=\"a\"\n"},
      {"FROM scratch\nENV k \"a b\" c\n", "FROM scratch\nENV k \"a b\" c\n"},
      {"FROM scratch\nENV k \\\n  # why\n  $v w\n", "FROM scratch\nENV k=\\\n  # why\n\"$v w\"\n"},
      {"FROM scratch\nENV A=1 \\\n\n \t\n  B=2\r\nCOPY <<x /\n\nx\n",
       "FROM scratch\nENV A=1 \\\n  B=2\r\nCOPY <<x /\n\nx\n"},
      {"FROM scratch\nENV A=1\nEXPOSE 80/TCP 90 \\\n  $A/Udp\n",
       "FROM scratch\nENV A=1\nEXPOSE 80/tcp 90 \\\n  $A/udp\n"},
      {"FROM --platform=$TARGETPLATFORM scratch\n", "FROM scratch\n"},
      {"FROM --platform=${TARGETPLATFORM} \\\n  scratch\n", "FROM \\\n  scratch\n"},
      {"\xEF\xBB\xBF# escape=`\r\nfrom scratch\r\nENV a b`\r\n c\r\nENV c=d",
       "\xEF\xBB\xBF# escape=`\r\nFROM scratch\r\nENV a=\"b`\r\n c\"\r\nENV c=d"},
      // Somebody says that it is meant so.
      {"FROM scratch\n# check=skip=LegacyKeyValueFormat\nENV k v\n",
       "FROM scratch\n# check=skip=LegacyKeyValueFormat\nENV k v\n"},
      {"FROM scratch AS a\nONBUILD ENV k v\nFROM a\n",
       "FROM scratch AS a\nONBUILD ENV k v\nFROM a\n"},
  };
  for (const FixCase& one : kCases) EXPECT_EQ(Mended(one.before), one.after) << one.before;
}

TEST(LintFixTest, WhatIsMendedMeansTheSame) {
  const std::string before =
      "FROM scratch\nENV k  a  $b c\nENV j x\\y\nLABEL l 'one' two\nENV m # no comment\n";
  const auto old_file = Parse({"Dockerfile", before});
  const auto new_file = Parse({"Dockerfile", Mended(before)});
  ASSERT_TRUE(old_file.ok() && new_file.ok());
  const VariableLookup lookup = [](std::string_view) -> std::optional<std::string_view> {
    return "value  of it";
  };
  for (std::size_t i = 0; i < old_file->stages[0].instructions.size(); ++i) {
    const auto pair = [i](const Dockerfile& file) {
      const auto& body = file.stages[0].instructions[i].body;
      const auto* env = std::get_if<Env>(&body);
      return env != nullptr ? env->pairs.at(0) : std::get<Label>(body).pairs.at(0);
    };
    EXPECT_EQ(pair(*old_file).key, pair(*new_file).key);
    EXPECT_EQ(Expand(pair(*old_file).value, lookup, {})->text,
              Expand(pair(*new_file).value, lookup, {})->text);
  }
}

TEST(OfflineTest, VariablesOfBaseImagesAreUnknown) {
  LoadedDockerfile loaded;
  loaded.source = {"Dockerfile",
                   "FROM image AS a\nENV P=$PTAH H=$JAVA_HOME\nFROM a\nENV H=$JAVA_HOME\n"
                   "FROM scratch\nENV H=$JAVA_HOME\n"};
  loaded.ignore_file = "";
  const auto check = CheckOffline(Options(), loaded);
  EXPECT_TRUE(check.status.ok());
  ASSERT_EQ(check.findings.size(), 2U);
  EXPECT_EQ(check.findings[0].Short(),
            "UndefinedVar: Usage of undefined variable '$PTAH' (did you mean $PATH?) (line 2)");
  EXPECT_EQ(check.findings[1].lines.first, 6);
}

}  // namespace
}  // namespace kiln::dockerfile
