#include "oci/image_spec.h"

#include <gtest/gtest.h>

#include "oci/image_emit.h"
#include "oci/image_parse.h"

namespace onggi::oci {
namespace {

std::string hex(char c) { return std::string(64, c); }
std::string digest(char c) { return "sha256:" + hex(c); }
std::string descriptor(char c, std::string_view type, std::string_view more = "") {
  return R"({"mediaType":")" + std::string(type) + R"(","digest":")" + digest(c) + R"(","size":7)" +
         std::string(more) + "}";
}

TEST(ImageSpec, ManifestGoesBothWays) {
  std::string text = R"({"schemaVersion":2,"mediaType":")" + std::string(kMediaManifest) + R"(","config":)" +
                     descriptor('a', kMediaConfig) + R"(,"layers":[)" + descriptor('b', kMediaLayerGzip) +
                     "," + descriptor('c', kMediaLayerZstd, R"(,"annotations":{"k":"v"})") +
                     R"(],"annotations":{"x":"y"}})";
  auto m = parse_manifest(text, kMediaManifest);
  ASSERT_TRUE(m) << m.error().text();
  EXPECT_EQ(m->config.digest.text(), digest('a'));
  ASSERT_EQ(m->layers.size(), 2u);
  EXPECT_EQ(m->layers[1].size, 7u);
  EXPECT_EQ(layer_compression(m->layers[1].media_type), Compression::kZstd);
  EXPECT_EQ(emit_manifest(*m), text);
}

TEST(ImageSpec, RefusesDocumentsThatAreTwoThings) {
  std::string both =
      R"({"schemaVersion":2,"config":)" + descriptor('a', kMediaConfig) + R"(,"layers":[],"manifests":[]})";
  EXPECT_NE(parse_manifest(both).error().text().find("at once"), std::string::npos);
  EXPECT_NE(parse_index(both).error().text().find("at once"), std::string::npos);
  std::string typed = R"({"schemaVersion":2,"mediaType":")" + std::string(kMediaIndex) + R"(","config":)" +
                      descriptor('a', kMediaConfig) + R"(,"layers":[]})";
  EXPECT_FALSE(parse_manifest(typed));
  EXPECT_FALSE(parse_manifest(typed, kMediaManifest));
}

TEST(ImageSpec, RefusesWhatItCannotMean) {
  struct Case {
    std::string text, reason;
  };
  auto manifest = [](std::string_view config) {
    return R"({"schemaVersion":2,"config":)" + std::string(config) + R"(,"layers":[]})";
  };
  std::string many = R"({"schemaVersion":2,"config":)" + descriptor('a', kMediaConfig) + R"(,"layers":[)";
  for (size_t i = 0; i <= kMaxLayers; i++) many += (i ? "," : "") + descriptor('b', kMediaLayerTar);
  for (const Case& c : std::initializer_list<Case>{
           {R"({"schemaVersion":1,"fsLayers":[]})", "schema 1"},
           {R"({"config":{}})", "schemaVersion"},
           {manifest(R"({"digest":"sha256:../../etc","size":1})"), "64"},
           {manifest(R"({"digest":"md5:00","size":1})"), "only sha256"},
           {manifest(R"({"digest":")" + digest('a') + R"(","size":-1})"), "size"},
           {manifest(R"({"digest":")" + digest('a') + R"(","size":9223372036854775808})"), "size"},
           {manifest(R"({"size":1})"), "digest"},
           {R"({"schemaVersion":2,"layers":[]})", "config"},
           {many + "]}", "at most 500"},
           {"[]", "expected an object"},
           {"", "manifest"}}) {
    auto m = parse_manifest(c.text);
    ASSERT_FALSE(m) << c.text.substr(0, 200);
    EXPECT_NE(m.error().text().find(c.reason), std::string::npos) << m.error().text();
  }
  EXPECT_FALSE(parse_manifest(std::string(kMaxDocumentBytes + 1, ' ')));
}

TEST(ImageSpec, KnowsAnIndexWhenItSeesOne) {
  std::string index = R"({"schemaVersion":2,"manifests":[]})";
  EXPECT_TRUE(*document_is_index(index, ""));
  EXPECT_FALSE(*document_is_index(R"({"schemaVersion":2,"config":{},"layers":[]})", ""));
  EXPECT_TRUE(*document_is_index(index, kMediaDockerIndex));
  EXPECT_FALSE(document_is_index(R"({"schemaVersion":1})", ""));
}

TEST(ImageSpec, ConfigWithDockersMembers) {
  std::string text =
      R"({"created":"2024-01-02T03:04:05Z","architecture":"amd64","os":"linux","config":{"User":"1:2","ExposedPorts":{"80/tcp":{}},)"
      R"("Env":["A=b"],"Entrypoint":["/e"],"Cmd":["c"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"l":"m"},"StopSignal":"SIGQUIT",)"
      R"("Healthcheck":{"Test":["CMD","x"],"Interval":1000000000,"Retries":3},"OnBuild":["RUN x"],"Shell":["/bin/sh","-c"]},)"
      R"("rootfs":{"type":"layers","diff_ids":[")" +
      digest('d') + R"("]},"history":[{"created_by":"x"},{"created_by":"y","empty_layer":true}]})";
  auto c = parse_image_config(text);
  ASSERT_TRUE(c) << c.error().text();
  EXPECT_EQ(c->config.exposed_ports, std::vector<std::string>{"80/tcp"});
  EXPECT_EQ(c->config.healthcheck->interval, 1000000000);
  EXPECT_EQ(emit_image_config(*c), text);
  // What docker writes for nothing.
  auto nothing =
      parse_image_config(R"({"architecture":"amd64","os":"linux","container_config":{"Cmd":null},)"
                         R"("config":{"Cmd":null,"Labels":null,"Env":null},"rootfs":{"type":"layers"}})");
  ASSERT_TRUE(nothing) << nothing.error().text();
  EXPECT_TRUE(nothing->config.cmd.empty());
  EXPECT_FALSE(parse_image_config(R"({"rootfs":{"type":"zfs"}})"));
}

