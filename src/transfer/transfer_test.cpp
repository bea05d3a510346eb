// Unit tests of the parts that need neither network nor privilege: URLs and addresses, challenges, base64,
// tar, gzip, ids in attributes. The rest is tested by tests/images and tests/attack.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sha256.h"
#include "transfer/archive.h"
#include "transfer/compress.h"
#include "transfer/decompress.h"
#include "transfer/http.h"
#include "transfer/registry.h"
#include "transfer/tree_reader.h"

namespace onggi::transfer {
namespace {

UniqueFd memory_file(std::string_view content) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  EXPECT_TRUE(write_all(fd.get(), content, "test"));
  ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

TEST(Http, AddressesThatARegistryMaySendTo) {
  for (const char* bad : {"169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1",
                          "255.255.255.255", "100.100.100.200", "fe80::1", "::", "ff02::1",
                          "::ffff:169.254.169.254", "::ffff:0.0.0.0", "fd00:ec2::254", "not an address"})
    for (bool local : {false, true}) EXPECT_TRUE(is_forbidden_address(bad, local)) << bad;
  for (const char* loopback : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(is_forbidden_address(loopback, false)) << loopback;
    EXPECT_FALSE(is_forbidden_address(loopback, true)) << loopback;
  }
  for (const char* good : {"93.184.216.34", "10.0.0.1", "192.168.1.1", "2001:db8::1", "fd00::1"})
    EXPECT_FALSE(is_forbidden_address(good, false)) << good;
}

TEST(Http, ResolvesLocations) {
  const char* base = "https://h:5000/v2/a/blobs/x?y=1";
  EXPECT_EQ(resolve_url(base, "http://other/z"), "http://other/z");
  EXPECT_EQ(resolve_url(base, "/v2/b"), "https://h:5000/v2/b");
  EXPECT_EQ(resolve_url(base, "//cdn/b"), "https://cdn/b");
  EXPECT_EQ(resolve_url(base, "other?q=http://x/"), "https://h:5000/v2/a/blobs/other?q=http://x/");
  EXPECT_EQ(resolve_url(base, "file:///etc/passwd"), "file:///etc/passwd");
  EXPECT_EQ(resolve_url(base, "javascript:1"), "javascript:1");
  EXPECT_EQ(resolve_url(base, ""), "");
  EXPECT_EQ(split_url("https://user:pw@host:1/p").authority, "host:1");
  EXPECT_EQ(split_url("HTTP://h").scheme, "http");
  EXPECT_EQ(percent_encode("a b/c:d~"), "a%20b%2Fc%3Ad~");
}

TEST(Registry, ParsesChallenges) {
  auto c = parse_challenge(R"(Bearer realm="https://auth/token?a=\"b\"",service=reg , scope="x,y")");
  ASSERT_TRUE(c);
  EXPECT_EQ(c->scheme, "bearer");
  EXPECT_EQ(c->get("realm"), "https://auth/token?a=\"b\"");
  EXPECT_EQ(c->get("service"), "reg");
  EXPECT_EQ(c->get("scope"), "x,y");
  EXPECT_EQ(parse_challenge("Basic")->scheme, "basic");
  for (const char* bad : {"", "Bearer realm", "Bearer realm=\"open"})
    EXPECT_FALSE(parse_challenge(bad)) << bad;
}

TEST(Registry, MirrorsComeBeforeTheirRegistry) {
  std::vector<image::RegistryOptions> options(1);
  options[0].host = "example.org";
  options[0].mirrors = {"https://m1/prefix/", "http://m2:1"};
  auto e = endpoints_of("example.org", options);
  ASSERT_TRUE(e);
  ASSERT_EQ(e->size(), 3u);
  EXPECT_EQ((*e)[0].base, "https://m1/prefix");
  EXPECT_TRUE((*e)[1].is_mirror && (*e)[1].plain_http);
  EXPECT_FALSE((*e)[2].is_mirror || (*e)[2].plain_http);
  EXPECT_TRUE((*endpoints_of("127.0.0.1:5000", options))[0].plain_http) << "loopback may speak plain HTTP";
  options[0].mirrors = {"ftp://x"};
  EXPECT_FALSE(endpoints_of("example.org", options));
}

TEST(Credentials, Base64) {
  for (const std::string& text :
       std::initializer_list<std::string>{"", "a", "ab", "abc", "user:pass", std::string("\0\xff\x80", 3)})
    EXPECT_EQ(*base64_decode(base64_encode(text)), text);
  EXPECT_EQ(base64_encode("any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
  EXPECT_FALSE(base64_decode("a*b"));
}

TEST(Archive, Locations) {
  auto l = parse_location("oci:/a/b:name:tag");
  EXPECT_EQ(l->path + "|" + l->name, "/a/b|name:tag");
  l = parse_location("docker-archive:/a:host:5/x:t");
  EXPECT_EQ(l->path + "|" + l->name, "/a|host:5/x:t");
  l = parse_location("oci-archive:rel.tar");
  EXPECT_EQ(l->path + "|" + l->name, "rel.tar|");
  EXPECT_EQ(parse_location("/plain:file")->path, "/plain:file");
  EXPECT_FALSE(parse_location("oci:"));
}

TEST(Compress, GoesBothWays) {
  std::string text;
  for (unsigned i = 0; i < 300'000; i++) text += static_cast<char>((i * i) >> 7);
  for (size_t size : {size_t{0}, size_t{1}, size_t{65536}, text.size()}) {
    std::string packed;
    GzipWriter w([&packed](std::string_view data) -> Result<> {
      packed += data;
      return {};
    });
    for (size_t at = 0; at < size; at += 7777)
      ASSERT_TRUE(w.write(std::string_view(text).substr(at, std::min<size_t>(7777, size - at))));
    ASSERT_TRUE(w.finish());
    UniqueFd fd = memory_file(packed);
    UnpackLimits limits;
    Decompressor d(fd.get(), limits);
    std::string back;
    for (;;) {
      auto piece = d.next();
      ASSERT_TRUE(piece) << piece.error().text();
      if (piece->empty()) break;
      back += *piece;
    }
    EXPECT_EQ(back, text.substr(0, size));
    EXPECT_EQ(d.digest(), sha256_hex(text.substr(0, size)));
  }
}

TEST(Decompress, RefusesDamageAndOtherFormats) {
  UnpackLimits limits;
  for (std::string text :
       {std::string("BZh91AY"),
        std::string("\xfd"
                    "7zXZ\0",
                    6),
        std::string("\x1f\x8b\x08\0\0", 5), std::string("\x1f\x8b\x08\xff garbage garbage garbage"),
        std::string("\x28\xb5\x2f\xfd\xff\xff")}) {
    UniqueFd fd = memory_file(text);
    Decompressor d(fd.get(), limits);
    Result<std::string_view> piece = d.next();
    while (piece && !piece->empty()) piece = d.next();
    EXPECT_FALSE(piece);
  }
}

TEST(TreeReader, AttributesGetTheirIdsBack) {
  TreeOptions o{100000, 65536, true};
  auto le = [](uint32_t v) { return std::string({char(v), char(v >> 8), char(v >> 16), char(v >> 24)}); };
  std::string flags = le(7) + le(0) + le(0) + le(0);
  EXPECT_EQ(unshift_xattr("security.capability", le(0x03000001) + flags + le(100000), o),
            le(0x02000001) + flags);
  std::string other = le(0x03000001) + flags + le(5);
  EXPECT_EQ(unshift_xattr("security.capability", other, o), other) << "of another range";
  auto acl = [&](uint32_t id) {
    return le(2) + le(0x00070001) + le(~0u) + le(0x00060002) + le(id) + le(0x00050008) + le(id + 1);
  };
  EXPECT_EQ(unshift_xattr("system.posix_acl_access", acl(100033), o), acl(33));
  EXPECT_EQ(unshift_xattr("user.x", "any", o), "any");
  EXPECT_EQ(unshift_xattr("system.posix_acl_access", "odd", o), "odd");
}

TEST(TarWriter, DataMustFitTheHeader) {
  TarWriter tar([](std::string_view) -> Result<> { return {}; });
  TarEntry e;
  e.name = "f";
  e.size = 3;
  ASSERT_TRUE(tar.header(e));
  EXPECT_FALSE(tar.header(e)) << "the data of the first is missing";
  EXPECT_FALSE(tar.data("1234"));
  EXPECT_TRUE(tar.data("123"));
  EXPECT_TRUE(tar.finish());
}

}  // namespace
}  // namespace onggi::transfer
