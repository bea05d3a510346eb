// Printing follows Go's %v: maps sorted by key, lists in brackets.
#include "cli/template_value.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace onggi::cli::tmpl {

namespace {

using Kind = JsonValue::Kind;
using List = std::vector<Value>;

template <class T>
const T* get(const Value& v) {
  return std::get_if<T>(&v.data);
}
Value text_value(std::string s) { return {std::move(s)}; }

std::vector<size_t> sorted_members(const JsonValue& object) {
  std::vector<size_t> order(object.size());
  for (size_t n = 0; n < order.size(); n++) order[n] = n;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return object.member_name(a) < object.member_name(b); });
  return order;
}

// As Go prints a float64: the fewest digits that give it back, an exponent from 1e21 on. Not std::to_chars,
// whose tables would be a tenth of the program.
std::string number_text(double d) {
  char text[400];
  int digits = 1;
  do snprintf(text, sizeof text, "%.*e", digits - 1, d);
  while (::strtod(text, nullptr) != d && ++digits <= 17);
  double size = d < 0 ? -d : d;
  if (size != 0 && (size < 1e-4 || size >= 1e21)) return text;
  int exponent = static_cast<int>(::strtol(strchr(text, 'e') + 1, nullptr, 10));
  snprintf(text, sizeof text, "%.*f", std::max(0, digits - 1 - exponent), d);
  return text;
}

void write_json(JsonWriter& w, const Value& v) {
  if (const auto* b = get<bool>(v)) return w.boolean(*b);
  if (const auto* i = get<int64_t>(v)) return w.number(*i);
  if (const auto* d = get<double>(v)) return w.raw(number_text(*d));
  if (const auto* s = get<std::string>(v)) return w.string(*s);
  if (const auto* list = get<List>(v)) {
    w.begin_array();
    for (const auto& item : *list) write_json(w, item);
    return w.end_array();
  }
  const auto* json = get<JsonValue>(v);
  if (!json) return w.null();
  bool array = json->kind() == Kind::kArray;
  array ? w.begin_array() : w.begin_object();
  for (size_t n = 0; n < json->size(); n++) {
    if (!array) w.key(json->member_name(n));
    write_json(w, from_json(array ? json->element(n) : json->member(n)));
  }
  array ? w.end_array() : w.end_object();
}

std::string inner_text(const Value& v) { return get<Nil>(v) ? "<nil>" : to_text(v); }

Error wrong(const char* function, const std::string& wanted, const Value& found) {
  return Error::invalid(std::string(function) + ": " + wanted + " is wanted, not " + kind_of(found));
}

Result<std::string> string_of(const char* function, const Value& v) {
  if (const auto* s = get<std::string>(v)) return *s;
  if (get<Absent>(v)) return std::string();
  return fail(wrong(function, "a string", v));
}
Result<int64_t> integer_of(const char* function, const Value& v) {
  if (const auto* i = get<int64_t>(v)) return *i;
  return fail(wrong(function, "an integer", v));
}

// --- docker's functions ---

Result<Value> call_json(const List& a) {
  JsonWriter w;
  write_json(w, a[0]);
  return text_value(w.take());
}

Result<Value> call_join(const List& a) {
  std::string separator = TRY(string_of("join", a[1])), out;
  size_t n = 0;
  for (const auto& [key, item] : TRY(elements_of(a[0]))) out += (n++ ? separator : "") + to_text(item);
  return text_value(std::move(out));
}

Result<Value> call_split(const List& a) {
  std::string text = TRY(string_of("split", a[0])), separator = TRY(string_of("split", a[1]));
  List parts;
  if (separator.empty()) {
    for (char c : text) parts.push_back(text_value(std::string(1, c)));
    return Value{std::move(parts)};
  }
  for (size_t at = 0;;) {
    size_t end = text.find(separator, at);
    parts.push_back(text_value(text.substr(at, end == std::string::npos ? end : end - at)));
    if (end == std::string::npos) return Value{std::move(parts)};
    at = end + separator.size();
  }
}

