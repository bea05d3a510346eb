// JSON: a strict, bounded reader that names the path of whatever is wrong, and a writer.
//
// Reading has two parts. JsonDocument turns text into a tree; it refuses what later code should not have to think about:
// more than kJsonMaxBytes of text, nesting over kJsonMaxDepth, more than kJsonMaxValues values, duplicate keys anywhere,
// NUL or bytes that are not UTF-8 inside strings, anything after the value. JsonReader then fills plain structs from that tree. A struct is described
// once, by a table of its members (JsonFields<T>), and both directions use that table, so that reading and writing
// cannot drift apart:
//
//   template <> struct JsonFields<Root> {
//     static constexpr auto kTable = std::to_array<JsonField<Root>>({
//         json_field<&Root::path>("path"), json_field<&Root::readonly>("readonly")});
//   };
//
// The path is a stack of names kept while reading and rendered only when an error is made. `null` means absent, as in the
// peers. Unknown members are ignored. Integers are exact: 1.0, 1e3 and values out of the type's range are errors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"

namespace onggi {

inline constexpr size_t kJsonMaxBytes = 16u << 20;
inline constexpr size_t kJsonMaxDepth = 64;
// Bounds memory: every value of the tree costs its reader at most a few hundred bytes. Real configurations have some
// thousand values.
inline constexpr size_t kJsonMaxValues = 1u << 18;

// A borrowed view of one value; valid while its JsonDocument lives. Accessors require the fitting kind.
class JsonValue {
 public:
  enum class Kind : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

  explicit JsonValue(const void* value) : value_(value) {}
  [[nodiscard]] Kind kind() const;
  [[nodiscard]] size_t size() const;  // elements of an array, members of an object
  [[nodiscard]] JsonValue element(size_t i) const;
  [[nodiscard]] std::string_view member_name(size_t i) const;
  [[nodiscard]] JsonValue member(size_t i) const;
  [[nodiscard]] bool boolean() const;
  [[nodiscard]] std::string_view string() const;
  // nullopt when the number is not an integer or does not fit.
  [[nodiscard]] std::optional<int64_t> as_int64() const;
  [[nodiscard]] std::optional<uint64_t> as_uint64() const;
  // "a string", "the number 1.5", ... for error texts.
  [[nodiscard]] std::string describe() const;

 private:
  const void* value_;  // a rapidjson::Value; opaque so that only json.cpp compiles that library
};

class JsonDocument {
 public:
  // `name` stands in errors before the place: "config.json: line 3, column 7: ...".
  static Result<JsonDocument> parse(std::string_view text, std::string_view name);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();
  [[nodiscard]] JsonValue root() const;

 private:
  struct Tree;
  explicit JsonDocument(std::unique_ptr<Tree> tree);
  std::unique_ptr<Tree> tree_;
};

// Writes text piece by piece. `indent` is put once per level after a line break; empty: everything on one line.
// Bytes that are not UTF-8 become U+FFFD, so that the output is always valid JSON.
class JsonWriter {
 public:
  explicit JsonWriter(std::string_view indent = {}) : indent_(indent) {}
  void begin_object() { open('{'); }
  void end_object() { close_level('}'); }
  void begin_array() { open('['); }
  void end_array() { close_level(']'); }
  void key(std::string_view name);
  void string(std::string_view value);
  void number(int64_t value);
  void unsigned_number(uint64_t value);
  void boolean(bool value);
  void null();
  // Already valid JSON, put in as it is.
  void raw(std::string_view json);

  // Shorthands for members.
  void member(std::string_view name, std::string_view value) { key(name); string(value); }
  void member(std::string_view name, const char* value) { key(name); string(value); }
  void member_bool(std::string_view name, bool value) { key(name); boolean(value); }
  void member_number(std::string_view name, int64_t value) { key(name); number(value); }
  void member_strings(std::string_view name, const std::vector<std::string>& values);

  [[nodiscard]] const std::string& text() const { return out_; }
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void open(char bracket);
  void close_level(char bracket);
  void before_value();
  void line_break();

