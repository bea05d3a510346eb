// The tree that a Compose file is, from its text to its canonical form: every value knows where it was
// written.
//
// A mapping's members are nodes with a key, in the order of the text; keys are unique (the reader refuses
// duplicates). Scalars keep their text; what a plain one means is decided once, by the reader, as YAML 1.2's
// core schema does (with 1.1's octal numbers, which Compose files use for modes).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onggi::stack {

struct Mark {
  const std::string* file = nullptr;  // interned: lives as long as the program
  uint32_t line = 0, column = 0;      // from 1; 0: not from a file
};
const std::string* intern_file(std::string_view name);

struct Node {
  enum class Kind : uint8_t { kNull, kBool, kInt, kFloat, kString, kList, kMap };
  enum class Tag : uint8_t { kNone, kReset, kOverride };

  Kind kind = Kind::kNull;
  Tag tag = Tag::kNone;
  Mark mark;
  std::string text;  // of a scalar
  std::vector<Node> items;
  std::string key;  // as a member of a mapping
  Mark key_mark;

  static Node string(std::string text, Mark mark = {});
  static Node boolean(bool value, Mark mark = {});
  static Node integer(int64_t value, Mark mark = {});
  static Node map(Mark mark = {});
  static Node list(Mark mark = {});

  [[nodiscard]] bool is_map() const { return kind == Kind::kMap; }
  [[nodiscard]] bool is_list() const { return kind == Kind::kList; }
  [[nodiscard]] bool is_null() const { return kind == Kind::kNull; }
  [[nodiscard]] bool is_string() const { return kind == Kind::kString; }
  [[nodiscard]] bool is_number() const { return kind == Kind::kInt || kind == Kind::kFloat; }
  [[nodiscard]] bool is_scalar() const { return !is_map() && !is_list(); }

  // Member of a mapping; nullptr when there is none, or this is no mapping.
  [[nodiscard]] const Node* find(std::string_view name) const;
  Node* find(std::string_view name);
  // As find, and null counts as absent.
  [[nodiscard]] const Node* get(std::string_view name) const;
  // Text of a scalar member, or `otherwise`.
  [[nodiscard]] std::string text_of(std::string_view name, std::string_view otherwise = {}) const;
  [[nodiscard]] bool flag(std::string_view name, bool otherwise = false) const;
  [[nodiscard]] int64_t integer_of(std::string_view name, int64_t otherwise = 0) const;
  // Replaces or adds a member.
  Node& set(std::string_view name, Node value);
  void erase(std::string_view name);
};

// "compose.yaml:3:7"; empty when the mark is of no file.
std::string place(const Mark& mark);
// "compose.yaml:3:7: text"
Error error_at(const Mark& mark, std::string_view text, ErrorKind kind = ErrorKind::kInvalid);

// What is equal in value, wherever it was written.
bool same_value(const Node& a, const Node& b);

}  // namespace onggi::stack
