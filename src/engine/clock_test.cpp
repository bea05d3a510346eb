#include "engine/clock.h"

#include <gtest/gtest.h>

namespace onggi::engine {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(Rfc3339, WritesNanosecondsInUtc) {
  EXPECT_EQ(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(rfc3339(1714564800 * kSecond + 123456789), "2024-05-01T12:00:00.123456789Z");
  EXPECT_EQ(rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
}

TEST(Rfc3339, ReadsWhatItWrites) {
  for (int64_t t : {int64_t{0}, int64_t{-1}, 951782400 * kSecond + 1, 4102444799 * kSecond + 999999999}) {
    auto back = parse_rfc3339(rfc3339(t));
    ASSERT_TRUE(back) << t;
    EXPECT_EQ(*back, t);
  }
}

TEST(Rfc3339, ReadsZonesFractionsAndShortForms) {
  constexpr int64_t kNoon = 1714564800 * kSecond;
  const std::pair<const char*, int64_t> rows[] = {{"2024-05-01T12:00:00Z", kNoon},
                                                  {"2024-05-01t12:00:00z", kNoon},
                                                  {"2024-05-01 12:00:00", kNoon},
                                                  {"2024-05-01T21:00:00+09:00", kNoon},
                                                  {"2024-05-01T07:30:00-04:30", kNoon},
                                                  {"2024-05-01T12:00", kNoon},
                                                  {"2024-05-01", kNoon - 12 * 3600 * kSecond},
                                                  {"2024-05-01T12:00:00.5Z", kNoon + kSecond / 2},
                                                  {"2024-05-01T12:00:00.1234567891Z", kNoon + 123456789}};
  for (const auto& [text, want] : rows) {
    auto got = parse_rfc3339(text);
    ASSERT_TRUE(got) << text << ": " << got.error().text();
    EXPECT_EQ(*got, want) << text;
  }
}

TEST(Rfc3339, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "2024", "2024-13-01", "2024-00-01", "2024-01-32", "2024-05-01T", "2024-05-01T1:00:00Z",
        "2024-05-01T12:00:00X", "2024-05-01T12:00:00+9", "2024-05-01T24:00:00Z", "2024-05-01T12:60:00Z",
        "2024-02-30", "2023-02-29", "20240501", "yesterday"}) {
    auto got = parse_rfc3339(text);
    ASSERT_FALSE(got) << text;
    EXPECT_NE(got.error().text().find("'" + std::string(text) + "'"), std::string::npos);
  }
}

TEST(Duration, ReadsGosForms) {
  const std::pair<const char*, int64_t> rows[] = {{"0", 0},
                                                  {"300ms", 300'000'000},
                                                  {"1.5h", 5400 * kSecond},
                                                  {"2h45m", 9900 * kSecond},
                                                  {"-10s", -10 * kSecond},
                                                  {"+1us", 1000},
                                                  {"1µs", 1000},
                                                  {"7ns", 7},
                                                  {"1m", 60 * kSecond},
                                                  {"1h1m1s1ms", 3661 * kSecond + 1'000'000},
                                                  {".5s", kSecond / 2}};
  for (const auto& [text, want] : rows) {
    auto got = parse_duration(text);
    ASSERT_TRUE(got) << text;
    EXPECT_EQ(*got, want) << text;
  }
}

TEST(Duration, RefusesTheRest) {
  for (const char* text :
       {"", "-", "10", "s", "1x", "1s2", ".s", "1 s", "9999999999999999999s", "300000h300000000h"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Moment, TakesTimesSecondsAndAges) {
  EXPECT_EQ(parse_moment("1714564800").value(), 1714564800 * kSecond);
  EXPECT_EQ(parse_moment("1714564800.25").value(), 1714564800 * kSecond + kSecond / 4);
  EXPECT_EQ(parse_moment("2024-05-01T12:00:00Z").value(), 1714564800 * kSecond);
  int64_t before = now_nanoseconds();
  int64_t ago = parse_moment("10m").value();
  int64_t after = now_nanoseconds();
  EXPECT_GE(ago, before - 600 * kSecond);
  EXPECT_LE(ago, after - 600 * kSecond);
  for (const char* text : {"", "tomorrow", "12x", "1.5.5"}) EXPECT_FALSE(parse_moment(text)) << text;
}

TEST(HumanDuration, SaysItAsTheFieldDoes) {
  const std::pair<int64_t, const char*> rows[] = {
      {0, "Less than a second"}, {1, "1 second"},         {59, "59 seconds"},       {60, "About a minute"},
      {120, "2 minutes"},        {3600, "About an hour"}, {7200, "2 hours"},        {47 * 3600, "47 hours"},
      {48 * 3600, "2 days"},     {14 * 86400, "2 weeks"}, {60 * 86400, "2 months"}, {730 * 86400, "2 years"}};
  for (const auto& [seconds, want] : rows) EXPECT_EQ(human_duration(seconds * kSecond), want);
}

}  // namespace
}  // namespace onggi::engine
