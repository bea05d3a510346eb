// The tree of a parsed template. Plain data; `at` is always a byte offset into the template, for errors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onggi::cli::tmpl {

// A template of a command line is short; these bound what a hostile one costs.
inline constexpr size_t kMaxText = 1 << 20;     // bytes
inline constexpr size_t kMaxDepth = 100;        // blocks and parentheses in each other
inline constexpr size_t kMaxOutput = 64 << 20;  // bytes
inline constexpr size_t kMaxSteps = 4 << 20;    // nodes executed

struct Pipe;

struct Operand {
  enum class Kind : uint8_t { kDot, kVariable, kString, kInt, kFloat, kBool, kNil, kFunction, kPipe };
  Kind kind = Kind::kDot;
  std::string text;  // of a string; name of a variable ("$x") or function
  int64_t integer = 0;
  double number = 0;
  bool boolean = false;
  std::vector<std::string> fields;  // ".A.B" behind a dot, a variable or parentheses
  std::unique_ptr<Pipe> pipe;       // in parentheses
  size_t at = 0, end = 0;           // its text, for errors
};

// One function or value with arguments.
struct Command {
  std::vector<Operand> words;
};

struct Pipe {
  std::vector<std::string> variables;  // "$x :=", "$k, $v :="
  bool declares = false;               // ":=", else "="
  std::vector<Command> commands;
  size_t at = 0;
};

struct Node {
  enum class Kind : uint8_t { kText, kPrint, kIf, kWith, kRange, kBreak, kContinue };
  Kind kind = Kind::kText;
  std::string text;
  Pipe pipe;
  std::vector<Node> body, otherwise;
  size_t at = 0;
};

Result<std::vector<Node>> parse_template(std::string_view text);
// "template:LINE:COLUMN: reason".
Error template_error(std::string_view text, size_t at, const std::string& reason);

}  // namespace onggi::cli::tmpl
