// JSON: a strict, bounded reader that names the path of whatever is wrong, and a writer.
//
// Reading has two parts. JsonDocument turns text into a tree; it refuses what later code should not have to
// think about: more than kJsonMaxBytes of text, nesting over kJsonMaxDepth, more than kJsonMaxValues values,
// duplicate keys anywhere, NUL or bytes that are not UTF-8 inside strings, anything after the value.
// JsonReader then fills plain structs from that tree. A struct is described once, by a table of its members
// (JsonFields<T>), and both directions use that table, so that reading and writing cannot drift apart:
//
//   template <> struct JsonFields<Root> {
//     static constexpr auto kTable = std::to_array<JsonField<Root>>({
//         json_field<&Root::path>("path"), json_field<&Root::readonly>("readonly")});
//   };
//
// The path is a stack of names kept while reading and rendered only when an error is made. `null` means
// absent, as in the peers. Unknown members are ignored. Integers are exact: 1.0, 1e3 and values out of the
// type's range are errors.
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
// Bounds memory: every value of the tree costs its reader at most a few hundred bytes. Real configurations
// have some thousand values.
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
  [[nodiscard]] double as_double() const;  // any number
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

// Writes text piece by piece. `indent` is put once per level after a line break; empty: everything on one
// line. Bytes that are not UTF-8 become U+FFFD, so that the output is always valid JSON.
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
  void member(std::string_view name, std::string_view value) {
    key(name);
    string(value);
  }
  void member(std::string_view name, const char* value) {
    key(name);
    string(value);
  }
  void member_bool(std::string_view name, bool value) {
    key(name);
    boolean(value);
  }
  void member_number(std::string_view name, int64_t value) {
    key(name);
    number(value);
  }
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
  bool first_ = true;  // nothing written on this level yet
  bool after_key_ = false;
};

// --- tables of members ---
//
// One row says where a member is and which type it has; the code is per type, not per row, so that a hundred
// tables stay small.

class JsonReader;

enum class JsonEmit : uint8_t { kOmitDefault, kAlways };

// How values of one type are read, written, and recognised as "nothing was said". Pointers are to objects of
// that type.
struct JsonType {
  bool (*read)(JsonReader& reader, JsonValue value, void* out);
  void (*write)(JsonWriter& writer, const void* in);
  bool (*is_default)(const void* in);
};

struct JsonRow {
  std::string_view name;
  void* (*locate)(void* owner);  // the member of the struct
  const JsonType* type;
  JsonEmit emit;
  // Absence is an error. Only for members without a value that could stand for it; the rest is for the owner
  // to judge.
  bool required = false;
};
template <class T>
using JsonField = JsonRow;

template <class T>
struct JsonFields {};  // specialised by the owner of T: kTable, an array of JsonField<T>

template <class T>
concept JsonStruct = requires {
  JsonFields<T>::kTable;
};

// Fills values; the first error stops it. Functions return false after an error was recorded.
class JsonReader {
 public:
  explicit JsonReader(std::string_view document_name) : name_(document_name) {}

  bool read(JsonValue value, bool& out);
  bool read(JsonValue value, std::string& out);
  bool read_signed(JsonValue value, int64_t min, int64_t max, int64_t& out);
  bool read_unsigned(JsonValue value, uint64_t max, uint64_t& out);
  // An object by its table.
  bool read_struct(JsonValue value, void* out, const JsonRow* rows, size_t count);

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

  std::string_view name_;
  // The document's depth is bounded, so the path is too.
  std::array<Step, kJsonMaxDepth + 2> path_{};
  size_t depth_ = 0;
  std::optional<Error> error_;
};

void json_write_struct(JsonWriter& w, const void* in, const JsonRow* rows, size_t count);
bool json_struct_is_default(const void* in, const JsonRow* rows, size_t count);

// --- the types ---

template <class T>
concept JsonSigned = std::is_integral_v<T> && std::is_signed_v<T>;
template <class T>
concept JsonUnsigned = std::is_integral_v<T> && std::is_unsigned_v<T> && !std::is_same_v<T, bool>;

template <class T>
struct JsonOps;  // read, write, is_default for one type; other headers may specialise it

template <class T>
inline constexpr JsonType kJsonType = {
    [](JsonReader& r, JsonValue v, void* out) { return JsonOps<T>::read(r, v, *static_cast<T*>(out)); },
    [](JsonWriter& w, const void* in) { JsonOps<T>::write(w, *static_cast<const T*>(in)); },
    [](const void* in) { return JsonOps<T>::is_default(*static_cast<const T*>(in)); }};

