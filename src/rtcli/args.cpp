#include "rtcli/args.h"

namespace onggi::rtcli {

namespace {

const Option* find_option(const std::vector<Option>& options, std::string_view name, bool one_dash) {
  for (const auto& o : options) {
    if (name == o.name) return &o;
    if (one_dash && o.letter && name.size() == 1 && name[0] == o.letter) return &o;
  }
  return nullptr;
}

}  // namespace

Result<Args> Args::parse(const std::vector<Option>& options, const std::vector<std::string>& words,
                         bool interleaved) {
  Args args;
  size_t i = 0;
  for (; i < words.size(); i++) {
    std::string_view word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      if (!interleaved) break;
      args.rest_.push_back(words[i]);
      continue;
    }
    if (word == "--") {
      i++;
      break;
    }
    bool one_dash = word[1] != '-';
    word.remove_prefix(one_dash ? 1 : 2);
    size_t equals = word.find('=');
    std::string_view name = word.substr(0, equals);
    const Option* option = find_option(options, name, one_dash);
    if (!option) return fail(Error::invalid("unknown option '" + words[i] + "' (see --help)"));
    std::string value = "true";
    if (equals != std::string_view::npos) {
      value = word.substr(equals + 1);
    } else if (option->has_value) {
      if (++i >= words.size())
        // Podman looks for these four words to learn whether an option is known.
        return fail(Error::invalid("option --" + std::string(option->name) + ": flag needs an argument"));
      value = words[i];
    }
    args.values_.emplace_back(option->name, std::move(value));
  }
  args.rest_.insert(args.rest_.end(), words.begin() + static_cast<long>(i), words.end());
  return args;
}

std::optional<std::string> Args::find(std::string_view name) const {
  for (auto it = values_.rbegin(); it != values_.rend(); ++it)
    if (it->first == name) return it->second;
  return std::nullopt;
}

bool Args::has(std::string_view name) const { return find(name).has_value(); }
std::string Args::get(std::string_view name, std::string otherwise) const {
  return find(name).value_or(std::move(otherwise));
}

std::vector<std::string> Args::all(std::string_view name) const {
  std::vector<std::string> list;
  for (const auto& [key, value] : values_)
    if (key == name) list.push_back(value);
  return list;
}

Result<bool> Args::flag(std::string_view name) const {
  auto value = find(name);
  if (!value || *value == "false" || *value == "0") return false;
  if (*value == "true" || *value == "1") return true;
  return fail(
      Error::invalid("option --" + std::string(name) + ": '" + *value + "' is neither true nor false"));
}

std::string options_help(const std::vector<Option>& options) {
  std::string text;
  for (const auto& o : options) {
    std::string left = std::string("  --") + o.name;
    if (o.letter) left += std::string(", -") + o.letter;
    if (o.has_value) left += std::string(" ") + o.value_name;
    left.resize(std::max<size_t>(left.size() + 1, 34), ' ');
    text += left + o.help + "\n";
  }
  return text;
}

}  // namespace onggi::rtcli
