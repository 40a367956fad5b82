#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "base/ids.h"
#include "base/time.h"
#include "filesync/destination.h"
#include "filesync/receiver.h"
#include "filesync/sender.h"

namespace kiln::filesync {
namespace {

namespace fs = std::filesystem;

class TempDir {
 public:
  TempDir() : path_(fs::temp_directory_path() / ("kiln-filesync-" + NewId())) {
    fs::create_directories(path_);
  }
  ~TempDir() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }
  Fd Open() const { return *OpenFile(path_, O_RDONLY | O_DIRECTORY); }

 private:
  fs::path path_;
};

void Put(const fs::path& path, std::string_view text) { std::ofstream(path) << text; }

std::string Get(const fs::path& path) { return ReadFile(path).value(); }

size_t NamesIn(const fs::path& dir) {
  const auto count = std::distance(fs::directory_iterator(dir), fs::directory_iterator());
  return static_cast<size_t>(count);
}

class TransferTest : public testing::Test {
 protected:
  Result<ReceiveReport> Transfer(ReceiveOptions options = {}, FolderOptions filter = {}) {
    auto [ours, theirs] = MakePacketPipe();
    std::thread sender([&, stream = theirs.get()] {
      auto tree = OpenFolder(from_.Open(), filter);
      ASSERT_TRUE(tree.ok()) << tree.error().ToString();
      sent_ = SendTree(activity_, *stream, **tree, {.listed_at_ns = listed_at_ns_});
      stream->CloseWrites();
    });
    const Fd root = to_.Open();
    options.previous = previous_;
    Result<ReceiveReport> report = ReceiveTree(activity_, *ours, root.get(), std::move(options));
    if (!report.ok()) ours->Cancel();
    sender.join();
    if (report.ok()) previous_ = report->entries;
    return report;
  }

  std::vector<std::string> Paths(const ReceiveReport& report) {
    std::vector<std::string> paths;
    for (const Entry& entry : report.entries) paths.push_back(entry.path);
    return paths;
  }
  std::vector<std::string> Changed(const ReceiveReport& report) {
    std::vector<std::string> paths;
    for (const uint32_t index : report.changed) paths.push_back(report.entries[index].path);
    return paths;
  }

