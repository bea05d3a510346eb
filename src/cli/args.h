// Command lines as the field's users type them: "--name value", "--name=value", "-n value", "-nvalue",
// grouped switches "-it", "--" ends options. For commands that take a program ("run IMAGE CMD -x") options
// end at the first word; elsewhere they may stand anywhere.
//
// Options are tables of data: the same table parses, prints the help, and feeds shell completion, the manual
// and docs/docker-parity.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onggi::cli {

enum class OptionKind : uint8_t { kSwitch, kValue, kList };

struct Option {
  const char* name;  // without dashes
  char letter = 0;   // 0: none
  OptionKind kind = OptionKind::kSwitch;
  const char* value = "";  // what it is called in the help: "bytes", "list"
  const char* help = "";
  // Accepted by name only to say that it is not there, and why. Empty: it works.
  const char* refused = "";
  const char* completion = "";  // what a shell offers: "file", "container", "image", "volume", or words
};

using Options = std::vector<Option>;

class Args {
 public:
  // `program`: options end at the first word.
  static Result<Args> parse(const Options& options, const std::vector<std::string>& words, bool program);

  [[nodiscard]] bool has(std::string_view name) const { return find(name).has_value(); }
  [[nodiscard]] std::optional<std::string> find(std::string_view name) const;  // the last one given
  [[nodiscard]] std::string get(std::string_view name, std::string otherwise = {}) const;
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name, bool otherwise = false) const;
  // nullopt when it was not given.
  [[nodiscard]] Result<std::optional<int64_t>> integer(std::string_view name) const;
  [[nodiscard]] const std::vector<std::string>& words() const { return words_; }

 private:
  Result<> one_long(const Options& options, const std::vector<std::string>& words, size_t& i);
  Result<> letters(const Options& options, const std::vector<std::string>& words, size_t& i);
  Result<> put(const Option& option, std::string value);
  std::vector<std::pair<std::string, std::string>> values_;
  std::vector<std::string> words_;
};

std::string options_help(const Options& options);
// "64m", "1.5GiB", "1024": bytes, powers of 1024. `what` names the option in errors.
Result<int64_t> parse_bytes(std::string_view text, std::string_view what);

}  // namespace onggi::cli
