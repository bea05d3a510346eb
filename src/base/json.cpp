// The only file that knows RapidJSON. Its parser recurses by nesting, so BoundedHandler stops it at
// kJsonMaxDepth; it never throws, and its assertions are unreachable because every accessor is called after a
// check of kind().
#include "base/json.h"

#include <algorithm>
#include <cstring>

#define RAPIDJSON_HAS_STDSTRING 0
#include <rapidjson/document.h>
#include <rapidjson/error/en.h>

namespace onggi {
namespace {

using Allocator = rapidjson::MemoryPoolAllocator<>;
using Value = rapidjson::GenericValue<rapidjson::UTF8<>, Allocator>;
using Document = rapidjson::GenericDocument<rapidjson::UTF8<>, Allocator>;

const Value& tree_value(const void* p) { return *static_cast<const Value*>(p); }
std::string_view text_of(const Value& v) { return {v.GetString(), v.GetStringLength()}; }

// Length of the UTF-8 sequence at the start of `s`, 0 when it is not valid.
size_t utf8_length(std::string_view s) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  auto continues = [&](size_t i) { return i < s.size() && (byte(i) & 0xc0) == 0x80; };
  unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!continues(1) || !continues(2)) return 0;
    bool overlong = first == 0xe0 && byte(1) < 0xa0, surrogate = first == 0xed && byte(1) > 0x9f;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!continues(1) || !continues(2) || !continues(3)) return 0;
    bool overlong = first == 0xf0 && byte(1) < 0x90, beyond = first == 0xf4 && byte(1) > 0x8f;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

bool is_utf8(std::string_view s) {
  while (!s.empty()) {
    uint64_t word;
    if (s.size() >= sizeof word) {  // most text is ASCII
      std::memcpy(&word, s.data(), sizeof word);
      if ((word & 0x8080808080808080) == 0) {
        s.remove_prefix(sizeof word);
        continue;
      }
    }
    size_t length = utf8_length(s);
    if (length == 0) return false;
    s.remove_prefix(length);
  }
  return true;
}

// Forwards the parser's events to the tree builder, and ends the parse when a bound is passed.
class BoundedHandler {
 public:
  explicit BoundedHandler(Document& tree) : tree_(tree) {}
  const char* reason = nullptr;

  bool Null() { return count() && tree_.Null(); }
  bool Bool(bool b) { return count() && tree_.Bool(b); }
  bool Int(int i) { return count() && tree_.Int(i); }
  bool Uint(unsigned i) { return count() && tree_.Uint(i); }
  bool Int64(int64_t i) { return count() && tree_.Int64(i); }
  bool Uint64(uint64_t i) { return count() && tree_.Uint64(i); }
  bool Double(double d) { return count() && tree_.Double(d); }
  bool RawNumber(const char* s, rapidjson::SizeType n, bool copy) {
    return count() && tree_.RawNumber(s, n, copy);
  }
  bool String(const char* s, rapidjson::SizeType n, bool copy) {
    return count() && clean(s, n) && tree_.String(s, n, copy);
  }
  bool Key(const char* s, rapidjson::SizeType n, bool copy) {
    return count() && clean(s, n) && tree_.Key(s, n, copy);
  }
  bool StartObject() { return count() && deeper() && tree_.StartObject(); }
  bool StartArray() { return count() && deeper() && tree_.StartArray(); }
  bool EndObject(rapidjson::SizeType n) {
    depth_--;
    return tree_.EndObject(n);
  }
  bool EndArray(rapidjson::SizeType n) {
    depth_--;
    return tree_.EndArray(n);
  }

 private:
  bool stop(const char* why) {
    reason = why;
    return false;
  }
  bool count() {
    return ++values_ <= kJsonMaxValues || stop("more than 262144 values; a configuration has some thousand");
  }
  bool deeper() { return ++depth_ <= kJsonMaxDepth || stop("nested deeper than 64 levels"); }
  // Looked at after escapes are resolved, which can make a NUL and half of a surrogate pair.
  bool clean(const char* s, size_t n) {
    if (std::memchr(s, 0, n)) return stop("a string contains a NUL byte");
    return is_utf8({s, n}) || stop("a string is not UTF-8");
  }

  Document& tree_;
  size_t depth_ = 0;
  size_t values_ = 0;
};