  progress::Activity activity_;
  TempDir from_;
  TempDir to_;
  std::vector<Entry> previous_;
  Result<SendReport> sent_ = Unknown("not run");
  int64_t listed_at_ns_ = 0;
};

using Strings = std::vector<std::string>;

TEST_F(TransferTest, CopiesEveryKindOfFile) {
  fs::create_directories(from_.path() / "d/sub");
  Put(from_.path() / "d/sub/z", "zed");
  Put(from_.path() / "d/a", std::string(300'000, 'a'));
  Put(from_.path() / "d.txt", "");
  Put(from_.path() / "d-", "dash");
  fs::create_symlink("../elsewhere", from_.path() / "d/link");
  fs::create_hard_link(from_.path() / "d/a", from_.path() / "hard");
  ASSERT_EQ(mkfifo((from_.path() / "fifo").c_str(), 0622), 0);
  ASSERT_EQ(chmod((from_.path() / "d-").c_str(), 04751), 0);

  const auto report = Transfer();
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Paths(*report),
            (Strings{"d", "d/a", "d/link", "d/sub", "d/sub/z", "d-", "d.txt", "fifo", "hard"}));
  EXPECT_EQ(report->files_requested, 3U);  // not the empty one, not the second name
  EXPECT_EQ(Get(to_.path() / "d/a"), std::string(300'000, 'a'));
  EXPECT_EQ(Get(to_.path() / "d.txt"), "");
  EXPECT_EQ(fs::read_symlink(to_.path() / "d/link"), "../elsewhere");
  EXPECT_EQ(fs::hard_link_count(to_.path() / "hard"), 2U);
  EXPECT_TRUE(fs::is_fifo(to_.path() / "fifo"));
  struct stat from{};
  struct stat to{};
  for (const char* name : {"d", "d/a", "d/sub/z", "d-", "d.txt", "fifo", "d/link"}) {
    ASSERT_EQ(lstat((from_.path() / name).c_str(), &from), 0);
    ASSERT_EQ(lstat((to_.path() / name).c_str(), &to), 0) << name;
    EXPECT_EQ(from.st_mode, to.st_mode) << name;
    EXPECT_EQ(from.st_mtim.tv_sec, to.st_mtim.tv_sec) << name;
    EXPECT_EQ(from.st_mtim.tv_nsec, to.st_mtim.tv_nsec) << name;
  }
  for (const Entry& entry : report->entries)
    EXPECT_EQ(entry.digest.empty(), !entry.IsRegular()) << entry.path;
  EXPECT_EQ(report->entries[1].digest, Sha256Of(std::string(300'000, 'a')));
  EXPECT_EQ(report->entries[8].digest, report->entries[1].digest);
}

TEST_F(TransferTest, AsksOnlyForWhatChanged) {
  fs::create_directories(from_.path() / "a/b");
  Put(from_.path() / "a/b/one", "1");
  Put(from_.path() / "a/two", "2");
  Put(from_.path() / "three", "3");
  ASSERT_TRUE(Transfer().ok());

  const auto same = Transfer();
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->files_requested, 0U);
  EXPECT_TRUE(same->changed.empty() && same->removed.empty());
  EXPECT_EQ(same->entries.back().digest, Sha256Of("3"));

  Put(from_.path() / "a/two", "2!");
  fs::remove_all(from_.path() / "a/b");
  const auto changed = Transfer();
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed->files_requested, 1U);
  EXPECT_EQ(Changed(*changed), Strings{"a/two"});
  EXPECT_EQ(changed->removed, Strings{"a/b"});
  EXPECT_EQ(Get(to_.path() / "a/two"), "2!");
  EXPECT_FALSE(fs::exists(to_.path() / "a/b"));
  EXPECT_EQ(fs::last_write_time(from_.path() / "a"), fs::last_write_time(to_.path() / "a"));

  const auto again = Transfer({.differ_none = true});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->files_requested, 2U);
}

TEST_F(TransferTest, ReplacesOneKindByAnother) {
  fs::create_directories(from_.path() / "x/deep/er");
  Put(from_.path() / "x/deep/er/f", "f");
  Put(from_.path() / "y", "file");
  fs::create_symlink("y", from_.path() / "z");
  ASSERT_TRUE(Transfer().ok());
  fs::remove_all(from_.path() / "x");
  fs::remove(from_.path() / "y");
  fs::remove(from_.path() / "z");
  Put(from_.path() / "x", "now a file");
  fs::create_directories(from_.path() / "y");
  Put(from_.path() / "y/in", "in");
  Put(from_.path() / "z", "no link");
  const auto report = Transfer();
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Get(to_.path() / "x"), "now a file");
  EXPECT_EQ(Get(to_.path() / "y/in"), "in");
  EXPECT_FALSE(fs::is_symlink(to_.path() / "z"));
  EXPECT_TRUE(report->removed.empty());
}

TEST_F(TransferTest, NoticesAChangeBehindTheSameSizeAndTimes) {
  const auto now = [] { return UnixNanos(SystemClock().Now()); };
  Put(from_.path() / "a", "one");
  Put(from_.path() / "b", "two");
  const auto written = fs::last_write_time(from_.path() / "a");
  // As if they had been written long before.
  listed_at_ns_ = now() + 1'000'000'000;
  auto report = Transfer({}, {.tell_changes = true});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->listed_at_ns, listed_at_ns_);
  report = Transfer({.previous_listed_at_ns = listed_at_ns_}, {.tell_changes = true});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->files_requested, 0U);

  const int64_t before = now();
  Put(from_.path() / "a", "eno");
  fs::last_write_time(from_.path() / "a", written);
  report = Transfer({}, {});  // a sender that says nothing of it
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(Get(to_.path() / "a"), "one");
  report = Transfer({.previous_listed_at_ns = before}, {.tell_changes = true});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(Get(to_.path() / "a"), "eno");
  // Of the other nothing is known but that it was written just before.
  EXPECT_LE(report->files_requested, 2U);
  report = Transfer({.previous_listed_at_ns = now() + 1'000'000'000}, {.tell_changes = true});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->files_requested, 0U);
  // Nobody knows when the previous listing was made.
  report = Transfer({}, {.tell_changes = true});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->files_requested, 2U);
}

TEST_F(TransferTest, MergingRemovesOnlyWhatIsInTheWay) {
  fs::create_directories(to_.path() / "both/old");
  fs::create_directories(to_.path() / "file/was/dir");
  Put(to_.path() / "dir", "was a file");
  Put(to_.path() / "both/stays", "s");
  Put(to_.path() / "both/new", "old text");
  fs::create_directories(from_.path() / "both");
  fs::create_directories(from_.path() / "dir");
  Put(from_.path() / "both/new", "new");
  Put(from_.path() / "file", "f");
  const auto report = Transfer({.merge = true});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Get(to_.path() / "both/stays"), "s");
  EXPECT_EQ(Get(to_.path() / "both/new"), "new");
  EXPECT_EQ(Get(to_.path() / "file"), "f");
  EXPECT_TRUE(fs::is_directory(to_.path() / "dir") && fs::is_directory(to_.path() / "both/old"));
}

// A transfer that was killed leaves files under the names that the next one takes.
TEST_F(TransferTest, ReplacesWhatAKilledTransferHasLeft) {
  for (const char* name : {"file", "empty", "link", "linked"}) {
    Put(to_.path() / name, "old");
    Put(to_.path() / Destination(to_.Open().get()).PlaceOf(name)->temporary, "half");
  }
  Put(from_.path() / "file", "new");
  Put(from_.path() / "empty", "");
  fs::create_symlink("file", from_.path() / "link");
  fs::create_hard_link(from_.path() / "file", from_.path() / "linked");
  const auto report = Transfer({.merge = true});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Get(to_.path() / "file"), "new");
  EXPECT_EQ(Get(to_.path() / "empty"), "");
  EXPECT_EQ(Get(to_.path() / "linked"), "new");
  EXPECT_TRUE(fs::is_symlink(to_.path() / "link"));
  EXPECT_EQ(NamesIn(to_.path()), 4U);
}

