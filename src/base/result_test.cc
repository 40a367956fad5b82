#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace kiln {
namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return InvalidArgument("{} is odd", n);
  return n / 2;
}
Result<int> Quarter(int n) {
  TRY_ASSIGN_CTX(auto half, Half(n), "halving {}", n);
  TRY_ASSIGN(auto quarter, Half(half));
  return quarter;
}
Status CheckEven(int n) {
  TRY_CTX(Half(n), "checking");
  return OkStatus();
}

TEST(ResultTest, CarriesValueOrError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(7).error().ToString(), "halving 7: 7 is odd");
  EXPECT_EQ(Quarter(6).error().ToString(), "3 is odd");
  EXPECT_EQ(Quarter(6).error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_EQ(CheckEven(3).error().ToString(), "checking: 3 is odd");
}

TEST(ResultTest, HoldsMoveOnlyValues) {
  auto make = []() -> Result<std::unique_ptr<int>> { return std::make_unique<int>(3); };
  auto value = make();
  ASSERT_TRUE(value.ok());
  std::unique_ptr<int> taken = std::move(value).value();
  EXPECT_EQ(*taken, 3);
}

TEST(ErrorTest, MapsErrnoAndKeepsDetails) {
  Error error = ErrnoError(ENOENT, "open {}", "/x");
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_EQ(error.ToString(), "open /x: No such file or directory");
  error.AddDetail({"type", "bytes"});
  ASSERT_NE(error.FindDetail("type"), nullptr);
  EXPECT_EQ(error.FindDetail("type")->value, "bytes");
  EXPECT_EQ(error.FindDetail("other"), nullptr);
  EXPECT_EQ(CodeName(Code::kDataLoss), "DATA_LOSS");
}

}  // namespace
}  // namespace kiln
