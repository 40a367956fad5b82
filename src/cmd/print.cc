#include "cmd/print.h"

#include <unistd.h>

#include <cstdio>

#include "client/display_model.h"

namespace kiln::cmd {
namespace {

void Write(std::string_view text, std::FILE* to) { std::fwrite(text.data(), 1, text.size(), to); }

}  // namespace

void Print(std::string_view text) {
  static const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (terminal) return Write(client::CleanText(text), stdout);
  Write(text, stdout);
}

void PrintError(std::string_view text) {
  // What was printed before comes first where both are one terminal.
  std::fflush(stdout);
  Write(client::CleanText(text), stderr);
}

}  // namespace kiln::cmd
