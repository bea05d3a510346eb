#include "base/time.h"

#include <time.h>

#include <cstdio>

namespace onggi {

// Days since the epoch of a date of the proleptic Gregorian calendar; months count from March, so that the
// leap day is the last of its year.
static int64_t days_from_civil(int64_t year, int month, int day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400;
  int64_t of_era = year - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

std::optional<Timestamp> parse_rfc3339(std::string_view s) {
  auto number = [&s](size_t at, size_t digits) -> int {
    int value = 0;
    for (size_t i = at; i < at + digits; i++) {
      if (i >= s.size() || s[i] < '0' || s[i] > '9') return -1;
      value = value * 10 + (s[i] - '0');
    }
    return value;
  };
  if (s.size() < 20 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != 't' && s[10] != ' ') ||
      s[13] != ':' || s[16] != ':')
    return std::nullopt;
  int year = number(0, 4), month = number(5, 2), day = number(8, 2), hour = number(11, 2),
      minute = number(14, 2), second = number(17, 2);
  if (year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 60)
    return std::nullopt;
  Timestamp t;
  size_t i = 19;
  if (s[i] == '.') {
    int32_t unit = 100'000'000;
    size_t first = ++i;
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; i++, unit /= 10) t.nanoseconds += unit * (s[i] - '0');
    if (i == first) return std::nullopt;
  }
  int64_t offset = 0;  // seconds east
  if (i < s.size() && (s[i] == 'Z' || s[i] == 'z')) {
    i++;
  } else if (i + 6 <= s.size() && (s[i] == '+' || s[i] == '-') && s[i + 3] == ':') {
    int h = number(i + 1, 2), m = number(i + 4, 2);
    if (h < 0 || h > 23 || m < 0 || m > 59) return std::nullopt;
    offset = (h * 3600 + m * 60) * (s[i] == '-' ? -1 : 1);
    i += 6;
  } else {
    return std::nullopt;
  }
  if (i != s.size()) return std::nullopt;
  t.seconds = days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
  return t;
}

std::string format_rfc3339(Timestamp time) {
  time_t seconds = time.seconds;
  struct tm tm;
  ::gmtime_r(&seconds, &tm);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
  std::string out = text;
  if (time.nanoseconds) {
    std::snprintf(text, sizeof text, ".%09d", static_cast<int>(time.nanoseconds));
    out += text;
    out.erase(out.find_last_not_of('0') + 1);
  }
  return out + "Z";
}

Timestamp now() {
  struct timespec ts;
  ::clock_gettime(CLOCK_REALTIME, &ts);
  return {ts.tv_sec, static_cast<int32_t>(ts.tv_nsec)};
}

}  // namespace onggi
