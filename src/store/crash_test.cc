#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "base/strings.h"
#include "store/store.h"
#include "store/testing/files.h"
#include "sys/command.h"
#include "sys/testing/test_spawner.h"

namespace kiln::store {
namespace {

// Runs the writer until it has said `lines` lines, then kills it wherever it is.
std::string RunAndKill(const std::string& root, int lines) {
  CancelSource cancel;
  std::string said;
  int seen = 0;
  sys::Command command;
  command.program = sys::ProgramBeside("store_writer");
  command.args = {root};
  command.on_output = [&](int stream, std::string_view data) {
    if (stream != 1) return;
    said.append(data);
    seen += static_cast<int>(std::count(data.begin(), data.end(), '\n'));
    if (seen >= lines) cancel.Cancel();
  };
  command.on_cancel = [](sys::Child& child, bool) { (void)child.Signal(SIGKILL).ok(); };
  const auto result = sys::RunCommand(sys::TestSpawner(), std::move(command), cancel.token());
  EXPECT_FALSE(result.ok());  // cancelled
  return said.substr(0, said.rfind('\n') + 1);
}

void ExpectKept(Store& store, std::string_view said) {
  for (std::string_view line : Split(said, '\n')) {
    const std::vector<std::string_view> words = Split(line, ' ');
    if (words.size() != 3) continue;
    if (words[0] == "ref") {
      const auto ref = store.Claim(std::string(words[1]));
      ASSERT_TRUE(ref.ok()) << line;
      EXPECT_EQ(Must(Must(store.Tree(*ref)).ReadFile("/f")), words[2]);
    } else {
      const auto blob = store.GetBlob(Must(Digest::Parse(words[1])));
      ASSERT_TRUE(blob.ok()) << line;
      EXPECT_EQ(Sha256Of(Must(blob->ReadAll())).ToString(), words[1]);
    }
  }
}

TEST(CrashTest, WhatWasPromisedSurvivesKill9) {
  const sys::TempDir temp;
  const std::string root = temp / "root";
  std::mt19937 random(7);
  std::string promised;
  StoreOptions options;
  options.root = root;
  for (int round = 0; round < 8; ++round) {
    promised += RunAndKill(root, 5 + static_cast<int>(random() % 30));
    auto opened = Store::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    ExpectKept(**opened, promised);
    NamedDirOptions named;
    named.key = "dir";
    const NamedDir dir = Must((*opened)->OpenNamedDir(progress::Activity(), named));
    EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  }
  EXPECT_GT(promised.size(), 1000U);
  const auto store = Must(Store::Open(options));
  PruneRule everything;
  everything.all = true;
  const std::vector<PruneRule> rules{everything};
  Must(store->Prune(progress::Activity(), rules, nullptr));
  store->WaitForDeletions();
  for (const char* folder : {"/snapshots", "/blobs/sha256", "/ingest", "/trash"}) {
    EXPECT_TRUE(std::filesystem::is_empty(root + folder)) << folder;
  }
}

}  // namespace
}  // namespace kiln::store
