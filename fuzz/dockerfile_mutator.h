#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Changes to a Dockerfile as people make them: lines, flags, heredocs, continuations, variables,
// line ends. What comes out is mostly parsed, so that the fuzzer gets beyond the lexer.
namespace kiln::fuzz {

class DockerfileMutator {
 public:
  explicit DockerfileMutator(unsigned seed) : random_(seed) {}

  std::string Mutate(std::string_view text) {
    std::vector<std::string> lines = Lines(text);
    for (std::size_t changes = 1 + Below(4); changes > 0; --changes) Change(lines);
    std::string out;
    for (const std::string& line : lines) out += line + "\n";
    if (Below(16) == 0) ChangeWhole(out);
    return out;
  }

 private:
  static constexpr std::array<std::string_view, 62> kInstructions = {
      "FROM alpine",
      "FROM alpine AS a",
      "FROM --platform=$BUILDPLATFORM a AS b",
      "FROM scratch",
      "FROM ${BASE:-busybox}",
      "ARG BASE",
      "ARG A=1 B=\"$A\" C",
      "ENV A=1 B=\"${A:+x y}\" C='$A'",
      "ENV A 1 2 3",
      "ENV P=${P#a*} Q=${Q%%.*} R=${R/a/b} S=${S//?/-}",
      "ENV PATH=/x:$PATH",
      "LABEL a=b \"c d\"=\"e\\\nf\"",
      "RUN true",
      "RUN [\"a\", \"b\"]",
      "RUN a \\\n  # comment\n  && b",
      "RUN <<EOF\necho $A\nEOF",
      "RUN <<-\"E\" cat <<F\n\tx\n\tE\ny\nF",
      "RUN <<EOF\n#!/bin/sh\nx\nEOF",
      "RUN --mount=type=cache,target=/c,id=$A,sharing=locked x",
      "RUN --mount=type=bind,from=a,source=/x,target=/y,rw x",
      "RUN --mount=from=alpine,target=y x",
      "RUN --mount=type=secret,id=s,env=S,required x",
      "RUN --mount=type=ssh x",
      "RUN --mount=type=tmpfs,target=/t,size=1m x",
      "RUN --network=none --security=insecure x",
      "RUN --device=vendor.com/x=all,required x",
      "COPY a b",
      "COPY . .",
      "COPY --from=a /x /y",
      "COPY --from=0 /x /y/",
      "COPY --from=busybox --link --chown=1:2 --chmod=u=rwX,go=rX /x /y",
      "COPY --parents --exclude=*.md ./a/./b* /x/",
      "COPY <<A <<\"B\" /dir/\n$A\nA\n$B\nB",
      "COPY [\"a b\", \"c\"]",
      "ADD --checksum=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
      "https://e.com/f /",
      "ADD --keep-git-dir=true https://e.com/r.git?ref=v1&subdir=s#v1:s /r",
      "ADD git@e.com:r.git#main /r",
      "ADD --unpack=false a.tar /",
      "WORKDIR a/../b",
      "WORKDIR /",
      "USER 1:2",
      "CMD [\"x\"]",
      "CMD x $A",
      "ENTRYPOINT x",
      "HEALTHCHECK --interval=1s --retries=3 --start-interval=1ms CMD x",
      "HEALTHCHECK NONE",
      "EXPOSE 80/tcp 1-3:4-6 $A",
      "VOLUME /a [x] \"$A\"",
      "VOLUME [\"/a\"]",
      "STOPSIGNAL $A",
      "SHELL [\"a\", \"-c\"]",
      "MAINTAINER x",
      "ONBUILD RUN x",
      "ONBUILD COPY --from=a /x /y",
      "ONBUILD RUN <<E\nx\nE",
      "# syntax=docker/dockerfile:1",
      "# escape=`",
      "# check=skip=JSONArgsRecommended,StageNameCasing;error=true",
      "# check=experimental=all",
      "#",
      "EOF",
      ""};
  static constexpr std::array<std::string_view, 28> kFlags = {
      "--from=a",
      "--from=1",
      "--from=$A",
      "--link",
      "--link=false",
      "--chown=a:b",
      "--chown=$A",
      "--chmod=0755",
      "--chmod=a+x",
      "--parents",
      "--exclude=\"*\"",
      "--exclude=\xC3\xA0",
      "--checksum=$A",
      "--keep-git-dir",
      "--unpack",
      "--platform=linux/arm/v7",
      "--platform=$TARGETPLATFORM",
      "--platform=windows/amd64",
      "--mount=type=bind,target=/b",
      "--mount=\"type=cache\",\"target=/c,d\"",
      "--mount=from=scratch",
      "--network=host",
      "--security=sandbox",
      "--interval=-1s",
      "--timeout=1h2m3.5s",
      "--",
      "--mont=x",
      "--retries=0"};
  static constexpr std::array<std::string_view, 30> kPieces = {
      "$A",     "${A}",        "${A:-b}", "${A-}", "${A:?e}", "${A#*}", "${A##${B}}",
      "${A%?}", "${A//\\//x}", "${",      "$",     "\"",      "'",      "\\",
      "`",      "<<E",         "<<-E",    "3<<E",  "[\"",     "\"]",    ",",
      "=",      " ",           "\t",      "#",     "/./",     "..",     "\xEF\xBB\xBF",
      "\xFF",   "\xC3\xA4"};