TEST(ImageSpec, PlatformNames) {
  EXPECT_EQ(to_string(*parse_platform("arm64")), "linux/arm64");
  EXPECT_EQ(to_string(*parse_platform("linux/arm/v6")), "linux/arm/v6");
  EXPECT_EQ(to_string(*parse_platform("arm/v6")), "linux/arm/v6");
  EXPECT_EQ(to_string(*parse_platform("linux/x86_64")), "linux/amd64");
  for (const char* bad : {"", "/", "linux/", "a/b/c/d"}) EXPECT_FALSE(parse_platform(bad)) << bad;
}

TEST(ImageSpec, PicksThePlatformThatFitsBest) {
  Index index;
  auto add = [&](const char* platform, char name) {
    Descriptor& d = index.manifests.emplace_back();
    d.platform = *parse_platform(platform);
    d.digest = *Digest::parse(digest(name));
  };
  add("unknown/unknown", '0');
  add("linux/amd64/v3", '3');
  add("linux/amd64", '1');
  add("linux/amd64/v2", '2');
  add("linux/arm/v6", '6');
  add("linux/arm/v7", '7');
  auto pick = [&](const char* platform) {
    auto d = select_platform(index, *parse_platform(platform));
    return d ? std::string(1, (*d)->digest.text()[7]) : d.error().text();
  };
  EXPECT_EQ(pick("linux/amd64"), "1");
  EXPECT_EQ(pick("linux/amd64/v2"), "2");
  EXPECT_EQ(pick("linux/amd64/v4"), "3");
  EXPECT_EQ(pick("linux/arm"), "7");
  EXPECT_EQ(pick("linux/arm/v8"), "7");
  EXPECT_EQ(pick("linux/arm/v6"), "6");
  EXPECT_NE(pick("linux/riscv64").find("it offers linux/amd64/v3"), std::string::npos);
  EXPECT_NE(pick("windows/amd64").find("no image for windows/amd64"), std::string::npos);
}

TEST(ImageSpec, ChainsDiffIds) {
  std::vector<Digest> diffs = {*Digest::parse(digest('a')), *Digest::parse(digest('b'))};
  auto chain = chain_ids(diffs, [](std::string_view text) {
    EXPECT_EQ(text, digest('a') + " " + digest('b'));
    return hex('c');
  });
  EXPECT_EQ(chain[0], diffs[0]);
  EXPECT_EQ(chain[1].hex(), hex('c'));
}

}  // namespace
}  // namespace onggi::oci
