#include "stack/schema.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/file.h"
#include "stack/yaml.h"

namespace onggi::stack {

namespace {

using Is = Type::Is;

bool in_words(std::string_view words, std::string_view word) {
  for (size_t at = 0; at < words.size();) {
    size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

// "a number", for errors.
std::string_view called(Is is) {
  switch (is) {
    case Is::kString:
      return "a string";
    case Is::kBool:
      return "true or false";
    case Is::kInteger:
      return "an integer";
    case Is::kNumber:
      return "a number";
    case Is::kSize:
      return "a size in bytes (like 64m)";
    case Is::kDuration:
      return "a duration (like 1m30s)";
    case Is::kText:
      return "a string or a number";
    case Is::kList:
      return "a list";
    case Is::kMap:
    case Is::kObject:
      return "a mapping";
    case Is::kAny:
      break;
  }
  return "a value";
}

std::string_view called(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::kNull:
      return "nothing";
    case Node::Kind::kBool:
      return "a boolean";
    case Node::Kind::kInt:
    case Node::Kind::kFloat:
      return "a number";
    case Node::Kind::kString:
      return "a string";
    case Node::Kind::kList:
      return "a list";
    case Node::Kind::kMap:
      return "a mapping";
  }
  return "?";
}

std::optional<bool> truth(std::string_view t) {
  for (const char* yes : {"true", "True", "TRUE", "y", "Y", "yes", "Yes", "YES", "on", "On", "ON"})
    if (t == yes) return true;
  for (const char* no : {"false", "False", "FALSE", "n", "N", "no", "No", "NO", "off", "Off", "OFF"})
    if (t == no) return false;
  return std::nullopt;
}

class Checker {
 public:
  std::vector<Error> problems;

  void check(Node& n, const Type& type, const std::string& path) {
    if (problems.size() >= kMaxProblems || type.is == Is::kAny) return;
    if (n.tag == Node::Tag::kReset) return;  // its value means nothing
    if (n.is_null() && type.nullable) return;
    if (n.is_scalar() && !n.is_null() && type.short_form) return check(n, *type.short_form, path);
    if (n.is_list() && type.list_form) return check(n, *type.list_form, path);
    switch (type.is) {
      case Is::kList:
        return list(n, type, path);
      case Is::kMap:
        return map(n, type, path);
      case Is::kObject:
        return object(n, type, path);
      default:
        return scalar(n, type, path);
    }
  }

 private:
  void problem(const Mark& mark, const std::string& text) { problems.push_back(error_at(mark, text)); }
  void wrong(const Node& n, const Type& type, const std::string& path) {
    problem(n.mark, path + " must be " + std::string(called(type.is)) + ", not " +
                        std::string(called(n.kind)) +
                        (n.is_scalar() && !n.is_null() ? " (" + n.text.substr(0, 40) + ")" : ""));
  }

  void list(Node& n, const Type& type, const std::string& path) {
    if (!n.is_list()) return wrong(n, type, path);
    for (size_t i = 0; i < n.items.size(); i++)
      check(n.items[i], *type.element, path + "[" + std::to_string(i) + "]");
    if (!type.unique) return;
    std::vector<Node> once;
    for (auto& item : n.items) {
      bool seen = false;
      for (const auto& old : once) seen |= old.is_scalar() && old.text == item.text;
      if (!seen) once.push_back(std::move(item));
    }
    n.items = std::move(once);
  }

  void map(Node& n, const Type& type, const std::string& path) {
    if (!n.is_map()) return wrong(n, type, path);
    for (auto& item : n.items) check(item, *type.element, path + "." + item.key);
  }

  void object(Node& n, const Type& type, const std::string& path) {
    if (!n.is_map()) return wrong(n, type, path);
    for (auto& item : n.items) {
      if (item.key.starts_with("x-")) continue;
      const Field* field = nullptr;
      for (const auto& f : type.fields)
        if (f.name == item.key) field = &f;
      std::string below = path.empty() ? item.key : path + "." + item.key;
      if (field)
        check(item, *field->type, below);
      else
        problem(item.key_mark, "unknown field " + below + nearest(type, item.key));
    }
    for (const auto& f : type.fields)
      if (f.required && !n.find(f.name))
        problem(n.mark, path + ": the field '" + std::string(f.name) + "' is missing");
  }

  // A typing error of one letter or two is answered with what was probably meant.
  static std::string nearest(const Type& type, std::string_view word) {
    std::string_view best;
    size_t least = 3;
    for (const auto& f : type.fields)
      if (size_t d = distance(word, f.name); d < least) least = d, best = f.name;
    return best.empty() ? "" : " (did you mean '" + std::string(best) + "'?)";
  }
  static size_t distance(std::string_view a, std::string_view b) {
    if (a.size() > 64 || a.size() > b.size() + 2 || b.size() > a.size() + 2) return 9;
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); j++) row[j] = j;
    for (size_t i = 1; i <= a.size(); i++) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= b.size(); j++) {
        size_t above = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
        diagonal = above;
      }
    }
    return row[b.size()];
  }

  void scalar(Node& n, const Type& type, const std::string& path) {
    if (!n.is_scalar() || n.is_null()) return wrong(n, type, path);
    bool string = n.is_string();
    switch (type.is) {
      case Is::kString:
        if (!string) return wrong(n, type, path);
        if (!type.words.empty() && !in_words(type.words, n.text))
          problem(n.mark, path + ": '" + n.text + "' is not one of: " + std::string(type.words));
        return;
      case Is::kText:
        // As the peers do: a plain 0x10 is 16 and 1.50 is 1.5 by the time that it becomes text.
        if (n.kind == Node::Kind::kInt) integer(n, type, path);
        if (n.kind == Node::Kind::kFloat) n.text = number_text(n.text);
        n.kind = Node::Kind::kString;
        return;
      case Is::kBool:
        return boolean(n, type, path);
      case Is::kInteger:
        return integer(n, type, path);
      case Is::kNumber:
        return number(n, type, path);
      case Is::kSize:
        if (n.kind == Node::Kind::kBool || !size_of(n.text)) wrong(n, type, path);
        return;
      case Is::kDuration:
        if (!string || !duration_of(n.text)) wrong(n, type, path);
        return;
      default:
        return;
    }
  }

  void boolean(Node& n, const Type& type, const std::string& path) {
    if (n.kind == Node::Kind::kBool) return;
    auto value = n.is_string() ? truth(n.text) : std::nullopt;
    if (!value) return wrong(n, type, path);
    n.kind = Node::Kind::kBool;
    n.text = *value ? "true" : "false";
  }

  void integer(Node& n, const Type& type, const std::string& path) {
    if (n.kind == Node::Kind::kBool || plain_kind(n.text) != Node::Kind::kInt) return wrong(n, type, path);
    // 0o17 and 0b1 are YAML's, not C's.
    bool negative = n.text[0] == '-';
    std::string digits = n.text.substr(negative || n.text[0] == '+' ? 1 : 0);
    int base = 10;
    if (digits.size() > 1 && digits[0] == '0') {
      bool letter = !::isdigit(static_cast<unsigned char>(digits[1]));
      base = digits[1] == 'x' ? 16 : digits[1] == 'b' ? 2 : 8;
      digits.erase(0, letter ? 2 : 1);
    }
    errno = 0;
    char* end = nullptr;
    long long value = ::strtoll(digits.c_str(), &end, base);
    if (errno || *end) return problem(n.mark, path + ": the number " + n.text + " is out of range");
    n.text = std::to_string(negative ? -value : value);
    n.kind = Node::Kind::kInt;
  }

  void number(Node& n, const Type& type, const std::string& path) {
    Node::Kind kind = plain_kind(n.text);
    if (n.kind == Node::Kind::kBool || (kind != Node::Kind::kInt && kind != Node::Kind::kFloat))
      return wrong(n, type, path);
    char* end = nullptr;
    double value = ::strtod(n.text.c_str(), &end);
    if (*end || !std::isfinite(value))
      return problem(n.mark, path + ": the number " + n.text + " is out of range");
    n.kind = kind;
  }
};

}  // namespace

