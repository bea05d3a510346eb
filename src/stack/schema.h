// What a Compose file may say: every field of the specification, by name and type, as data.
//
// check() refuses what is not in the tables ("additional property ... is not allowed" in the peers), with
// file, line, column and path; `x-` members are allowed wherever the specification has them and kept. It also
// casts: where the type is a boolean or a number, a string that reads as one becomes one (variables are
// always strings).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "stack/node.h"

namespace onggi::stack {

struct Field;
struct Type {
  enum class Is : uint8_t {
    kAny,
    kString,
    kBool,
    kInteger,
    kNumber,
    kSize,
    kDuration,
    kText /* string, number or bool, kept as string */,
    kList,
    kMap /* any keys */,
    kObject
  };
  Is is = Is::kAny;
  const Type* element = nullptr;       // of a list or map
  std::span<const Field> fields = {};  // of an object
  const Type* short_form = nullptr;    // another type that a scalar may have here instead
  const Type* list_form = nullptr;     // another type that a list may have here instead
  bool nullable = false;
  bool unique = false;          // list: equal scalars count once
  std::string_view words = {};  // string: one of these, separated by spaces
};
struct Field {
  std::string_view name;
  const Type* type;
  bool required = false;
};

// The whole file.
const Type& file_type();
const Type& service_type();

// Checks and casts. All problems, first to last, at most kMaxProblems; empty: it fits.
inline constexpr size_t kMaxProblems = 20;
std::vector<Error> check(Node& node, const Type& type, std::string_view path);

// "90", "1m30s", "1.5h", "500ms", "10us": nanoseconds; a number alone is not a duration.
Result<int64_t> duration_of(std::string_view text);
// Go's form: "1m30s", "500ms", "0s".
std::string duration_text(int64_t nanoseconds);
// "64m", "1.5GiB", "1024": bytes, powers of 1024; negative numbers as they are.
Result<int64_t> size_of(std::string_view text);

// The shortest decimal that reads as the same number.
std::string number_text(std::string_view text);

}  // namespace onggi::stack