  std::string out_;
  std::string indent_;
  size_t depth_ = 0;
  bool first_ = true;        // nothing written on this level yet
  bool after_key_ = false;
};

// --- tables of members ---

class JsonReader;

enum class JsonEmit : uint8_t { kOmitDefault, kAlways };

template <class T>
struct JsonField {
  std::string_view name;
  bool (*read)(JsonReader& reader, JsonValue value, T& out);
  // Writes the value; returns false, having written nothing, when it is absent or the default.
  bool (*write)(JsonWriter& writer, std::string_view name, const T& in, JsonEmit emit);
  JsonEmit emit;
  // Absence is an error. Only for members without a value that could stand for it; the rest is for the owner to judge.
  bool required = false;
};

template <class T>
struct JsonFields {};  // specialised by the owner of T

template <class T>
concept JsonStruct = requires { JsonFields<T>::kTable; };

// Fills values; the first error stops it. Functions return false after an error was recorded.
class JsonReader {
 public:
  explicit JsonReader(std::string_view document_name) : name_(document_name) {}

  bool read(JsonValue value, bool& out);
  bool read(JsonValue value, std::string& out);
  template <class T>
    requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
  bool read(JsonValue value, T& out) {
    if constexpr (std::is_signed_v<T>) {
      int64_t wide;
      if (!read_signed(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), wide)) return false;
      out = static_cast<T>(wide);
    } else {
      uint64_t wide;
      if (!read_unsigned(value, std::numeric_limits<T>::max(), wide)) return false;
      out = static_cast<T>(wide);
    }
    return true;
  }
  template <class T>
  bool read(JsonValue value, std::optional<T>& out) {
    return read(value, out.emplace());
  }
  template <class T>
  bool read(JsonValue value, std::vector<T>& out) {
    if (!expect(value, JsonValue::Kind::kArray)) return false;
    size_t n = value.size();
    out.reserve(n);
    for (size_t i = 0; i < n; i++) {
      push(i);
      if (!read(value.element(i), out.emplace_back())) return false;
      pop();
    }
    return true;
  }
  // An object with arbitrary keys, in the order of the text.
  template <class T>
  bool read(JsonValue value, std::vector<std::pair<std::string, T>>& out) {
    if (!expect(value, JsonValue::Kind::kObject)) return false;
    size_t n = value.size();
    out.reserve(n);
    for (size_t i = 0; i < n; i++) {
      push(value.member_name(i));
      auto& entry = out.emplace_back();
      entry.first = value.member_name(i);
      if (!read(value.member(i), entry.second)) return false;
      pop();
    }
    return true;
  }
  template <JsonStruct T>
  bool read(JsonValue value, T& out) {
    if (!expect(value, JsonValue::Kind::kObject)) return false;
    constexpr auto& table = JsonFields<T>::kTable;
    static_assert(table.size() <= 64);
    uint64_t seen = 0;
    size_t n = value.size();
    for (size_t i = 0; i < n; i++) {
      std::string_view name = value.member_name(i);
      for (size_t f = 0; f < table.size(); f++) {
        if (table[f].name != name) continue;
        JsonValue member = value.member(i);
        if (member.kind() == JsonValue::Kind::kNull) break;
        seen |= uint64_t{1} << f;
        push(name);
        if (!table[f].read(*this, member, out)) return false;
        pop();
        break;
      }
    }
    for (size_t f = 0; f < table.size(); f++) {
      if (!table[f].required || (seen >> f & 1)) continue;
      push(table[f].name);
      return error("missing");
    }
    return true;
  }

  bool expect(JsonValue value, JsonValue::Kind kind);
  // Records "<document>: <path>: <reason>" and returns false.
  bool error(std::string reason);
  void push(std::string_view member) { path_[depth_++] = {member, 0}; }
  void push(size_t index) { path_[depth_++] = {{}, index}; }
  void pop() { depth_--; }
  // After a function returned false.
  [[nodiscard]] Error take_error() { return std::move(*error_); }