std::string place(std::string_view text, size_t offset) {
  offset = std::min(offset, text.size());
  std::string_view before = text.substr(0, offset);
  size_t line = 1 + static_cast<size_t>(std::ranges::count(before, '\n'));
  size_t last_break = before.rfind('\n');
  size_t column = last_break == std::string_view::npos ? offset + 1 : offset - last_break;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// The path to an object with a key given twice; nullopt when there is none. Depth is bounded by the parser.
std::optional<std::string> find_duplicate(const Value& value) {
  if (value.IsArray()) {
    for (rapidjson::SizeType i = 0; i < value.Size(); i++) {
      if (value[i].IsString() || value[i].IsNumber()) continue;
      if (auto inner = find_duplicate(value[i])) return "[" + std::to_string(i) + "]" + *inner;
    }
    return std::nullopt;
  }
  if (!value.IsObject()) return std::nullopt;
  constexpr size_t kQuadraticUpTo = 24;
  size_t n = value.MemberCount();
  if (n <= kQuadraticUpTo) {
    for (auto a = value.MemberBegin(); a != value.MemberEnd(); ++a)
      for (auto b = value.MemberBegin(); b != a; ++b)
        if (text_of(a->name) == text_of(b->name)) return "." + std::string(text_of(a->name));
  } else {
    std::vector<std::string_view> names;
    names.reserve(n);
    for (auto m = value.MemberBegin(); m != value.MemberEnd(); ++m) names.push_back(text_of(m->name));
    std::ranges::sort(names);
    if (auto twice = std::ranges::adjacent_find(names); twice != names.end())
      return "." + std::string(*twice);
  }
  for (auto m = value.MemberBegin(); m != value.MemberEnd(); ++m) {
    if (!m->value.IsObject() && !m->value.IsArray()) continue;
    if (auto inner = find_duplicate(m->value)) return "." + std::string(text_of(m->name)) + *inner;
  }
  return std::nullopt;
}

}  // namespace

// --- JsonDocument ---

struct JsonDocument::Tree {
  // Strings of the tree point into `text` (parsed in place), small values into `buffer`: one allocation for
  // most documents.
  explicit Tree(std::string_view source)
      : text(source), allocator(buffer, sizeof buffer), document(&allocator, 8192) {}
  std::string text;
  alignas(16) char buffer[48 * 1024];
  Allocator allocator;
  Document document;
};