template <int (*F)(int)>
std::string mapped(std::string s) {
  for (char& c : s)
    if (static_cast<unsigned char>(c) < 0x80) c = static_cast<char>(F(c));
  return s;
}
Result<Value> call_lower(const List& a) {
  return text_value(mapped<::tolower>(TRY(string_of("lower", a[0]))));
}
Result<Value> call_upper(const List& a) {
  return text_value(mapped<::toupper>(TRY(string_of("upper", a[0]))));
}
Result<Value> call_title(const List& a) {
  std::string s = TRY(string_of("title", a[0]));
  bool begin = true;
  for (char& c : s) {
    if (begin && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    begin = c == ' ' || c == '\t' || c == '-' || c == '\n';
  }
  return text_value(std::move(s));
}

Result<Value> call_trim(const List& a) {
  std::string s = TRY(string_of("trim", a[0]));
  std::string cut = a.size() > 1 ? TRY(string_of("trim", a[1])) : " \t\r\n";
  size_t begin = s.find_first_not_of(cut);
  if (begin == std::string::npos) return text_value("");
  return text_value(s.substr(begin, s.find_last_not_of(cut) - begin + 1));
}
Result<Value> call_trim_prefix(const List& a) {
  std::string s = TRY(string_of("trimPrefix", a[0])), prefix = TRY(string_of("trimPrefix", a[1]));
  return text_value(s.starts_with(prefix) ? s.substr(prefix.size()) : s);
}
Result<Value> call_trim_suffix(const List& a) {
  std::string s = TRY(string_of("trimSuffix", a[0])), suffix = TRY(string_of("trimSuffix", a[1]));
  return text_value(s.ends_with(suffix) ? s.substr(0, s.size() - suffix.size()) : s);
}

constexpr int64_t kMaxPad = 4096;  // spaces

Result<Value> call_pad(const List& a) {
  std::string s = TRY(string_of("pad", a[0]));
  int64_t before = TRY(integer_of("pad", a[1])), after = TRY(integer_of("pad", a[2]));
  if (before < 0 || after < 0 || before > kMaxPad || after > kMaxPad)
    return fail(
        Error::invalid("pad: a number of spaces from 0 to " + std::to_string(kMaxPad) + " is wanted"));
  if (s.empty()) return text_value("");
  return text_value(std::string(static_cast<size_t>(before), ' ') + s +
                    std::string(static_cast<size_t>(after), ' '));
}

// Characters, not bytes.
Result<Value> call_truncate(const List& a) {
  std::string s = TRY(string_of("truncate", a[0]));
  int64_t most = TRY(integer_of("truncate", a[1]));
  if (most < 0) return fail(Error::invalid("truncate: a length that is not negative is wanted"));
  size_t at = 0;
  for (int64_t n = 0; at < s.size(); at++)
    if ((s[at] & 0xc0) != 0x80 && n++ == most) break;
  return text_value(s.substr(0, at));
}

// --- Go's functions ---

std::optional<double> number_of(const Value& v) {
  if (const auto* i = get<int64_t>(v)) return static_cast<double>(*i);
  if (const auto* d = get<double>(v)) return *d;
  return std::nullopt;
}

Result<bool> equal(const Value& a, const Value& b) {
  if (get<int64_t>(a) && get<int64_t>(b)) return *get<int64_t>(a) == *get<int64_t>(b);
  if (auto x = number_of(a), y = number_of(b); x && y) return *x == *y;
  if (get<bool>(a) && get<bool>(b)) return *get<bool>(a) == *get<bool>(b);
  auto is_text = [](const Value& v) { return get<std::string>(v) || get<Absent>(v); };
  if (is_text(a) && is_text(b)) return to_text(a) == to_text(b);
  if (get<Nil>(a) || get<Nil>(b)) return get<Nil>(a) && get<Nil>(b);
  return fail(Error::invalid("eq: incompatible types for comparison: " + kind_of(a) + " and " + kind_of(b)));
}

Result<int> order_of(const char* function, const Value& a, const Value& b) {
  auto sign = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
  if (get<int64_t>(a) && get<int64_t>(b)) return sign(*get<int64_t>(a), *get<int64_t>(b));
  if (auto x = number_of(a), y = number_of(b); x && y) return sign(*x, *y);
  if (get<std::string>(a) && get<std::string>(b)) return sign(*get<std::string>(a), *get<std::string>(b));
  return fail(Error::invalid(std::string(function) + ": incompatible types for comparison: " + kind_of(a) +
                             " and " + kind_of(b)));
}

// The first against any of the others.
Result<Value> call_eq(const List& a) {
  for (size_t n = 1; n < a.size(); n++)
    if (TRY(equal(a[0], a[n]))) return Value{true};
  return Value{false};
}
Result<Value> call_ne(const List& a) { return Value{!TRY(equal(a[0], a[1]))}; }
Result<Value> call_lt(const List& a) { return Value{TRY(order_of("lt", a[0], a[1])) < 0}; }
Result<Value> call_le(const List& a) { return Value{TRY(order_of("le", a[0], a[1])) <= 0}; }
Result<Value> call_gt(const List& a) { return Value{TRY(order_of("gt", a[0], a[1])) > 0}; }
Result<Value> call_ge(const List& a) { return Value{TRY(order_of("ge", a[0], a[1])) >= 0}; }
Result<Value> call_not(const List& a) { return Value{!truth(a[0])}; }

Result<Value> call_len(const List& a) {
  if (const auto* s = get<std::string>(a[0])) return Value{static_cast<int64_t>(s->size())};
  if (const auto* l = get<List>(a[0])) return Value{static_cast<int64_t>(l->size())};
  if (const auto* j = get<JsonValue>(a[0])) return Value{static_cast<int64_t>(j->size())};
  if (get<Absent>(a[0]) || get<Nil>(a[0])) return Value{int64_t{0}};
  return fail(wrong("len", "a string, a list or a map", a[0]));
}

Result<Value> index_one(const Value& in, const Value& key) {
  const auto* json = get<JsonValue>(in);
  if (json && json->kind() == Kind::kObject) {
    std::string name = TRY(string_of("index", key));
    Value found = member_of(in, name);
    return get<Missing>(found) ? Value{Absent{}} : found;
  }
  size_t size = json ? json->size() : get<List>(in) ? get<List>(in)->size() : 0;
  if (!json && !get<List>(in) && !get<Absent>(in) && !get<Nil>(in) && !get<std::string>(in))
    return fail(wrong("index", "a list or a map", in));
  if (const auto* s = get<std::string>(in)) size = s->size();
  int64_t n = TRY(integer_of("index", key));
  if (n < 0 || static_cast<size_t>(n) >= size)
    return fail(
        Error::invalid("index: index out of range: " + std::to_string(n) + " of " + std::to_string(size)));
  size_t at = static_cast<size_t>(n);
  if (json) return from_json(json->element(at));
  if (const auto* s = get<std::string>(in)) return Value{int64_t{static_cast<unsigned char>((*s)[at])}};
  return (*get<List>(in))[at];
}

Result<Value> call_index(const List& a) {
  Value at = a[0];
  for (size_t n = 1; n < a.size(); n++) at = TRY(index_one(at, a[n]));
  return at;
}

Result<Value> call_slice(const List& a) {
  int64_t size = *get<int64_t>(TRY(call_len({a[0]}))), bounds[2] = {0, size};
  for (size_t n = 1; n < a.size(); n++) bounds[n - 1] = TRY(integer_of("slice", a[n]));
  if (bounds[0] < 0 || bounds[1] > size || bounds[0] > bounds[1])
    return fail(Error::invalid("slice: from " + std::to_string(bounds[0]) + " to " +
                               std::to_string(bounds[1]) + " is not within 0 to " + std::to_string(size)));
  size_t begin = static_cast<size_t>(bounds[0]), end = static_cast<size_t>(bounds[1]);
  if (const auto* s = get<std::string>(a[0])) return text_value(s->substr(begin, end - begin));
  if (get<Absent>(a[0])) return a[0];
  if (const auto* json = get<JsonValue>(a[0]); json && json->kind() == Kind::kObject)
    return fail(wrong("slice", "a string or a list", a[0]));
  List out;
  auto all = TRY(elements_of(a[0]));
  for (size_t n = begin; n < end; n++) out.push_back(all[n].second);
  return Value{std::move(out)};
}

// A space between two that are no strings, as fmt.Sprint.
Result<Value> call_print(const List& a) {
  std::string out;
  for (size_t n = 0; n < a.size(); n++) {
    if (n && !get<std::string>(a[n]) && !get<std::string>(a[n - 1])) out += ' ';
    out += inner_text(a[n]);
  }
  return text_value(std::move(out));
}
Result<Value> call_println(const List& a) {
  std::string out;
  for (size_t n = 0; n < a.size(); n++) out += (n ? " " : "") + inner_text(a[n]);
  return text_value(out + "\n");
}
Result<Value> call_printf(const List& a) {
  return text_value(TRY(format_values(TRY(string_of("printf", a[0])), a, 1)));
}

constexpr size_t kMany = 1000;
constexpr Function kFunctions[] = {{"json", 1, 1, call_json},
                                   {"join", 2, 2, call_join},
                                   {"split", 2, 2, call_split},
                                   {"lower", 1, 1, call_lower},
                                   {"upper", 1, 1, call_upper},
                                   {"title", 1, 1, call_title},
                                   {"trim", 1, 2, call_trim},
                                   {"trimPrefix", 2, 2, call_trim_prefix},
                                   {"trimSuffix", 2, 2, call_trim_suffix},
                                   {"pad", 3, 3, call_pad},
                                   {"truncate", 2, 2, call_truncate},
                                   {"eq", 2, kMany, call_eq},
                                   {"ne", 2, 2, call_ne},
                                   {"lt", 2, 2, call_lt},
                                   {"le", 2, 2, call_le},
                                   {"gt", 2, 2, call_gt},
                                   {"ge", 2, 2, call_ge},
                                   {"not", 1, 1, call_not},
                                   {"len", 1, 1, call_len},
                                   {"index", 1, kMany, call_index},
                                   {"slice", 1, 3, call_slice},
                                   {"print", 0, kMany, call_print},
                                   {"println", 0, kMany, call_println},
                                   {"printf", 1, kMany, call_printf}};

}  // namespace