 private:
  struct Step {
    std::string_view member;  // data() == nullptr: an element
    size_t index;
  };
  bool read_signed(JsonValue value, int64_t min, int64_t max, int64_t& out);
  bool read_unsigned(JsonValue value, uint64_t max, uint64_t& out);

  std::string_view name_;
  // The document's depth is bounded, so the path is too.
  std::array<Step, kJsonMaxDepth + 2> path_{};
  size_t depth_ = 0;
  std::optional<Error> error_;
};

// --- writing by table ---

inline void json_write(JsonWriter& w, bool v) { w.boolean(v); }
inline void json_write(JsonWriter& w, const std::string& v) { w.string(v); }
template <class T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
void json_write(JsonWriter& w, T v) {
  if constexpr (std::is_signed_v<T>) w.number(v);
  else w.unsigned_number(v);
}
template <class T>
void json_write(JsonWriter& w, const std::optional<T>& v);
template <class T>
void json_write(JsonWriter& w, const std::vector<T>& v);
template <class T>
void json_write(JsonWriter& w, const std::vector<std::pair<std::string, T>>& v);
template <JsonStruct T>
void json_write(JsonWriter& w, const T& v) {
  w.begin_object();
  for (const JsonField<T>& field : JsonFields<T>::kTable) field.write(w, field.name, v, field.emit);
  w.end_object();
}
template <class T>
void json_write(JsonWriter& w, const std::optional<T>& v) {
  if (v) json_write(w, *v);
  else w.null();
}
template <class T>
void json_write(JsonWriter& w, const std::vector<T>& v) {
  w.begin_array();
  for (const T& item : v) json_write(w, item);
  w.end_array();
}
template <class T>
void json_write(JsonWriter& w, const std::vector<std::pair<std::string, T>>& v) {
  w.begin_object();
  for (const auto& [name, item] : v) {
    w.key(name);
    json_write(w, item);
  }
  w.end_object();
}

inline bool json_is_default(bool v) { return !v; }
inline bool json_is_default(const std::string& v) { return v.empty(); }
template <class T>
  requires(std::is_integral_v<T> && !std::is_same_v<T, bool>)
bool json_is_default(T v) { return v == 0; }
template <class T>
bool json_is_default(const std::optional<T>& v) { return !v.has_value(); }
template <class T>
bool json_is_default(const std::vector<T>& v) { return v.empty(); }
// An object is left out when every member would be.
template <JsonStruct T>
bool json_is_default(const T& v) {
  for (const JsonField<T>& field : JsonFields<T>::kTable) {
    JsonWriter scratch;
    scratch.begin_object();
    if (field.write(scratch, field.name, v, JsonEmit::kOmitDefault)) return false;
  }
  return true;
}

template <class M>
struct JsonMemberOf;
template <class T, class V>
struct JsonMemberOf<V T::*> {
  using Owner = T;
};

// One row of a table: the member `Ptr`, called `name` in the text.
template <auto Ptr>
constexpr auto json_field(std::string_view name, JsonEmit emit = JsonEmit::kOmitDefault) {
  using T = typename JsonMemberOf<decltype(Ptr)>::Owner;
  return JsonField<T>{
      name, [](JsonReader& r, JsonValue v, T& out) { return r.read(v, out.*Ptr); },
      [](JsonWriter& w, std::string_view key, const T& in, JsonEmit how) {
        if (how == JsonEmit::kOmitDefault && json_is_default(in.*Ptr)) return false;
        w.key(key);
        json_write(w, in.*Ptr);
        return true;
      },
      emit};
}

// Text -> T. `name` is what errors call the document.
template <JsonStruct T>
Result<T> json_parse(std::string_view text, std::string_view name) {
  JsonDocument document = TRY(JsonDocument::parse(text, name));
  JsonReader reader(name);
  T out{};
  if (!reader.read(document.root(), out)) return fail(reader.take_error());
  return out;
}

}  // namespace onggi
