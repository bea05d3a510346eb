// Command-line options as runc's users and engines write them: "--name value", "--name=value", "-n value",
// "-name value"; options end at the first word that is not one, or at "--". Unknown options are errors, never
// skipped.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace onggi::rtcli {

struct Option {
  const char* name;  // long name
  char letter;       // short name or 0
  bool has_value;
  const char* value_name;  // for help
  const char* help;
};

class Args {
 public:
  // Parses words[0..]; what follows the options is in rest().
  // `interleaved`: options may also follow words ("update ID --memory N"), up to "--".
  static Result<Args> parse(const std::vector<Option>& options, const std::vector<std::string>& words,
                            bool interleaved = false);

  [[nodiscard]] bool has(std::string_view name) const;
  // The last value given, or `otherwise`.
  [[nodiscard]] std::string get(std::string_view name, std::string otherwise = {}) const;
  [[nodiscard]] std::optional<std::string> find(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> all(std::string_view name) const;
  // A switch: given and not "=false".
  Result<bool> flag(std::string_view name) const;
  [[nodiscard]] const std::vector<std::string>& rest() const { return rest_; }

 private:
  std::vector<std::pair<std::string, std::string>> values_;
  std::vector<std::string> rest_;
};

std::string options_help(const std::vector<Option>& options);

}  // namespace onggi::rtcli