Value from_json(JsonValue json) {
  switch (json.kind()) {
    case Kind::kNull:
      return {Nil{}};
    case Kind::kBool:
      return {json.boolean()};
    case Kind::kString:
      return {std::string(json.string())};
    case Kind::kNumber:
      if (auto n = json.as_int64()) return {*n};
      return {json.as_double()};
    default:
      return {json};
  }
}

bool truth(const Value& v) {
  if (const auto* b = get<bool>(v)) return *b;
  if (const auto* i = get<int64_t>(v)) return *i != 0;
  if (const auto* d = get<double>(v)) return *d != 0;
  if (const auto* s = get<std::string>(v)) return !s->empty();
  if (const auto* l = get<List>(v)) return !l->empty();
  if (const auto* j = get<JsonValue>(v)) return j->size() != 0;
  return false;
}

std::string to_text(const Value& v) {
  if (get<Nil>(v)) return "<no value>";
  if (const auto* b = get<bool>(v)) return *b ? "true" : "false";
  if (const auto* i = get<int64_t>(v)) return std::to_string(*i);
  if (const auto* d = get<double>(v)) return number_text(*d);
  if (const auto* s = get<std::string>(v)) return *s;
  std::string out;
  if (const auto* l = get<List>(v)) {
    for (const auto& item : *l) out += (out.empty() ? "" : " ") + inner_text(item);
    return "[" + out + "]";
  }
  const auto* j = get<JsonValue>(v);
  if (!j) return out;
  if (j->kind() == Kind::kArray) {
    for (size_t n = 0; n < j->size(); n++) out += (n ? " " : "") + inner_text(from_json(j->element(n)));
    return "[" + out + "]";
  }
  for (size_t n : sorted_members(*j))
    out +=
        (out.empty() ? "" : " ") + std::string(j->member_name(n)) + ":" + inner_text(from_json(j->member(n)));
  return "map[" + out + "]";
}