template <>
struct JsonOps<bool> {
  static bool read(JsonReader& r, JsonValue v, bool& out) { return r.read(v, out); }
  static void write(JsonWriter& w, bool in) { w.boolean(in); }
  static bool is_default(bool in) { return !in; }
};
template <>
struct JsonOps<std::string> {
  static bool read(JsonReader& r, JsonValue v, std::string& out) { return r.read(v, out); }
  static void write(JsonWriter& w, const std::string& in) { w.string(in); }
  static bool is_default(const std::string& in) { return in.empty(); }
};
template <JsonSigned T>
struct JsonOps<T> {
  static bool read(JsonReader& r, JsonValue v, T& out) {
    int64_t wide;
    if (!r.read_signed(v, std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), wide)) return false;
    out = static_cast<T>(wide);
    return true;
  }
  static void write(JsonWriter& w, T in) { w.number(in); }
  static bool is_default(T in) { return in == 0; }
};
template <JsonUnsigned T>
struct JsonOps<T> {
  static bool read(JsonReader& r, JsonValue v, T& out) {
    uint64_t wide;
    if (!r.read_unsigned(v, std::numeric_limits<T>::max(), wide)) return false;
    out = static_cast<T>(wide);
    return true;
  }
  static void write(JsonWriter& w, T in) { w.unsigned_number(in); }
  static bool is_default(T in) { return in == 0; }
};
template <JsonStruct T>
struct JsonOps<T> {
  static constexpr auto& kRows = JsonFields<T>::kTable;
  static_assert(kRows.size() <= 64);
  static bool read(JsonReader& r, JsonValue v, T& out) {
    return r.read_struct(v, &out, kRows.data(), kRows.size());
  }
  static void write(JsonWriter& w, const T& in) { json_write_struct(w, &in, kRows.data(), kRows.size()); }
  // An object is left out when every member would be.
  static bool is_default(const T& in) { return json_struct_is_default(&in, kRows.data(), kRows.size()); }
};
template <class T>
struct JsonOps<std::optional<T>> {
  static bool read(JsonReader& r, JsonValue v, std::optional<T>& out) {
    return JsonOps<T>::read(r, v, out.emplace());
  }
  static void write(JsonWriter& w, const std::optional<T>& in) {
    if (in)
      JsonOps<T>::write(w, *in);
    else
      w.null();
  }
  static bool is_default(const std::optional<T>& in) { return !in.has_value(); }
};
template <class T>
struct JsonOps<std::vector<T>> {
  static bool read(JsonReader& r, JsonValue v, std::vector<T>& out) {
    if (!r.expect(v, JsonValue::Kind::kArray)) return false;
    size_t n = v.size();
    out.reserve(n);
    for (size_t i = 0; i < n; i++) {
      r.push(i);
      if (!JsonOps<T>::read(r, v.element(i), out.emplace_back())) return false;
      r.pop();
    }
    return true;
  }
  static void write(JsonWriter& w, const std::vector<T>& in) {
    w.begin_array();
    for (const T& item : in) JsonOps<T>::write(w, item);
    w.end_array();
  }
  static bool is_default(const std::vector<T>& in) { return in.empty(); }
};
// An object with arbitrary keys, in the order of the text.
template <class T>
struct JsonOps<std::vector<std::pair<std::string, T>>> {
  using Map = std::vector<std::pair<std::string, T>>;
  static bool read(JsonReader& r, JsonValue v, Map& out) {
    if (!r.expect(v, JsonValue::Kind::kObject)) return false;
    size_t n = v.size();
    out.reserve(n);
    for (size_t i = 0; i < n; i++) {
      r.push(v.member_name(i));
      auto& entry = out.emplace_back();
      entry.first = v.member_name(i);
      if (!JsonOps<T>::read(r, v.member(i), entry.second)) return false;
      r.pop();
    }
    return true;
  }
  static void write(JsonWriter& w, const Map& in) {
    w.begin_object();
    for (const auto& [name, item] : in) {
      w.key(name);
      JsonOps<T>::write(w, item);
    }
    w.end_object();
  }
  static bool is_default(const Map& in) { return in.empty(); }
};

template <class M>
struct JsonMember;
template <class T, class V>
struct JsonMember<V T::*> {
  using Owner = T;
  using Value = V;
};

// The address of member `Ptr` of an untyped owner.
template <auto Ptr>
void* json_locate(void* owner) {
  return &(static_cast<typename JsonMember<decltype(Ptr)>::Owner*>(owner)->*Ptr);
}

// One row of a table: the member `Ptr`, called `name` in the text.
template <auto Ptr>
constexpr JsonRow json_field(std::string_view name, JsonEmit emit = JsonEmit::kOmitDefault,
                             bool required = false) {
  return {name, json_locate<Ptr>, &kJsonType<typename JsonMember<decltype(Ptr)>::Value>, emit, required};
}

template <class T>
void json_write(JsonWriter& w, const T& value) {
  JsonOps<T>::write(w, value);
}

// Text -> T. `name` is what errors call the document.
template <JsonStruct T>
Result<T> json_parse(std::string_view text, std::string_view name) {
  JsonDocument document = TRY(JsonDocument::parse(text, name));
  JsonReader reader(name);
  T out{};
  if (!JsonOps<T>::read(reader, document.root(), out)) return fail(reader.take_error());
  return out;
}

}  // namespace onggi
