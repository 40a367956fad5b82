#include "archive/compression.h"

#include <gtest/gtest.h>

#include <random>

namespace kiln::archive {
namespace {

std::string SomeText(size_t bytes) {
  std::mt19937 random(7);
  std::string text;
  while (text.size() < bytes) {
    // One draw per statement: the operands of + may be evaluated in any order.
    const char end = random() % 9 == 0 ? '\n' : ' ';
    text += "word" + std::to_string(random() % 5000) + end;
  }
  text.resize(bytes);
  return text;
}

// Text, noise, runs and repeats in turn, as in the files of a real layer.
std::string MixedData(size_t bytes) {
  std::mt19937 random(11);
  std::string data;
  while (data.size() < bytes) {
    size_t size = 1 + random() % 60'000;
    switch (random() % 4) {
      case 0:
        data += SomeText(size);
        break;
      case 1:
        for (size_t i = 0; i < size; ++i) data.push_back(static_cast<char>(random()));
        break;
      case 2:
        data.append(size, static_cast<char>(random() % 3));
        break;
      default:
        data += data.substr(data.size() - std::min(size, data.size()));
    }
  }
  data.resize(bytes);
  return data;
}

std::string Compress(std::string_view data, CompressionOptions options, size_t threads,
                     LayerBlob* blob = nullptr) {
  WorkerPool pool("cpu", threads);
  StringSink sink;
  LayerPipeline pipeline(options, sink, pool, threads);
  for (size_t at = 0; at < data.size(); at += 70'001)
    EXPECT_TRUE(pipeline.Write(data.substr(at, 70'001)).ok());
  auto made = pipeline.Finish();
  EXPECT_TRUE(made.ok());
  if (blob != nullptr) *blob = *made;
  return sink.text();
}

Result<std::string> Expand(std::string_view data, std::optional<Compression> compression = {}) {
  StringSource source(data);
  TRY_ASSIGN(auto plain, Decompress(source, compression));
  StringSink sink;
  TRY(CopyAll(*plain, sink));
  return sink.text();
}

class CompressionTest : public testing::TestWithParam<Compression> {};

TEST_P(CompressionTest, RoundTripsAnySizeOnAnyNumberOfThreads) {
  for (size_t size : {0UL, 1UL, 1UL << 20, (1UL << 20) + 1, 9UL << 20}) {
    std::string text = SomeText(size);
    for (int level : {-1, 0, 1, 9}) {
      LayerBlob blob;
      std::string packed = Compress(text, {GetParam(), level}, 1, &blob);
      EXPECT_EQ(packed, Compress(text, {GetParam(), level}, 4)) << size;
      EXPECT_EQ(blob.digest, Sha256Of(packed));
      EXPECT_EQ(blob.diff_id, Sha256Of(text));
      EXPECT_EQ(blob.bytes, static_cast<int64_t>(packed.size()));
      EXPECT_EQ(blob.uncompressed_bytes, static_cast<int64_t>(size));
      auto expanded = Expand(packed);
      ASSERT_TRUE(expanded.ok()) << expanded.error().ToString();
      EXPECT_EQ(*expanded, text) << size << " level " << level;
    }
  }
}

TEST_P(CompressionTest, RoundTripsMixedData) {
  std::string data = MixedData(24 << 20);
  for (int level : {-1, 0, 3, 9}) {
    auto expanded = Expand(Compress(data, {GetParam(), level}, 2));
    ASSERT_TRUE(expanded.ok()) << level << " " << expanded.error().ToString();
    EXPECT_TRUE(*expanded == data) << level;
  }
}

INSTANTIATE_TEST_SUITE_P(All, CompressionTest,
                         testing::Values(Compression::kNone, Compression::kGzip,
                                         Compression::kZstd),
                         [](const auto& info) { return std::string(CompressionName(info.param)); });

TEST(DecompressTest, ReadsSeveralMembersAndRefusesDamage) {
  for (auto type : {Compression::kGzip, Compression::kZstd}) {
    std::string text = SomeText(300'000);
    std::string packed = Compress(text, {type, -1}, 2);
    EXPECT_EQ(*Expand(packed + packed), text + text);
    EXPECT_EQ(Expand(packed.substr(0, packed.size() - 3)).error().code(), Code::kDataLoss);
    EXPECT_EQ(Expand(packed + "junk").error().code(), Code::kDataLoss);
    std::string damaged = packed;
    damaged[packed.size() / 2] ^= 0x10;
    EXPECT_FALSE(Expand(damaged).ok());
  }
  EXPECT_EQ(*Expand(Compress("abc", {Compression::kGzip, -1}, 1) + std::string(500, '\0')), "abc");
  EXPECT_EQ(*Expand("plain"), "plain");
  EXPECT_FALSE(Expand("plain", Compression::kGzip).ok());
}

TEST(CompressionNameTest, NamesAreTheExporters) {
  EXPECT_EQ(*ParseCompression("zstd"), Compression::kZstd);
  EXPECT_EQ(ParseCompression("lz4").error().ToString(), "unsupported compression type lz4");
}

// Bytes of gzip that were seen on other machines; a change of ISA-L or of the settings shows here.
TEST(CompressionTest, GzipBytesAreStable) {
  EXPECT_EQ(Sha256Of(Compress(SomeText(3 << 20), {Compression::kGzip, -1}, 2)).hex(),
            "247bb503357fccb9fde0d20ee66cc4cb9324ce1a19ee535c1ed9408f799f8418");
}

}  // namespace
}  // namespace kiln::archive
