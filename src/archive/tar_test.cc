#include "archive/tar.h"

#include <gtest/gtest.h>

#include "base/digest.h"

namespace kiln::archive {
namespace {

TarEntry Make(EntryType type, std::string path, uint32_t mode) {
  TarEntry entry;
  entry.type = type;
  entry.path = std::move(path);
  entry.mode = mode;
  entry.mtime = FromUnixNanos(1'700'000'000'999'999'999);  // the fraction is cut
  return entry;
}

struct Item {
  TarEntry entry;
  std::string data;
};

std::vector<Item> Everything() {
  std::vector<Item> items;
  auto add = [&](TarEntry entry, std::string data = {}) -> TarEntry& {
    entry.size = static_cast<int64_t>(data.size());
    return items.emplace_back(std::move(entry), std::move(data)).entry;
  };
  add(Make(EntryType::kDirectory, "d", 0755));
  auto& file = add(Make(EntryType::kFile, "d/f", 04644), "hello");
  file.uid = 1000;
  file.gid = 100;
  add(Make(EntryType::kSymlink, "d/s", 0777)).link = "../x";
  add(Make(EntryType::kHardlink, "d/h", 0644)).link = "d/f";
  auto& device = add(Make(EntryType::kCharDevice, "d/c", 0600));
  device.device_major = 1;
  device.device_minor = 3;
  add(Make(EntryType::kFifo, "d/p", 0600));
  add(Make(EntryType::kFile, std::string(90, 'd') + "/" + std::string(60, 'f'), 0644), "x");
  add(Make(EntryType::kFile, std::string(180, 'x'), 0644));
  add(Make(EntryType::kDirectory, "grün", 0755));
  add(Make(EntryType::kFile, "grün/é", 0644)).uid = 3'000'000;
  add(Make(EntryType::kFile, "cap", 0755)).xattrs["security.capability"] =
      std::string("\1\0\0\2a", 5);
  add(Make(EntryType::kFile, "old", 0755)).mtime = WallTime(std::chrono::seconds(-5));
  add(Make(EntryType::kSymlink, "ls", 0777)).link = std::string(120, 'l');
  return items;
}

std::string Write(const std::vector<Item>& items) {
  StringSink sink;
  TarWriter writer(sink);
  for (const auto& item : items) {
    EXPECT_TRUE(writer.Add(item.entry).ok());
    EXPECT_TRUE(writer.WriteData(item.data).ok());
  }
  EXPECT_TRUE(writer.Finish().ok());
  return sink.text();
}

// Size and digest of what Go 1.26's archive/tar writes for the same entries.
TEST(TarWriterTest, WritesTheBytesThatGoWrites) {
  std::string tar = Write(Everything());
  EXPECT_EQ(tar.size(), 14848U);
  EXPECT_EQ(Sha256Of(tar).hex(),
            "dec27eeebe6f8b3d300db567770722cf2724012f8da4f9bf8605f428a434cf11");
}

TEST(TarReaderTest, ReadsBackWhatWasWritten) {
  auto items = Everything();
  std::string tar = Write(items);
  StringSource source(tar);
  TarReader reader(source);
  for (const auto& item : items) {
    TarEntry entry;
    auto more = reader.Next(&entry);
    ASSERT_TRUE(more.ok()) << more.error().ToString();
    ASSERT_TRUE(*more);
    EXPECT_EQ(entry.path, item.entry.path);
    EXPECT_EQ(entry.type, item.entry.type);
    EXPECT_EQ(entry.mode, item.entry.mode) << entry.path;
    EXPECT_EQ(entry.uid, item.entry.uid);
    EXPECT_EQ(entry.link, item.entry.link);
    EXPECT_EQ(entry.size, item.entry.size);
    EXPECT_EQ(entry.xattrs, item.entry.xattrs) << entry.path;
    EXPECT_EQ(entry.device_minor, item.entry.device_minor);
    // Nothing unpacks as older than 1970.
    EXPECT_EQ(std::chrono::floor<std::chrono::seconds>(entry.mtime),
              std::chrono::floor<std::chrono::seconds>(std::max(item.entry.mtime, WallTime())))
        << entry.path;
    char data[16];
    auto count = reader.Read(data, sizeof data);
    ASSERT_TRUE(count.ok());
    EXPECT_EQ(std::string(data, *count), item.data);
  }
  TarEntry entry;
  EXPECT_FALSE(*reader.Next(&entry));
}

TEST(TarWriterTest, RefusesMissingAndSurplusData) {
  StringSink sink;
  TarWriter writer(sink);
  TarEntry entry = Make(EntryType::kFile, "f", 0644);
  entry.size = 3;
  ASSERT_TRUE(writer.Add(entry).ok());
  EXPECT_FALSE(writer.WriteData("four").ok());
  ASSERT_TRUE(writer.WriteData("12").ok());
  EXPECT_FALSE(writer.Add(entry).ok());
  EXPECT_FALSE(writer.Finish().ok());
}

// The header's number at `offset` in base 256, which holds more than its octal digits.
void PutBase256(std::string* tar, size_t offset, uint64_t value) {
  for (size_t i = 0; i < 8; ++i) (*tar)[offset + 7 - i] = static_cast<char>(value >> (8 * i));
  (*tar)[offset] = static_cast<char>((*tar)[offset] | '\x80');
  std::fill_n(tar->begin() + 148, 8, ' ');
  unsigned sum = 0;
  for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>((*tar)[i]);
  tar->replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
}

Result<std::vector<TarEntry>> ReadTar(std::string_view tar) {
  StringSource source(tar);
  TarReader reader(source);
  std::vector<TarEntry> entries;
  for (;;) {
    TarEntry entry;
    TRY_ASSIGN(bool more, reader.Next(&entry));
    if (!more) return entries;
    entries.push_back(entry);
  }
}

TEST(TarReaderTest, DeviceNumbersAreRightOrRefused) {
  constexpr size_t kMajor = 329;
  constexpr size_t kMinor = 337;
  for (const EntryType type : {EntryType::kCharDevice, EntryType::kBlockDevice}) {
    std::string tar = Write({{Make(type, "d", 0600), ""}});
    PutBase256(&tar, kMajor, UINT32_MAX);
    auto read = ReadTar(tar);
    ASSERT_TRUE(read.ok()) << read.error().ToString();
    EXPECT_EQ(read->front().device_major, UINT32_MAX);
    PutBase256(&tar, kMajor, (uint64_t{1} << 32) + 1);
    EXPECT_EQ(ReadTar(tar).error().ToString(),
              "tar: device number 4294967297:0 for \"d\" out of range");
    PutBase256(&tar, kMajor, 1);
    PutBase256(&tar, kMinor, (uint64_t{1} << 40) + 3);
    EXPECT_EQ(ReadTar(tar).error().code(), Code::kInvalidArgument);
  }
}

TEST(TarReaderTest, CleansAndRefusesPaths) {
  auto one = [](std::string path) {
    return Write({{Make(EntryType::kFile, std::move(path), 0644), ""}});
  };
  EXPECT_EQ(ReadTar(one("/a//b/./c"))->at(0).path, "a/b/c");
  EXPECT_EQ(ReadTar(one("./"))->at(0).path, "");
  EXPECT_EQ(ReadTar(one("a/../../b")).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ReadTar(one("../b")).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(ReadTar(one(std::string(5000, 'p'))).error().code(), Code::kInvalidArgument);
}

TEST(TarReaderTest, CutOrDamagedInputIsAnError) {
  std::string tar = Write(Everything());
  EXPECT_FALSE(ReadTar(std::string_view(tar).substr(0, 1100)).ok());
  EXPECT_FALSE(ReadTar("this is not a tar at all, but it is long enough to be looked at" +
                       std::string(600, 'z'))
                   .ok());
  std::string damaged = tar;
  damaged[20] ^= 1;  // the checksum no longer fits
  EXPECT_FALSE(ReadTar(damaged).ok());
}

}  // namespace
}  // namespace kiln::archive