JsonDocument::JsonDocument(std::unique_ptr<Tree> tree) : tree_(std::move(tree)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;
JsonValue JsonDocument::root() const { return JsonValue(static_cast<const Value*>(&tree_->document)); }

Result<JsonDocument> JsonDocument::parse(std::string_view text, std::string_view name) {
  std::string prefix(name);
  prefix += ": ";
  if (text.size() > kJsonMaxBytes)
    return fail(Error::invalid(prefix + "larger than " + std::to_string(kJsonMaxBytes >> 20) + " MiB"));
  auto tree = std::make_unique<Tree>(text);
  rapidjson::ParseResult outcome;
  const char* bound_reason = nullptr;
  auto generate = [&](Document& document) {
    BoundedHandler handler(document);
    rapidjson::Reader reader;
    rapidjson::InsituStringStream stream(tree->text.data());
    outcome = reader.Parse<rapidjson::kParseInsituFlag>(stream, handler);
    bound_reason = handler.reason;
    return !outcome.IsError();
  };
  tree->document.Populate(generate);
  if (outcome.IsError()) {
    const char* reason = bound_reason ? bound_reason : rapidjson::GetParseError_En(outcome.Code());
    return fail(Error::invalid(prefix + place(text, outcome.Offset()) + ": " + reason));
  }
  // The parser takes a NUL byte for the end of its input.
  if (text.find('\0') != std::string_view::npos)
    return fail(Error::invalid(prefix + place(text, text.find('\0')) + ": a NUL byte"));
  if (auto twice = find_duplicate(tree->document)) {
    std::string path = twice->starts_with('.') ? twice->substr(1) : *twice;
    return fail(Error::invalid(prefix + path + ": given twice"));
  }
  return JsonDocument(std::move(tree));
}

// --- JsonValue ---

JsonValue::Kind JsonValue::kind() const {
  switch (tree_value(value_).GetType()) {
    case rapidjson::kNullType:
      return Kind::kNull;
    case rapidjson::kFalseType:
    case rapidjson::kTrueType:
      return Kind::kBool;
    case rapidjson::kNumberType:
      return Kind::kNumber;
    case rapidjson::kStringType:
      return Kind::kString;
    case rapidjson::kArrayType:
      return Kind::kArray;
    default:
      return Kind::kObject;
  }
}
size_t JsonValue::size() const {
  const Value& v = tree_value(value_);
  return v.IsArray() ? v.Size() : v.MemberCount();
}
JsonValue JsonValue::element(size_t i) const { return JsonValue(tree_value(value_).Begin() + i); }
std::string_view JsonValue::member_name(size_t i) const {
  return text_of((tree_value(value_).MemberBegin() + static_cast<ptrdiff_t>(i))->name);
}
JsonValue JsonValue::member(size_t i) const {
  return JsonValue(&(tree_value(value_).MemberBegin() + static_cast<ptrdiff_t>(i))->value);
}
bool JsonValue::boolean() const { return tree_value(value_).GetBool(); }
std::string_view JsonValue::string() const { return text_of(tree_value(value_)); }
std::optional<int64_t> JsonValue::as_int64() const {
  const Value& v = tree_value(value_);
  return v.IsInt64() ? std::optional(v.GetInt64()) : std::nullopt;
}
std::optional<uint64_t> JsonValue::as_uint64() const {
  const Value& v = tree_value(value_);
  return v.IsUint64() ? std::optional(v.GetUint64()) : std::nullopt;
}
double JsonValue::as_double() const { return tree_value(value_).GetDouble(); }
// "the number 1.5". By hand: std::to_chars for floating point would bring 100 kB of tables into a static
// program for this line.
static std::string describe_fraction(double d) {
  constexpr double kExact = 1e15;
  if (!(d > -kExact && d < kExact)) return "a number beyond 64 bits";
  double magnitude = d < 0 ? -d : d;
  auto whole = static_cast<uint64_t>(magnitude);
  auto thousandths = static_cast<uint64_t>((magnitude - static_cast<double>(whole)) * 1000);
  std::string text = (d < 0 ? "the number -" : "the number ") + std::to_string(whole) + '.';
  std::string digits = std::to_string(1000 + thousandths).substr(1);
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  return text + digits;
}

std::string JsonValue::describe() const {
  const Value& v = tree_value(value_);
  switch (kind()) {
    case Kind::kNull:
      return "null";
    case Kind::kBool:
      return v.GetBool() ? "true" : "false";
    case Kind::kString:
      return "a string";
    case Kind::kArray:
      return "an array";
    case Kind::kObject:
      return "an object";
    case Kind::kNumber:
      break;
  }
  if (v.IsInt64()) return "the number " + std::to_string(v.GetInt64());
  if (v.IsUint64()) return "the number " + std::to_string(v.GetUint64());
  return describe_fraction(v.GetDouble());
}

// --- JsonReader ---

bool JsonReader::error(std::string reason) {
  std::string text(name_);
  text += ": ";
  for (size_t i = 0; i < depth_; i++) {
    if (!path_[i].member.data()) {
      text += '[' + std::to_string(path_[i].index) + ']';
    } else {
      if (i > 0) text += '.';
      text += path_[i].member;
    }
  }
  if (depth_ > 0) text += ": ";
  error_ = Error::invalid(text + reason);
  return false;
}

static const char* kind_name(JsonValue::Kind kind) {
  switch (kind) {
    case JsonValue::Kind::kNull:
      return "null";
    case JsonValue::Kind::kBool:
      return "true or false";
    case JsonValue::Kind::kNumber:
      return "a number";
    case JsonValue::Kind::kString:
      return "a string";
    case JsonValue::Kind::kArray:
      return "an array";
    case JsonValue::Kind::kObject:
      return "an object";
  }
  return "";
}

bool JsonReader::expect(JsonValue value, JsonValue::Kind kind) {
  if (value.kind() == kind) [[likely]]
    return true;
  return error(std::string("expected ") + kind_name(kind) + ", found " + value.describe());
}

bool JsonReader::read(JsonValue value, bool& out) {
  if (!expect(value, JsonValue::Kind::kBool)) return false;
  out = value.boolean();
  return true;
}

bool JsonReader::read(JsonValue value, std::string& out) {
  if (!expect(value, JsonValue::Kind::kString)) return false;
  out = value.string();
  return true;
}

bool JsonReader::read_signed(JsonValue value, int64_t min, int64_t max, int64_t& out) {
  auto number = value.kind() == JsonValue::Kind::kNumber ? value.as_int64() : std::nullopt;
  if (!number && !value.as_uint64()) return error("expected an integer, found " + value.describe());
  if (!number || *number < min || *number > max)
    return error("expected an integer from " + std::to_string(min) + " to " + std::to_string(max) +
                 ", found " + value.describe());
  out = *number;
  return true;
}

bool JsonReader::read_unsigned(JsonValue value, uint64_t max, uint64_t& out) {
  auto number = value.kind() == JsonValue::Kind::kNumber ? value.as_uint64() : std::nullopt;
  if (!number && !value.as_int64()) return error("expected an integer, found " + value.describe());
  if (!number || *number > max)
    return error("expected an integer from 0 to " + std::to_string(max) + ", found " + value.describe());
  out = *number;
  return true;
}

bool JsonReader::read_struct(JsonValue value, void* out, const JsonRow* rows, size_t count) {
  if (!expect(value, JsonValue::Kind::kObject)) return false;
  uint64_t seen = 0;
  size_t n = value.size();
  for (size_t i = 0; i < n; i++) {
    std::string_view name = value.member_name(i);
    for (size_t row = 0; row < count; row++) {
      if (rows[row].name != name) continue;
      JsonValue member = value.member(i);
      if (member.kind() == JsonValue::Kind::kNull) break;
      seen |= uint64_t{1} << row;
      push(name);
      if (!rows[row].type->read(*this, member, rows[row].locate(out))) return false;
      pop();
      break;
    }
  }
  for (size_t row = 0; row < count; row++) {
    if (!rows[row].required || (seen >> row & 1)) continue;
    push(rows[row].name);
    return error("missing");
  }
  return true;
}

// locate() computes an address only; what is behind it is not changed here.
static const void* member_of(const void* owner, const JsonRow& row) {
  return row.locate(const_cast<void*>(owner));
}

void json_write_struct(JsonWriter& w, const void* in, const JsonRow* rows, size_t count) {
  w.begin_object();
  for (size_t row = 0; row < count; row++) {
    const void* member = member_of(in, rows[row]);
    if (rows[row].emit == JsonEmit::kOmitDefault && rows[row].type->is_default(member)) continue;
    w.key(rows[row].name);
    rows[row].type->write(w, member);
  }
  w.end_object();
}

bool json_struct_is_default(const void* in, const JsonRow* rows, size_t count) {
  for (size_t row = 0; row < count; row++)
    if (!rows[row].type->is_default(member_of(in, rows[row]))) return false;
  return true;
}

// --- JsonWriter ---

void JsonWriter::line_break() {
  if (indent_.empty()) return;
  out_ += '\n';
  for (size_t i = 0; i < depth_; i++) out_ += indent_;
}

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (depth_ == 0) return;
  if (!first_) out_ += ',';
  line_break();
  first_ = false;
}