TEST_F(TransferTest, NeverWritesThroughAnOldHardLink) {
  Put(from_.path() / "a", "one");
  ASSERT_TRUE(Transfer().ok());
  fs::create_hard_link(to_.path() / "a", to_.path().string() + ".kept");
  Put(from_.path() / "a", "other");
  ASSERT_TRUE(Transfer().ok());
  EXPECT_EQ(Get(to_.path().string() + ".kept"), "one");
  EXPECT_EQ(Get(to_.path() / "a"), "other");
  fs::remove(to_.path().string() + ".kept");
}

TEST_F(TransferTest, FiltersOnTheSendersSide) {
  fs::create_directories(from_.path() / "src/gen");
  fs::create_directories(from_.path() / "docs");
  Put(from_.path() / "src/a.c", "");
  Put(from_.path() / "src/a.o", "");
  Put(from_.path() / "src/gen/keep.o", "");
  Put(from_.path() / "docs/x", "");
  auto report = Transfer({}, {.exclude = {"**/*.o", "!src/gen/keep.o", "docs"}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(Paths(*report), (Strings{"src", "src/a.c", "src/gen", "src/gen/keep.o"}));
  report = Transfer({}, {.include = {"docs"}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(Paths(*report), (Strings{"docs", "docs/x"}));
  EXPECT_FALSE(fs::exists(to_.path() / "src"));
}

TEST_F(TransferTest, FollowsLinksInRequestedPaths) {
  fs::create_directories(from_.path() / "real/dir");
  Put(from_.path() / "real/dir/Dockerfile", "FROM scratch");
  Put(from_.path() / "other", "");
  fs::create_symlink("real/dir", from_.path() / "alias");
  fs::create_symlink("/../../alias/Dockerfile", from_.path() / "Dockerfile");
  const auto report = Transfer({}, {.follow_paths = {"Dockerfile", "missing"}});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(Paths(*report),
            (Strings{"Dockerfile", "alias", "real", "real/dir", "real/dir/Dockerfile"}));
}

TEST_F(TransferTest, MetadataOnlyWritesAListAndWhatMatches) {
  fs::create_directories(from_.path() / "a/b");
  Put(from_.path() / "a/b/wanted", "w");
  Put(from_.path() / "a/other", "o");
  Put(from_.path() / ".fsutil-metadata", "bogus");
  ReceiveOptions options;
  options.metadata_only = true;
  options.content_patterns = {"a/b/wanted"};
  const auto report = Transfer(options);
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(Paths(*report), (Strings{".fsutil-metadata", "a", "a/b", "a/b/wanted"}));
  EXPECT_EQ(Get(to_.path() / "a/b/wanted"), "w");
  EXPECT_FALSE(fs::exists(to_.path() / "a/other"));
  EXPECT_NE(Get(to_.path() / ".fsutil-metadata").find("a/other"), std::string::npos);
  const auto again = Transfer(options);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->files_requested, 0U);
}

// 500 folders of 100 files, on no disk.
class LargeTree final : public Tree {
 public:
  Status Walk(const progress::Activity&, const Visitor& visit) override {
    for (int dir = 100; dir < 600; ++dir) {
      Entry entry{.path = fmt::format("dir{}", dir), .mode = S_IFDIR | 0755};
      TRY(visit(entry));
      for (int file = 100; file < 200; ++file) {
        const std::string path = fmt::format("dir{}/file{}", dir, file);
        const bool touched = path == touched_path;
        TRY(visit({.path = path, .mode = S_IFREG | 0644, .size = 7, .mtime_ns = touched ? 2 : 1}));
      }
    }
    return OkStatus();
  }
  Result<Content> Open(const Entry&) override { return Content{{}, "content"}; }

  std::string touched_path;
};

TEST_F(TransferTest, FiftyThousandFilesNeedOneRequestPerChange) {
  const fs::path memory = "/dev/shm/kiln-filesync-" + NewId();
  fs::create_directories(memory);
  const Fd root = OpenFile(memory, O_RDONLY | O_DIRECTORY).value();
  LargeTree tree;
  std::vector<Entry> previous;
  const auto transfer = [&] {
    auto [ours, theirs] = MakePacketPipe();
    std::thread sender([&, stream = theirs.get()] {
      EXPECT_TRUE(SendTree(activity_, *stream, tree).ok());
      stream->CloseWrites();
    });
    ReceiveReport report =
        ReceiveTree(activity_, *ours, root.get(), {.previous = previous}).value();
    sender.join();
    previous = report.entries;
    return report;
  };
  EXPECT_EQ(transfer().files_requested, 50'000U);
  EXPECT_EQ(transfer().files_requested, 0U);
  tree.touched_path = "dir300/file150";
  const ReceiveReport report = transfer();
  EXPECT_EQ(report.files_requested, 1U);
  EXPECT_EQ(Changed(report), Strings{"dir300/file150"});
  EXPECT_EQ(*DecodeListing(EncodeListing(report.entries)), report.entries);
  fs::remove_all(memory);
}

TEST_F(TransferTest, EndsWhenCancelled) {
  CancelSource source;
  activity_.cancel = source.token();
  auto [ours, theirs] = MakePacketPipe();
  std::thread canceller([&] { source.Cancel(); });
  const auto report = ReceiveTree(activity_, *ours, to_.Open().get(), {});
  canceller.join();
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.error().code(), Code::kCancelled);
}

// Streams that no honest sender makes.
class HostileSenderTest : public TransferTest {
 protected:
  static Packet Stat(const std::string& path, uint32_t go_mode, int64_t size = 0,
                     const std::string& link = "") {
    Packet packet;
    packet.mutable_stat()->set_path(path);
    packet.mutable_stat()->set_mode(go_mode);
    packet.mutable_stat()->set_size(size);
    packet.mutable_stat()->set_linkname(link);
    return packet;
  }
  static Packet Data(uint32_t id, const std::string& data) {
    Packet packet;
    packet.set_type(Packet::PACKET_DATA);
    packet.set_id(id);
    packet.set_data(data);
    return packet;
  }
  static Packet OfType(Packet::PacketType type) {
    Packet packet;
    packet.set_type(type);
    return packet;
  }

  // The error that these packets and the end of the stream after them give.
  std::string ErrorOf(const std::vector<Packet>& packets) {
    auto [ours, theirs] = MakePacketPipe();
    for (const Packet& packet : packets) theirs->Write(packet, false);
    theirs->CloseWrites();
    const TempDir fresh;
    const auto report = ReceiveTree(activity_, *ours, fresh.Open().get(), {});
    return report.ok() ? "" : report.error().ToString();
  }

  static constexpr uint32_t kFile = 0644;
  static constexpr uint32_t kDir = 0x80000000 | 0755;
  static constexpr uint32_t kLink = 0x08000000 | 0777;
};

// Transfers that go on at the same time into one folder.
class SharedFolderTest : public HostileSenderTest {
 protected:
  struct Export {
    std::unique_ptr<PacketStream> ours, theirs;
    std::thread receiver;
    std::optional<Result<ReceiveReport>> report;
  };
  static constexpr int64_t kHalf = 300'000;  // more than is gathered before a file is made

  // Lists a link and a file, and sends half of the file; returns when that is being written.
  void Begin(Export& to) {
    std::tie(to.ours, to.theirs) = MakePacketPipe();
    to.receiver = std::thread([this, &to] {
      const Fd root = to_.Open();
      to.report = ReceiveTree(activity_, *to.ours, root.get(), {.merge = true});
    });
    const size_t names = TemporaryNames();
    to.theirs->Write(Stat("file", kFile, 2 * kHalf), false);
    to.theirs->Write(Stat("link", kLink, 0, "nowhere"), false);
    to.theirs->Write(Packet(), false);
    to.theirs->Write(Data(0, std::string(kHalf, 'a')), false);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (TemporaryNames() == names && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
  }

  void SendRest(Export& to) {
    to.theirs->Write(Data(0, std::string(kHalf, 'b')), false);
    to.theirs->Write(Data(0, ""), false);
    to.theirs->Write(OfType(Packet::PACKET_FIN), false);
    End(to);
  }

  void End(Export& to) {
    to.theirs->CloseWrites();
    to.receiver.join();
  }

  // Of files: a link has its own for a moment only.
  size_t TemporaryNames() const {
    size_t count = 0;
    for (const auto& entry : fs::directory_iterator(to_.path())) {
      if (entry.is_regular_file() && IsTemporaryName(entry.path().filename().string())) ++count;
    }
    return count;
  }
};

TEST_F(SharedFolderTest, BothEndWellAndLeaveNothingBehind) {
  Export first;
  Export second;
  Begin(first);
  Begin(second);
  SendRest(first);
  SendRest(second);
  for (const Export* each : {&first, &second})
    EXPECT_TRUE(each->report->ok()) << each->report->error().ToString();
  EXPECT_EQ(Get(to_.path() / "file"), std::string(kHalf, 'a') + std::string(kHalf, 'b'));
  EXPECT_TRUE(fs::is_symlink(to_.path() / "link"));
  EXPECT_EQ(NamesIn(to_.path()), 2U);
}

TEST_F(SharedFolderTest, OneThatFailsTakesNothingOfTheOther) {
  Export first;
  Export second;
  Begin(first);
  Begin(second);
  End(first);  // in the middle of the file
  EXPECT_FALSE(first.report->ok());
  SendRest(second);
  EXPECT_TRUE(second.report->ok()) << second.report->error().ToString();
  EXPECT_EQ(NamesIn(to_.path()), 2U);
}

TEST_F(HostileSenderTest, BadPathsAreRefused) {
  for (const char* path : {"", "/etc", "..", "../x", "a/../b", "a//b", "a/", ".", "./a", "a/."}) {
    EXPECT_NE(ErrorOf({Stat("a", kDir), Stat(path, kFile)}), "") << path;
  }
  EXPECT_NE(ErrorOf({Stat(std::string("a\0b", 3), kFile)}).find("bad path"), std::string::npos);
  EXPECT_NE(ErrorOf({Stat(std::string(300, 'x'), kFile)}).find("bad path"), std::string::npos);
}

TEST_F(HostileSenderTest, DisorderIsRefused) {
  const char* kText = "changes out of order";
  EXPECT_NE(ErrorOf({Stat("b", kDir), Stat("a", kDir)}).find(kText), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kDir), Stat("a", kDir)}).find(kText), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kDir), Stat("a-b", kDir), Stat("a/b", kDir)}).find(kText),
            std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a/b", kFile)}).find(kText), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kLink, 0, "/etc"), Stat("a/passwd", kFile)}).find(kText),
            std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kDir), Stat("b", kDir), Stat("c/x", kDir)}).find(kText),
            std::string::npos);
}

