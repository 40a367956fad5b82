#include "oci/image_config.h"

#include <gtest/gtest.h>

namespace kiln::oci {
namespace {

constexpr char kReal[] =
    R"({"architecture":"arm64","config":{"Hostname":"","User":"1:1","ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin","A=<b>"],)"
    R"("Cmd":["sh"],"Image":"sha256:x","Volumes":null,"WorkingDir":"/w","Entrypoint":null,"OnBuild":["RUN x"],)"
    R"("Labels":{"b":"2","a":"1"},"StopSignal":"SIGTERM","ArgsEscaped":true,"Shell":["/bin/ash","-c"],)"
    R"("Healthcheck":{"Test":["CMD","true"],"Interval":1000000000,"Retries":3}},)"
    R"("container":"abc","created":"0001-01-01T00:00:00Z","docker_version":"20.10.7","extra":{"z":1,"a":[1.5,null]},)"
    R"("history":[{"created":"2020-01-01T00:00:00.123456789Z","created_by":"/bin/sh -c #(nop) ADD"},)"
    R"({"created_by":"CMD","empty_layer":true}],"os":"linux",)"
    R"("rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"variant":"v8"})";

TEST(ImageConfigTest, KeepsEverythingItReads) {
  auto config = DecodeImageConfig(kReal);
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  EXPECT_EQ(config->created, "0001-01-01T00:00:00Z");
  EXPECT_EQ(Format(config->platform), "linux/arm64/v8");
  EXPECT_EQ(config->config.env.back(), "A=<b>");
  EXPECT_EQ(config->config.labels.at("a"), "1");
  EXPECT_TRUE(config->config.args_escaped);
  EXPECT_EQ(config->config.health_check->interval_ns, 1000000000);
  EXPECT_EQ(config->config.on_build, std::vector<std::string>{"RUN x"});
  EXPECT_EQ(config->history.size(), 2U);
  EXPECT_TRUE(config->history[1].empty_layer);
  EXPECT_EQ(config->unknown.at("extra"), R"({"a":[1.5,null],"z":1})");
  EXPECT_EQ(config->config.unknown.at("Image"), R"("sha256:x")");

  const std::string text = Encode(*config);
  auto again = DecodeImageConfig(text);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(*again, *config);
  EXPECT_EQ(Encode(*again), text);
}

TEST(ImageConfigTest, EncodesInUpstreamOrder) {
  ImageConfig config = DefaultImageConfig({.os = "linux", .architecture = "amd64"});
  config.config.cmd = {"a&b"};
  EXPECT_EQ(
      Encode(config),
      R"({"architecture":"amd64","config":{"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],)"
      R"("Cmd":["a\u0026b"],"WorkingDir":"/"},"os":"linux","rootfs":{"type":"layers","diff_ids":null}})");
}

TEST(ImageConfigTest, NamesTheFieldThatIsWrong) {
  const auto error = [](const char* json) {
    auto config = DecodeImageConfig(json);
    return config.ok() ? std::string() : config.error().ToString();
  };
  EXPECT_EQ(error(R"({"config":{"Env":[1]}})"),
            "image config: config: field \"Env\" must be an array of strings");
  EXPECT_EQ(error(R"({"os":1})"), "image config: field \"os\" must be a string");
  EXPECT_EQ(error(R"({"history":{}})"), "image config: field \"history\" must be an array");
  EXPECT_EQ(error("null"), "image config must be a JSON object");
  EXPECT_NE(error(R"({"rootfs":{"diff_ids":["sha512:00"]}})"), "");
}

TEST(ChainIdTest, FollowsTheSpecification) {
  const Digest a = Sha256Of("a");
  const Digest b = Sha256Of("b");
  EXPECT_TRUE(ChainId({}).empty());
  EXPECT_EQ(ChainId({a}), a);
  EXPECT_EQ(ChainId({a, b}), Sha256Of(a.ToString() + " " + b.ToString()));
  EXPECT_EQ(ChainIds({a, b, a}).size(), 3U);
  EXPECT_EQ(ChainIds({a, b, a})[1], ChainId({a, b}));
}

}  // namespace
}  // namespace kiln::oci