std::vector<Error> check(Node& node, const Type& type, std::string_view path) {
  Checker checker;
  checker.check(node, type, std::string(path));
  return std::move(checker.problems);
}

std::string number_text(std::string_view text) {
  std::string t(text);
  double value = ::strtod(t.c_str(), nullptr);
  if (!std::isfinite(value)) return t;
  char out[32];
  constexpr double kExact = 1e15;  // integers up to here are written out
  if (value == std::floor(value) && std::fabs(value) < kExact) {
    (void)snprintf(out, sizeof out, "%.0f", value);
    return out;
  }
  for (int precision = 1; precision <= 17; precision++) {
    (void)snprintf(out, sizeof out, "%.*g", precision, value);
    if (::strtod(out, nullptr) == value) break;
  }
  return out;
}

Result<int64_t> duration_of(std::string_view text) {
  static constexpr struct {
    std::string_view unit;
    double ns;
  } kUnits[] = {{"ns", 1},  {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"ms", 1e6},
                {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
  auto bad = [&] { return fail(Error::invalid("'" + std::string(text) + "' is no duration (like 1m30s)")); };
  double total = 0;
  std::string_view rest = text;
  if (rest == "0") return 0;
  if (rest.empty()) return bad();
  while (!rest.empty()) {
    size_t digits = rest.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return bad();
    char* end = nullptr;
    std::string number(rest.substr(0, digits));
    double value = ::strtod(number.c_str(), &end);
    if (*end) return bad();
    rest.remove_prefix(digits);
    double ns = 0;
    size_t used = 0;
    for (const auto& u : kUnits)
      if (rest.starts_with(u.unit) && u.unit.size() > used) ns = u.ns, used = u.unit.size();
    if (!used) return bad();
    total += value * ns;
    rest.remove_prefix(used);
  }
  if (total > 9e18) return bad();
  return static_cast<int64_t>(total + 0.5);
}

std::string duration_text(int64_t ns) {
  if (ns == 0) return "0s";
  auto fraction = [](int64_t whole, int64_t part, int64_t unit) {
    std::string text = std::to_string(whole);
    if (!part) return text;
    std::string digits = std::to_string(part + unit).substr(1);
    while (digits.back() == '0') digits.pop_back();
    return text + "." + digits;
  };
  constexpr int64_t kMicro = 1000, kMilli = 1000'000, kSecond = 1000'000'000;
  if (ns < kMicro) return std::to_string(ns) + "ns";
  if (ns < kMilli) return fraction(ns / kMicro, ns % kMicro, kMicro) + "\xc2\xb5s";
  if (ns < kSecond) return fraction(ns / kMilli, ns % kMilli, kMilli) + "ms";
  int64_t seconds = ns / kSecond, hours = seconds / 3600, minutes = seconds / 60 % 60;
  std::string text;
  if (hours) text += std::to_string(hours) + "h";
  if (hours || minutes) text += std::to_string(minutes) + "m";
  return text + fraction(seconds % 60, ns % kSecond, kSecond) + "s";
}

Result<int64_t> size_of(std::string_view text) {
  auto bad = [&] {
    return fail(Error::invalid("'" + std::string(text) + "' is no size in bytes (like 64m)"));
  };
  std::string t(trim(text));
  if (t.empty()) return bad();
  char* end = nullptr;
  double value = ::strtod(t.c_str(), &end);
  bool decimal = ::isdigit(static_cast<unsigned char>(t[0])) || t[0] == '-' || t[0] == '.';
  if (!decimal || end == t.c_str() || !std::isfinite(value) || t.find_first_of("xX") != std::string::npos)
    return bad();
  std::string_view unit = trim(std::string_view(end));
  double factor = 1;
  if (!unit.empty()) {
    char letter = static_cast<char>(::tolower(static_cast<unsigned char>(unit[0])));
    size_t at = std::string_view("bkmgtp").find(letter);
    if (at == std::string_view::npos) return bad();
    for (size_t i = 0; i < at; i++) factor *= 1024;
    std::string_view rest = unit.substr(1);
    bool ok =
        rest.empty() || (at && (rest == "b" || rest == "B" || rest == "ib" || rest == "iB" || rest == "IB"));
    if (!ok) return bad();
  }
  value *= factor;
  if (value > 9e18 || value < -1) return bad();
  return static_cast<int64_t>(value);
}

}  // namespace onggi::stack