TEST_F(HostileSenderTest, LinksMustNameAFileListedBefore) {
  EXPECT_NE(ErrorOf({Stat("a", kFile, 0, "/etc/passwd")}).find("hard link"), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kDir), Stat("b", kFile, 0, "a")}).find("hard link"),
            std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kLink, 0, "/x"), Stat("b", kFile, 0, "a")}).find("hard link"),
            std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kFile, 0, "b"), Stat("b", kFile)}).find("hard link"),
            std::string::npos);
}

TEST_F(HostileSenderTest, ContentMustBeAskedForAndComplete) {
  const Packet end;
  EXPECT_NE(ErrorOf({Stat("a", kFile, 3), end, Data(1, "xxx")}).find("unasked"), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kDir), end, Data(0, "xxx")}).find("unasked"), std::string::npos);
  EXPECT_NE(
      ErrorOf({Stat("a", kFile, 3), end, Data(0, "xx"), Data(0, ""), OfType(Packet::PACKET_FIN)})
          .find("got 2"),
      std::string::npos);
  EXPECT_NE(
      ErrorOf({Stat("a", kFile, 3), end, Data(0, "xxxx"), Data(0, ""), OfType(Packet::PACKET_FIN)})
          .find("got 4"),
      std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kFile, 3), end, OfType(Packet::PACKET_FIN)}).find("before"),
            std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kFile, 3), end, Stat("b", kFile)}).find("after the end"),
            std::string::npos);
  EXPECT_NE(ErrorOf({OfType(Packet::PACKET_REQ)}), "");
}