std::string kind_of(const Value& v) {
  static constexpr const char* kNames[] = {"nothing",   "a missing field", "an entry that is not there",
                                           "a boolean", "an integer",      "a number",
                                           "a string",  "a list"};
  if (const auto* j = get<JsonValue>(v)) return j->kind() == Kind::kArray ? "a list" : "a map";
  return kNames[v.data.index()];
}

Value member_of(const Value& v, const std::string& name) {
  const auto* j = get<JsonValue>(v);
  if (!j || j->kind() != Kind::kObject) {
    if (const auto* missing = get<Missing>(v)) return {*missing};
    return {Missing{"there is no field \"" + name + "\" in " + kind_of(v)}};
  }
  std::string known;
  for (size_t n = 0; n < j->size(); n++) {
    if (j->member_name(n) == name) return from_json(j->member(n));
    known += (n ? ", " : "") + std::string(j->member_name(n));
  }
  return {
      Missing{"there is no field \"" + name + "\" (there are: " + (known.empty() ? "none" : known) + ")"}};
}

Result<std::vector<std::pair<Value, Value>>> elements_of(const Value& v) {
  std::vector<std::pair<Value, Value>> out;
  if (get<Nil>(v) || get<Absent>(v)) return out;
  if (const auto* l = get<List>(v)) {
    for (size_t n = 0; n < l->size(); n++) out.push_back({Value{static_cast<int64_t>(n)}, (*l)[n]});
    return out;
  }
  const auto* j = get<JsonValue>(v);
  if (!j) return fail(Error::invalid("range: " + kind_of(v) + " cannot be walked over"));
  if (j->kind() == Kind::kArray)
    for (size_t n = 0; n < j->size(); n++)
      out.push_back({Value{static_cast<int64_t>(n)}, from_json(j->element(n))});
  else
    for (size_t n : sorted_members(*j))
      out.push_back({Value{std::string(j->member_name(n))}, from_json(j->member(n))});
  return out;
}

