#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

// The syntax tree of a Dockerfile: what was written, nothing expanded, nothing resolved.
namespace kiln::dockerfile {

// Physical lines, 1-based, both ends included.
struct LineRange {
  int first = 0;
  int last = 0;
  friend bool operator==(const LineRange&, const LineRange&) = default;
};
// Somewhere in the file, nobody says where.
inline constexpr LineRange kNowhere{1, 0};

struct Heredoc {
  std::string name;
  int fd = 0;
  bool expand = true;       // false as soon as any part of the name was quoted
  bool strip_tabs = false;  // `<<-`: leading tabs of each body line do not count
  std::string content;      // body lines as written, with their line ends
};

// The argument of RUN, CMD, ENTRYPOINT, HEALTHCHECK CMD: an argv, or one string for a shell.
struct CommandText {
  std::vector<std::string> args;  // shell form: exactly one element
  bool shell = true;
  std::vector<Heredoc> heredocs;  // RUN only
};

struct KeyValue {
  std::string key;
  std::string value;
};

// One `--mount=` as written: keys are lower case and known, values are neither expanded nor
// checked, except that `from` holds no variable.
struct MountSpec {
  std::vector<std::pair<std::string, std::optional<std::string>>> fields;
  std::string problem;  // why the keys are wrong; said when the step is lowered
  std::string text;
  // The stage, context or image named by `from`, empty if there is none.
  std::string from() const;
};

struct From {
  std::string base;
  std::string name;  // lower case; empty if the stage is unnamed
  std::string name_as_written;
  std::string platform;
  std::string as_keyword;
};

struct Device {
  std::string name;
  bool required = false;
};

struct Run {
  CommandText command;
  std::vector<MountSpec> mounts;
  std::string network;   // "", default, none, host
  std::string security;  // "", sandbox, insecure
  std::vector<Device> devices;
};

// COPY and ADD.
struct Copy {
  bool add = false;
  std::vector<std::string> sources;
  std::vector<Heredoc> inline_files;
  std::string dest;
  std::string from;
  std::string chown;
  std::string chmod;
  std::string checksum;
  bool link = false;
  bool parents = false;
  std::optional<bool> keep_git_dir;
  std::optional<bool> unpack;
  std::vector<std::string> exclude;
};

struct Env {
  std::vector<KeyValue> pairs;
  bool legacy = false;  // `ENV key value`
};
struct Label {
  std::vector<KeyValue> pairs;
  bool legacy = false;
};
struct Arg {
  struct Item {
    std::string key;
    std::optional<std::string> value;
  };
  std::vector<Item> items;
};
struct Workdir {
  std::string path;
};
struct User {
  std::string user;
};
struct Cmd {
  CommandText command;
};
struct Entrypoint {
  CommandText command;
};
struct Healthcheck {
  bool none = false;
  CommandText command;
  // Go durations as nanoseconds; absent means 0.
  std::int64_t interval_ns = 0;
  std::int64_t timeout_ns = 0;
  std::int64_t start_period_ns = 0;
  std::int64_t start_interval_ns = 0;
  int retries = 0;
};
struct Expose {
  std::vector<std::string> ports;
};
struct Volume {
  std::vector<std::string> paths;
};
struct StopSignal {
  std::string signal;
};
struct Shell {
  std::vector<std::string> args;
};
struct Maintainer {
  std::string name;
};
struct Onbuild {
  std::string trigger;  // the nested instruction's text, heredoc bodies included
};

using InstructionBody =
    std::variant<From, Run, Copy, Env, Label, Arg, Workdir, User, Cmd, Entrypoint, Healthcheck,
                 Expose, Volume, StopSignal, Shell, Maintainer, Onbuild>;

struct Instruction {
  std::string keyword;   // upper case
  std::string original;  // the logical line as written, continuations joined
  LineRange lines;
  std::vector<std::string> comments;  // preceding comment lines, without '#'
  InstructionBody body;
};

struct Stage {
  From from;
  Instruction head;  // the FROM itself
  std::vector<Instruction> instructions;
  int index = 0;
};

// The file's name and bytes: errors carry them so that clients can print the lines meant.
struct SourceFile {
  std::string filename;
  std::string data;
};

struct Dockerfile {
  char escape = '\\';
  std::vector<Instruction> global_args;  // ARG before the first FROM
  std::vector<Stage> stages;
  std::vector<LineRange> empty_continuations;  // last lines of instructions continued over blanks
  // What ends a file before its end: an instruction that cannot be parsed, or stands where it must
  // not. Of the former only what its words say is known.
  std::optional<Instruction> failed;
};

}  // namespace kiln::dockerfile