void JsonWriter::open(char bracket) {
  before_value();
  out_ += bracket;
  depth_++;
  first_ = true;
}

void JsonWriter::close_level(char bracket) {
  depth_--;
  if (!first_) line_break();
  out_ += bracket;
  first_ = false;
}

void JsonWriter::key(std::string_view name) {
  before_value();
  after_key_ = true;  // string() must not put a comma
  string(name);
  out_ += indent_.empty() ? ":" : ": ";
  after_key_ = true;
}

void JsonWriter::string(std::string_view value) {
  before_value();
  static constexpr char kHex[] = "0123456789abcdef";
  out_ += '"';
  while (!value.empty()) {
    unsigned char c = static_cast<unsigned char>(value[0]);
    size_t length = utf8_length(value);
    if (length == 0) {
      out_ += "\xef\xbf\xbd";  // U+FFFD
      length = 1;
    } else if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += static_cast<char>(c);
    } else if (c == '\n') {
      out_ += "\\n";
    } else if (c == '\t') {
      out_ += "\\t";
    } else if (c == '\r') {
      out_ += "\\r";
    } else if (c < 0x20 || c == 0x7f) {
      out_ += "\\u00";
      out_ += kHex[c >> 4];
      out_ += kHex[c & 15];
    } else {
      out_ += value.substr(0, length);
    }
    value.remove_prefix(length);
  }
  out_ += '"';
}

void JsonWriter::number(int64_t value) {
  before_value();
  out_ += std::to_string(value);
}
void JsonWriter::unsigned_number(uint64_t value) {
  before_value();
  out_ += std::to_string(value);
}
void JsonWriter::boolean(bool value) {
  before_value();
  out_ += value ? "true" : "false";
}
void JsonWriter::null() {
  before_value();
  out_ += "null";
}
void JsonWriter::raw(std::string_view json) {
  before_value();
  out_ += json;
}
void JsonWriter::member_strings(std::string_view name, const std::vector<std::string>& values) {
  key(name);
  begin_array();
  for (const std::string& value : values) string(value);
  end_array();
}

}  // namespace onggi
