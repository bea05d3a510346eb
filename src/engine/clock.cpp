#include "engine/clock.h"

#include <time.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "base/file.h"

namespace onggi::engine {

namespace {

constexpr int64_t kSecond = 1'000'000'000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// `count` digits from the front; -1 when they are not there.
int take_digits(std::string_view& text, size_t count) {
  if (text.size() < count) return -1;
  int n = 0;
  for (size_t i = 0; i < count; i++) {
    if (!is_digit(text[i])) return -1;
    n = n * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return n;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// ".123" -> nanoseconds.
int64_t take_fraction(std::string_view& text) {
  if (!take(text, '.')) return 0;
  int64_t value = 0, unit = kSecond;
  while (!text.empty() && is_digit(text[0])) {
    if (unit > 1) value = value * 10 + (text[0] - '0'), unit /= 10;
    text.remove_prefix(1);
  }
  return value * unit;
}

// "Z", "+09:00" or nothing; seconds east of UTC. False when there is something else.
bool take_zone(std::string_view& text, int& seconds) {
  seconds = 0;
  if (text.empty()) return true;
  if (take(text, 'Z') || take(text, 'z')) return text.empty();
  bool west = text[0] == '-';
  if (!take(text, '+') && !take(text, '-')) return false;
  int hours = take_digits(text, 2);
  take(text, ':');
  int minutes = take_digits(text, 2);
  if (hours < 0 || minutes < 0 || !text.empty()) return false;
  seconds = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
  return true;
}

}  // namespace

int64_t now_nanoseconds() {
  timespec ts;
  ::clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec * kSecond + ts.tv_nsec;
}

std::string rfc3339(int64_t ns) {
  int64_t seconds = ns / kSecond, rest = ns % kSecond;
  if (rest < 0) rest += kSecond, seconds--;
  time_t t = static_cast<time_t>(seconds);
  tm parts;
  ::gmtime_r(&t, &parts);
  char text[64];
  snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ", parts.tm_year + 1900, parts.tm_mon + 1,
           parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, static_cast<long>(rest));
  return text;
}

std::string now_rfc3339() { return rfc3339(now_nanoseconds()); }

Result<int64_t> parse_rfc3339(std::string_view text) {
  std::string_view rest = text;
  auto bad = [&] {
    return fail(Error::invalid("'" + std::string(text) + "' is not a time (RFC 3339: 2024-05-01T12:00:00Z)"));
  };
  tm parts = {};
  int year = take_digits(rest, 4);
  if (year < 0 || !take(rest, '-')) return bad();
  int month = take_digits(rest, 2);
  if (month < 1 || month > 12 || !take(rest, '-')) return bad();
  int day = take_digits(rest, 2);
  static constexpr int kDays[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  if (day < 1 || day > kDays[month - 1] || (month == 2 && day == 29 && !leap)) return bad();
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_mday = day;
  int64_t fraction = 0;
  int zone = 0;
  if (take(rest, 'T') || take(rest, 't') || take(rest, ' ')) {
    int* fields[] = {&parts.tm_hour, &parts.tm_min, &parts.tm_sec};
    for (int i = 0; i < 3; i++) {
      if (i > 0 && !take(rest, ':')) {
        if (i == 2) break;  // seconds may be left out
        return bad();
      }
      *fields[i] = take_digits(rest, 2);
      static constexpr int kMost[] = {23, 59, 60};  // a leap second is one of the minute before
      if (*fields[i] < 0 || *fields[i] > kMost[i]) return bad();
    }
    fraction = take_fraction(rest);
  }
  if (!take_zone(rest, zone)) return bad();
  return (static_cast<int64_t>(::timegm(&parts)) - zone) * kSecond + fraction;
}

Result<int64_t> parse_duration(std::string_view text) {
  std::string_view rest = text;
  bool negative = take(rest, '-');
  if (!negative) take(rest, '+');
  if (rest == "0") return 0;
  int64_t total = 0;
  bool any = false;
  while (!rest.empty()) {
    int64_t whole = 0;
    bool digits = false;
    while (!rest.empty() && is_digit(rest[0])) {
      if (whole > INT64_MAX / 20)
        return fail(Error::invalid("the duration '" + std::string(text) + "' is too long"));
      whole = whole * 10 + (rest[0] - '0');
      digits = true;
      rest.remove_prefix(1);
    }
    size_t before = rest.size();
    double fraction = static_cast<double>(take_fraction(rest)) / static_cast<double>(kSecond);
    digits |= before > rest.size() + 1;
    static constexpr struct {
      std::string_view name;
      int64_t unit;
    } kUnits[] = {{"ns", 1},      {"us", 1000},        {"µs", 1000},         {"ms", 1'000'000},
                  {"s", kSecond}, {"m", 60 * kSecond}, {"h", 3600 * kSecond}};
    int64_t unit = 0;
    for (const auto& u : kUnits)
      if (rest.starts_with(u.name) && !(u.name == "m" && rest.starts_with("ms"))) {
        unit = u.unit;
        rest.remove_prefix(u.name.size());
        break;
      }
    __int128 sum = static_cast<__int128>(total) + static_cast<__int128>(whole) * unit +
                   static_cast<__int128>(fraction * static_cast<double>(unit));
    if (!digits || !unit || sum > INT64_MAX)
      return fail(
          Error::invalid("'" + std::string(text) + "' is not a duration (examples: 300ms, 10s, 1h30m)"));
    total = static_cast<int64_t>(sum);
    any = true;
  }
  if (!any) return fail(Error::invalid("a duration is empty (examples: 300ms, 10s, 1h30m)"));
  return negative ? -total : total;
}

Result<int64_t> parse_moment(std::string_view text) {
  if (auto duration = parse_duration(text)) return now_nanoseconds() - *duration;
  std::string_view rest = text;
  bool seconds = !rest.empty();
  int64_t whole = 0;
  while (!rest.empty() && is_digit(rest[0]) && whole < INT64_MAX / 20 / kSecond) {
    whole = whole * 10 + (rest[0] - '0');
    rest.remove_prefix(1);
  }
  int64_t fraction = take_fraction(rest);
  if (seconds && rest.empty()) return whole * kSecond + fraction;
  return parse_rfc3339(text);
}

std::string human_duration(int64_t ns) {
  double seconds = static_cast<double>(ns) / static_cast<double>(kSecond);
  auto count = [](int64_t n, const char* unit) { return std::to_string(n) + " " + unit; };
  int64_t s = static_cast<int64_t>(seconds);
  if (s < 1) return "Less than a second";
  if (s == 1) return "1 second";
  if (s < 60) return count(s, "seconds");
  int64_t m = s / 60;
  if (m == 1) return "About a minute";
  if (m < 60) return count(m, "minutes");
  int64_t h = static_cast<int64_t>(std::llround(seconds / 3600));
  if (h == 1) return "About an hour";
  if (h < 48) return count(h, "hours");
  if (h < 24 * 7 * 2) return count(h / 24, "days");
  if (h < 24 * 30 * 2) return count(h / 24 / 7, "weeks");
  if (h < 24 * 365 * 2) return count(h / 24 / 30, "months");
  return count(h / 24 / 365, "years");
}

}  // namespace onggi::engine