TEST_F(HostileSenderTest, SendersErrorIsReported) {
  Packet error = OfType(Packet::PACKET_ERR);
  error.set_data("disk on fire");
  EXPECT_EQ(ErrorOf({error}), "error from sender: disk on fire");
}

TEST_F(HostileSenderTest, OddModesAreRefused) {
  EXPECT_NE(ErrorOf({Stat("a", 0x00080000)}).find("irregular"), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", 0x88000000)}).find("bad file mode"), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kLink)}).find("bad link target"), std::string::npos);
  EXPECT_NE(ErrorOf({Stat("a", kFile, -1)}).find("negative"), std::string::npos);
}

TEST(EntryTest, OrderPutsSlashFirst) {
  const std::vector<std::string> sorted = {"d", "d/a", "d/sub", "d/sub/z", "d-x", "d.txt", "da"};
  for (size_t i = 0; i < sorted.size(); ++i) {
    for (size_t j = 0; j < sorted.size(); ++j) {
      EXPECT_EQ(ComparePaths(sorted[i], sorted[j]) < 0, i < j) << sorted[i] << " " << sorted[j];
    }
  }
}

TEST(EntryTest, ModesAreGos) {
  EXPECT_EQ(GoModeOf(S_IFDIR | 0755), 0x800001edU);
  EXPECT_EQ(GoModeOf(S_IFDIR | 01777), 0x801001ffU);
  EXPECT_EQ(GoModeOf(S_IFLNK | 0777), 0x080001ffU);
  EXPECT_EQ(GoModeOf(S_IFCHR | 0644), 0x042001a4U);
  EXPECT_EQ(GoModeOf(S_IFIFO | 0644), 0x020001a4U);
  for (const uint32_t mode : {S_IFREG | 04755U, S_IFBLK | 0600U, S_IFDIR | 02700U}) {
    EXPECT_EQ(ModeFromGo(GoModeOf(mode)).value(), mode);
  }
}

TEST(EntryTest, ListingSurvivesOnlyUndamaged) {
  const std::string bytes = EncodeListing({Entry{.path = "a", .mode = S_IFREG | 0644, .size = 1}});
  ASSERT_TRUE(DecodeListing(bytes).ok());
  for (size_t size = 1; size < bytes.size(); ++size) {
    const auto cut = DecodeListing(std::string_view(bytes).substr(0, size));
    EXPECT_TRUE(!cut.ok() || cut->empty()) << size;
  }
}

}  // namespace
}  // namespace kiln::filesync