  std::size_t Below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }
  template <std::size_t N>
  std::string OneOf(const std::array<std::string_view, N>& choices) {
    return std::string(choices[Below(N)]);
  }

  static std::vector<std::string> Lines(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      lines.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (lines.empty()) lines.emplace_back("FROM alpine");
    return lines;
  }

  void Change(std::vector<std::string>& lines) {
    if (lines.empty()) lines.emplace_back("FROM alpine");
    const std::size_t at = Below(lines.size());
    const auto place = [&](std::size_t i) {
      return lines.begin() + static_cast<std::ptrdiff_t>(i);
    };
    std::string& line = lines[at];
    switch (Below(13)) {
      case 0:
      case 1:
      case 2:
        lines.insert(place(Below(lines.size() + 1)), OneOf(kInstructions));
        break;
      case 3:
        lines.erase(place(at));
        break;
      case 4:
        std::swap(line, lines[Below(lines.size())]);
        break;
      case 5: {
        const std::string copy = line;
        lines.insert(place(Below(lines.size() + 1)), copy);
        break;
      }
      case 6:  // a flag behind the keyword
      case 7:
        line.insert(std::min(line.find(' '), line.size()), " " + OneOf(kFlags));
        break;
      case 8: {  // one flag or word less
        const auto begin = line.find(' ', Below(line.size() + 1));
        if (begin != std::string::npos) line.erase(begin, line.find(' ', begin + 1) - begin);
        break;
      }
      case 9:
        line.insert(Below(line.size() + 1), OneOf(kPieces));
        break;
      case 10:  // goes on in the next line
        line += Below(4) == 0 ? "`" : "\\";
        break;
      case 11:
        line = (Below(2) == 0 ? "ONBUILD " : "  ") + line;
        break;
      default: {  // the case of its first word
        const std::size_t end = std::min(line.find(' '), line.size());
        for (std::size_t i = 0; i < end; ++i) {
          if (line[i] >= 'A' && line[i] <= 'Z' && Below(2) == 0) line[i] |= 0x20;
        }
        break;
      }
    }
  }

  void ChangeWhole(std::string& text) {
    switch (Below(4)) {
      case 0:
        text.insert(0, "\xEF\xBB\xBF");
        break;
      case 1: {
        std::string windows;
        for (const char c : text) windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
        text = std::move(windows);
        break;
      }
      case 2:
        text.insert(0, "# escape=`\n");
        break;
      default:
        if (!text.empty()) text.pop_back();  // no line end at the end
    }
  }

  std::minstd_rand random_;
};

}  // namespace kiln::fuzz