const Function* find_function(std::string_view name) {
  for (const auto& f : kFunctions)
    if (name == f.name) return &f;
  return nullptr;
}

std::string function_names() {
  std::string names = "and or";
  for (const auto& f : kFunctions) names += std::string(" ") + f.name;
  return names;
}

// --- printf ---

namespace {

struct Directive {
  std::string flags;
  int64_t width = -1, precision = -1;
  char verb = 0;
};

constexpr int64_t kMaxWidth = 4096;

// Reads one directive behind '%'; `at` is then behind its verb.
Result<Directive> directive(const std::string& format, size_t& at) {
  Directive d;
  auto digits = [&](int64_t& out) -> bool {
    while (at < format.size() && format[at] >= '0' && format[at] <= '9') {
      out = (out < 0 ? 0 : out) * 10 + (format[at++] - '0');
      if (out > kMaxWidth) return false;
    }
    return true;
  };
  while (at < format.size() && strchr("-+# 0", format[at])) d.flags += format[at++];
  bool fits = digits(d.width);
  if (fits && at < format.size() && format[at] == '.') {
    at++;
    d.precision = 0;
    fits = digits(d.precision);
  }
  if (!fits) return fail(Error::invalid("printf: a width over " + std::to_string(kMaxWidth)));
  if (at >= format.size()) return fail(Error::invalid("printf: the format ends after %"));
  d.verb = format[at++];
  return d;
}

std::string padded(const Directive& d, std::string text) {
  size_t shown =
      static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  if (d.width < 0 || shown >= static_cast<size_t>(d.width)) return text;
  std::string fill(static_cast<size_t>(d.width) - shown, ' ');
  return d.flags.find('-') != std::string::npos ? text + fill : fill + text;
}

std::string quoted(const std::string& text) {
  JsonWriter w;
  w.string(text);
  return w.take();
}

// By the C library, with the directive's own flags.
template <class T>
std::string by_printf(const Directive& d, const char* type, T value) {
  std::string spec = "%" + d.flags;
  if (d.width >= 0) spec += std::to_string(d.width);
  if (d.precision >= 0) spec += "." + std::to_string(d.precision);
  spec += type;
  char text[2 * kMaxWidth + 512];
  int n = snprintf(text, sizeof text, spec.c_str(), value);
  return n > 0 ? std::string(text, std::min<size_t>(static_cast<size_t>(n), sizeof text - 1)) : "";
}

std::string hex_text(const std::string& bytes, bool upper) {
  const char* digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string out;
  for (unsigned char c : bytes) {
    out += digits[c >> 4];
    out += digits[c & 15];
  }
  return out;
}

Result<std::string> format_one(const Directive& d, const Value& v) {
  const auto* i = get<int64_t>(v);
  const auto* s = get<std::string>(v);
  auto number = number_of(v);
  switch (d.verb) {
    case 'v':
      if (i) return by_printf(d, "ld", *i);
      [[fallthrough]];
    case 's': {
      if (d.verb == 's' && (number || get<bool>(v))) break;
      std::string text = inner_text(v);
      if (d.precision >= 0 && s) text = to_text(TRY(call_truncate({v, Value{d.precision}})));
      return padded(d, std::move(text));
    }
    case 'q':
      if (s) return padded(d, quoted(*s));
      break;
    case 't':
      if (get<bool>(v)) return padded(d, to_text(v));
      break;
    case 'd':
      if (i) return by_printf(d, "ld", *i);
      break;
    case 'o':
      if (i) return by_printf(d, "lo", *i);
      break;
    case 'x':
    case 'X':
      if (i) return by_printf(d, d.verb == 'x' ? "lx" : "lX", *i);
      if (s) return padded(d, hex_text(*s, d.verb == 'X'));
      break;
    case 'c':
      if (i && *i >= 0x20 && *i < 0x7f) return padded(d, std::string(1, static_cast<char>(*i)));
      break;
    case 'f':
    case 'e':
    case 'g': {
      const char type[2] = {d.verb, 0};
      if (number) return by_printf(d, type, *number);
      break;
    }
    default:
      return fail(Error::invalid(std::string("printf: %") + d.verb + " is not supported"));
  }
  return fail(Error::invalid(std::string("printf: %") + d.verb + " does not print " + kind_of(v)));
}

}  // namespace

Result<std::string> format_values(const std::string& format, const std::vector<Value>& args, size_t next) {
  std::string out;
  for (size_t at = 0; at < format.size();) {
    if (format[at] != '%') {
      out += format[at++];
      continue;
    }
    at++;
    Directive d = TRY(directive(format, at));
    if (d.verb == '%') {
      out += '%';
      continue;
    }
    if (next >= args.size())
      return fail(Error::invalid(std::string("printf: no value is left for %") + d.verb));
    out += TRY(format_one(d, args[next++]));
  }
  if (next < args.size()) return fail(Error::invalid("printf: more values than the format has places"));
  return out;
}

}  // namespace onggi::cli::tmpl
