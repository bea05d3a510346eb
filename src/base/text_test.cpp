// Unit tests of the small helpers for texts: digests and times.
#include <gtest/gtest.h>

#include "base/sha256.h"
#include "base/time.h"

namespace onggi {
namespace {

// The examples of FIPS 180-4 and RFC 6234.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesOfAnySizeAreTheSame) {
  std::string text;
  for (int i = 0; i < 300; i++) text += static_cast<char>(i * 7);
  for (size_t piece : {1u, 3u, 55u, 56u, 63u, 64u, 65u, 128u, 299u}) {
    Sha256 hash;
    for (size_t at = 0; at < text.size(); at += piece) hash.update(std::string_view(text).substr(at, piece));
    EXPECT_EQ(hash.hex(), sha256_hex(text)) << piece;
  }
}

TEST(Time, GoesBothWays) {
  for (const char* text : {"1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2100-03-01T00:00:00.5Z",
                           "1969-12-31T23:59:59.000000001Z", "2026-11-22T14:30:00.123456789Z"}) {
    auto t = parse_rfc3339(text);
    ASSERT_TRUE(t) << text;
    EXPECT_EQ(format_rfc3339(*t), text);
  }
  EXPECT_EQ(parse_rfc3339("2024-01-01T09:00:00+09:00")->seconds,
            parse_rfc3339("2024-01-01T00:00:00Z")->seconds);
  EXPECT_EQ(parse_rfc3339("2001-09-09T01:46:40Z")->seconds, 1'000'000'000);
  // Go's zero time, which some builders write.
  EXPECT_EQ(parse_rfc3339("0001-01-01T00:00:00Z")->seconds, -62135596800);
}

TEST(Time, RefusesOtherForms) {
  for (const char* text :
       {"", "2024", "2024-01-01", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00",
        "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00Zx", "2024-01-01T00:00:00+0900", "x024-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_rfc3339(text)) << text;
}

}  // namespace
}  // namespace onggi
