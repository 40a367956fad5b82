#include "dockerfile/parser.h"

#include <gtest/gtest.h>

#include <ctime>
#include <string>

#include "dockerfile/directives.h"
#include "dockerfile/duration.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/lexer.h"
#include "dockerfile/mount.h"
#include "dockerfile/words.h"

namespace kiln::dockerfile {
namespace {

using RunNode = Run;  // gtest has a Run of its own

Result<Dockerfile> ParseText(std::string text) { return Parse({"Dockerfile", std::move(text)}); }

template <typename T>
const T& Get(const Dockerfile& file, std::size_t index) {
  return std::get<T>(file.stages.at(0).instructions.at(index).body);
}

TEST(LexerTest, JoinsContinuationsAndKeepsLines) {
  const auto file = ParseText("FROM a\nRUN one \\\n# comment\n  two \\  \n\n  three\nRUN four\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  const auto& instructions = file->stages[0].instructions;
  ASSERT_EQ(instructions.size(), 2U);
  EXPECT_EQ(Get<RunNode>(*file, 0).command.args[0], "one   two   three");
  EXPECT_EQ(instructions[0].lines, (LineRange{2, 6}));
  EXPECT_EQ(instructions[1].lines, (LineRange{7, 7}));
  EXPECT_EQ(file->empty_continuations, (std::vector<LineRange>{{2, 6}}));
}

TEST(LexerTest, EscapedEscapeDoesNotContinue) {
  const auto file = ParseText("FROM a\nRUN x \\\\\nRUN y\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_EQ(file->stages[0].instructions.size(), 2U);
}

TEST(LexerTest, BomCrlfAndLastLineWithoutEnd) {
  const auto file = ParseText("\xEF\xBB\xBF# escape=`\r\nFROM a\r\nRUN x `\r\n y");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_EQ(file->escape, '`');
  EXPECT_EQ(Get<RunNode>(*file, 0).command.args[0], "x  y");
}

TEST(LexerTest, LongLinesAreRefused) {
  const auto file = ParseText("FROM a\nRUN " + std::string(70000, 'x') + "\n");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().ToString(), "dockerfile line greater than max allowed size of 65535");
}

TEST(LexerTest, InstructionsAreUtf8ButFilesMayHoldAnything) {
  const auto file = ParseText("FROM a\nENV A=\xff\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_EQ(Get<Env>(*file, 0).pairs[0].value, "\xEF\xBF\xBD");
  EXPECT_TRUE(ParseText("# \xff\nFROM a\nCOPY <<'F' /f\n\xff\nF\n").ok());
}

TEST(DirectivesTest, SyntaxIsFoundWhereItMayStand) {
  EXPECT_EQ(FindSyntax("# syntax=docker/dockerfile:1 x=y\nFROM a")->word, "docker/dockerfile:1");
  EXPECT_EQ(FindSyntax("# syntax=docker/dockerfile:1 x=y\nFROM a")->line,
            "docker/dockerfile:1 x=y");
  EXPECT_EQ(FindSyntax("#!/bin/x\n# escape=`\n#SYNTAX = a \n")->word, "a");
  EXPECT_EQ(FindSyntax("//syntax=b\n")->word, "b");
  EXPECT_EQ(FindSyntax("{\"syntax\": \"c\", \"x\": 1}")->word, "c");
  EXPECT_FALSE(FindSyntax(" # syntax=a\n").has_value());
  EXPECT_FALSE(FindSyntax("# a comment\n# syntax=a\n").has_value());
  EXPECT_FALSE(FindSyntax("\n# syntax=a\n").has_value());
  EXPECT_EQ(FindCheck("# syntax=a\n# check=skip=all;error=true\n")->word, "skip=all;error=true");
}

TEST(HeredocTest, Words) {
  EXPECT_EQ(HeredocsOf("RUN <<EOF cat <<-'X Y' 3<<\"Z\"").size(), 3U);
  const auto docs = HeredocsOf("RUN <<EOF cat <<-'X Y' 3<<\"Z\"");
  EXPECT_EQ(docs[0].name, "EOF");
  EXPECT_TRUE(docs[0].expand);
  EXPECT_EQ(docs[1].name, "X Y");
  EXPECT_TRUE(docs[1].strip_tabs);
  EXPECT_FALSE(docs[1].expand);
  EXPECT_EQ(docs[2].fd, 3);
  EXPECT_TRUE(HeredocsOf("RUN echo \"<<X\" '<<Y' <<<z").empty());
  EXPECT_TRUE(HeredocsOf("RUN echo $((1<<3))").empty());
  EXPECT_EQ(HeredocsOf("RUN cat << EOF").at(0).name, "EOF");
  const auto stripped = HeredocsOf("RUN cat <<- EOF 3<<-\t'X'");
  ASSERT_EQ(stripped.size(), 2U);
  EXPECT_EQ(stripped[0].name, "EOF");
  EXPECT_TRUE(stripped[0].strip_tabs);
  EXPECT_EQ(stripped[1].name, "X");
}

TEST(HeredocTest, ShiftsInArithmeticAreNone) {
  EXPECT_TRUE(HeredocsOf("RUN echo $((1 <<2)) $(( (1 << 2) + 1 ))").empty());
  EXPECT_EQ(HeredocsOf("RUN echo $((1 <<2)) <<E").size(), 1U);
  // Parentheses of commands, and such that do not close.
  EXPECT_EQ(HeredocsOf("RUN echo $((cat <<E) | wc)").size(), 1U);
  EXPECT_EQ(HeredocsOf("RUN echo $((1 <<E").size(), 1U);
}

TEST(HeredocTest, PathsAndNames) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(PathWords("a <<\"my file\" b"), (Words{"a", "<<\"my file\"", "b"}));
  EXPECT_EQ(PathWords("it's <<- EOF  \"x y\" "), (Words{"it's", "<<- EOF", "\"x", "y\""}));
  EXPECT_EQ(PathWords("3<<'a b'c /d"), (Words{"3<<'a b'c", "/d"}));
  EXPECT_EQ(PathWords(" "), Words());
}

TEST(HeredocTest, CarriageReturnsOfEveryLine) {
  EXPECT_EQ(ScriptText("a\r\nb\r\n"), "a\nb\n");
  EXPECT_EQ(ScriptText("a\r\nb\n"), "a\r\nb\n");
  EXPECT_EQ(ScriptText("a\rb\n"), "a\rb\n");
  EXPECT_EQ(ScriptText(""), "");
}

TEST(ParserTest, TextThatIsNoUtf8) {
  const auto file =
      ParseText("FROM a\n# caf\xE9\nENV A=caf\xE9\nRUN echo caf\xE9\nCMD [\"\xE9\"]\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_EQ(Get<Env>(*file, 0).pairs[0].value, "caf\xEF\xBF\xBD");
  EXPECT_EQ(file->stages[0].instructions[0].comments[0], "caf\xEF\xBF\xBD");
  EXPECT_EQ(Get<RunNode>(*file, 1).command.args[0], "echo caf\xE9");  // bytes for a shell
  EXPECT_EQ(Get<Cmd>(*file, 2).command.args[0], "\xEF\xBF\xBD");
}

TEST(ParserTest, HeredocBodiesFollowInOrder) {
  const auto file = ParseText(
      "FROM a\nCOPY <<one <<-two /d/\nfirst $X\none\n\t\tsecond\n\ttwo\nRUN [\"<<a\"]\nUSER x\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  const auto& copy = Get<Copy>(*file, 0);
  ASSERT_EQ(copy.inline_files.size(), 2U);
  EXPECT_EQ(copy.inline_files[0].content, "first $X\n");
  EXPECT_EQ(HeredocText(copy.inline_files[1]), "second\n");
  EXPECT_EQ(file->stages[0].instructions[0].lines, (LineRange{2, 6}));
  EXPECT_EQ(file->stages[0].instructions.size(), 3U);
}

TEST(ParserTest, FlagsOfEveryKind) {
  const auto file = ParseText(
      "FROM --platform=linux/arm64 a AS B\n"
      "COPY --from=x --chown=1:2 --link --exclude=a --exclude=\"b c\" -- --odd /d\n"
      "RUN --mount=type=cache,target=/c,id=ab --network=none --security=insecure x\n"
      "ADD --keep-git-dir=false --checksum=sha256:0 --unpack=true a b\n"
      "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl x\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_EQ(file->stages[0].from.platform, "linux/arm64");
  EXPECT_EQ(file->stages[0].from.name, "b");
  const auto& copy = Get<Copy>(*file, 0);
  EXPECT_EQ(copy.sources, (std::vector<std::string>{"--odd"}));
  EXPECT_TRUE(copy.link);
  EXPECT_EQ(copy.exclude, (std::vector<std::string>{"a", "b c"}));
  const auto& run = Get<RunNode>(*file, 1);
  EXPECT_EQ(run.network, "none");
  EXPECT_EQ(run.mounts.size(), 1U);
  const auto& add = Get<Copy>(*file, 2);
  EXPECT_TRUE(add.add);
  EXPECT_EQ(add.keep_git_dir, false);
  EXPECT_EQ(add.unpack, true);
  const auto& check = Get<Healthcheck>(*file, 3);
  EXPECT_EQ(check.interval_ns, 90000000000);
  EXPECT_EQ(check.timeout_ns, 500000000);
  EXPECT_EQ(check.retries, 3);
}

TEST(ParserTest, JsonFormsFallBackSilently) {
  const auto file = ParseText(
      "FROM a\nRUN [\"a\", \"b\"]\nRUN ['a']\nRUN [\"a\"] tail\nCMD []\nCMD [ \"x\" \nVOLUME /a "
      "/b\n"
      "VOLUME [\"/c d\"]\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_FALSE(Get<RunNode>(*file, 0).command.shell);
  EXPECT_TRUE(Get<RunNode>(*file, 1).command.shell);
  EXPECT_TRUE(Get<RunNode>(*file, 2).command.shell);
  EXPECT_TRUE(Get<Cmd>(*file, 3).command.args.empty());
  EXPECT_TRUE(Get<Cmd>(*file, 4).command.shell);
  EXPECT_EQ(Get<Volume>(*file, 5).paths.size(), 2U);
  EXPECT_EQ(Get<Volume>(*file, 6).paths, (std::vector<std::string>{"/c d"}));
}

TEST(ParserTest, PairsOldAndNew) {
  const auto file = ParseText(
      "FROM a\nENV a=b c=\"d e\" f='g h' i=j\\ k\nENV old the rest  \nLABEL \"x y\"=z\n"
      "ARG a b=1 c=\"x y\"\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  const auto& env = Get<Env>(*file, 0);
  ASSERT_EQ(env.pairs.size(), 4U);
  EXPECT_EQ(env.pairs[1].value, "\"d e\"");
  EXPECT_EQ(env.pairs[3].value, "j\\ k");
  EXPECT_EQ(Get<Env>(*file, 1).pairs[0].value, "the rest");
  EXPECT_TRUE(Get<Env>(*file, 1).legacy);
  EXPECT_EQ(Get<Label>(*file, 2).pairs[0].key, "\"x y\"");
  EXPECT_EQ(Get<Arg>(*file, 3).items.size(), 3U);
  EXPECT_FALSE(Get<Arg>(*file, 3).items[0].value.has_value());
}

TEST(ParserTest, CommentsOfAnInstruction) {
  const auto file = ParseText("# one\n#\n# two\n\n# three\nFROM a\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  EXPECT_EQ(file->stages[0].head.comments, (std::vector<std::string>{"two", "three"}));
}

TEST(MountTest, ValuesAreExpandedAndChecked) {
  const ExpandWord expand = [](std::string_view text) -> Result<std::string> {
    return text == "$T" ? std::string("/t") : std::string(text);
  };
  const auto resolve = [&](std::string_view text) -> Result<Mount> {
    TRY_ASSIGN(const MountSpec spec, ParseMountSpec(text));
    return ResolveMount(spec, expand);
  };
  const auto cache = resolve("type=cache,dst=$T,id=x,sharing=locked,mode=0700,uid=5,ro");
  ASSERT_TRUE(cache.ok()) << cache.error().ToString();
  EXPECT_EQ(cache->target, "/t");
  EXPECT_EQ(cache->mode, 0700U);
  EXPECT_EQ(cache->readonly, true);
  EXPECT_EQ(resolve("type=tmpfs,target=/t,size=1.5g")->size_bytes, 1610612736);
  const auto error = [&](std::string_view text) {
    const auto mount = resolve(text);
    return mount.ok() ? "" : mount.error().ToString();
  };
  EXPECT_EQ(error("type=cach"), "unsupported mount type \"cach\" (did you mean cache?)");
  EXPECT_EQ(error("tagret=/x"), "unexpected key 'tagret' in 'tagret=/x' (did you mean target?)");
  EXPECT_EQ(error("target"), "invalid field 'target' must be a key=value pair");
  EXPECT_NE(error("type=bind,from=$X"), "");
  EXPECT_NE(error("required,type=secret,id=x"), "");
  EXPECT_EQ(error("type=secret,id=x,required"), "");
  EXPECT_NE(error("type=secret"), "");
  EXPECT_NE(error("type=ssh,source=x"), "");
  EXPECT_NE(error("type=bind,uid=4"), "");
  EXPECT_NE(error("type=cache,mode=9"), "");
  EXPECT_NE(error("type=tmpfs,size=x"), "");
}

TEST(DurationTest, LooksLikeGo) {
  EXPECT_EQ(FormatDuration(0), "0s");
  EXPECT_EQ(FormatDuration(1), "1ns");
  EXPECT_EQ(FormatDuration(1500), "1.5\xC2\xB5s");
  EXPECT_EQ(FormatDuration(1500000000), "1.5s");
  EXPECT_EQ(FormatDuration(90000000000), "1m30s");
  EXPECT_EQ(FormatDuration(3600000000000), "1h0m0s");
  EXPECT_EQ(FormatDuration(500000000), "500ms");
}

// What is written out again means the same.
TEST(ParserTest, LogicalLinesParseToThemselves) {
  const auto file =
      ParseText("FROM a\nRUN one \\\n two\nENV a=\"b c\" \\\n  d=e\nCOPY a \\\n b /c/\n");
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  std::string printed;
  for (const auto& stage : file->stages) {
    printed += stage.head.original + "\n";
    for (const auto& instruction : stage.instructions) printed += instruction.original + "\n";
  }
  const auto again = ParseText(printed);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(Get<RunNode>(*again, 0).command.args, Get<RunNode>(*file, 0).command.args);
  EXPECT_EQ(Get<Env>(*again, 1).pairs.size(), 2U);
  EXPECT_EQ(Get<Copy>(*again, 2).sources, Get<Copy>(*file, 2).sources);
}

TEST(ParserTest, TimeIsLinear) {
  const auto seconds = [](int count) {
    std::string text = "FROM a\n";
    for (int i = 0; i < count; ++i) text += "RUN echo " + std::to_string(i) + " \\\n  && true\n";
    const std::clock_t start = std::clock();  // CPU time: other work on the machine does not count
    EXPECT_TRUE(ParseText(std::move(text)).ok());
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  seconds(1000);
  const double small = seconds(5000);
  const double large = seconds(50000);
  EXPECT_LT(large, small * 40 + 0.5);  // ten times the lines; a square would be a hundred times
}

}  // namespace
}  // namespace kiln::dockerfile
