#include "cli/args.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "base/file.h"

namespace onggi::cli {

namespace {

const Option* find_long(const Options& options, std::string_view name) {
  for (const auto& o : options)
    if (name == o.name) return &o;
  return nullptr;
}

const Option* find_letter(const Options& options, char letter) {
  for (const auto& o : options)
    if (letter && letter == o.letter) return &o;
  return nullptr;
}

std::optional<bool> truth(std::string_view text) {
  for (const char* yes : {"true", "1", "t", "T", "TRUE", "True"})
    if (text == yes) return true;
  for (const char* no : {"false", "0", "f", "F", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

}  // namespace

Result<> Args::put(const Option& option, std::string value) {
  std::string name = std::string("--") + option.name;
  if (*option.refused) return fail(Error::unsupported(name + " is not supported: " + option.refused));
  if (option.kind == OptionKind::kSwitch && !truth(value))
    return fail(
        Error::invalid("invalid argument \"" + value + "\" for " + name + ": true or false is wanted"));
  values_.emplace_back(option.name, std::move(value));
  return {};
}

Result<> Args::one_long(const Options& options, const std::vector<std::string>& words, size_t& i) {
  std::string_view word = std::string_view(words[i]).substr(2);
  size_t equals = word.find('=');
  std::string_view name = word.substr(0, equals);
  const Option* option = find_long(options, name);
  if (!option) return fail(Error::invalid("unknown flag: --" + std::string(name)));
  if (equals != std::string_view::npos) return put(*option, std::string(word.substr(equals + 1)));
  if (option->kind == OptionKind::kSwitch) return put(*option, "true");
  if (i + 1 >= words.size()) return fail(Error::invalid("flag needs an argument: --" + std::string(name)));
  return put(*option, words[++i]);
}

Result<> Args::letters(const Options& options, const std::vector<std::string>& words, size_t& i) {
  const std::string word = words[i];
  for (size_t at = 1; at < word.size(); at++) {
    const Option* option = find_letter(options, word[at]);
    if (!option)
      return fail(Error::invalid(std::string("unknown shorthand flag: '") + word[at] + "' in " + word));
    std::string rest = word.substr(at + 1);
    if (option->kind == OptionKind::kSwitch) {
      if (!rest.empty() && rest[0] == '=') return put(*option, rest.substr(1));
      TRY_VOID(put(*option, "true"));
      continue;
    }
    if (!rest.empty()) return put(*option, rest[0] == '=' ? rest.substr(1) : rest);
    if (i + 1 >= words.size())
      return fail(Error::invalid(std::string("flag needs an argument: '") + word[at] + "' in " + word));
    return put(*option, words[++i]);
  }
  return {};
}

Result<Args> Args::parse(const Options& options, const std::vector<std::string>& words, bool program) {
  Args args;
  size_t i = 0;
  for (; i < words.size(); i++) {
    const std::string& word = words[i];
    if (word == "--") {
      i++;
      break;
    }
    if (word.size() < 2 || word[0] != '-') {
      if (program) break;
      args.words_.push_back(word);
      continue;
    }
    TRY_VOID(word[1] == '-' ? args.one_long(options, words, i) : args.letters(options, words, i));
  }
  for (; i < words.size(); i++) args.words_.push_back(words[i]);
  return args;
}

std::optional<std::string> Args::find(std::string_view name) const {
  for (auto it = values_.rbegin(); it != values_.rend(); ++it)
    if (it->first == name) return it->second;
  return std::nullopt;
}

std::string Args::get(std::string_view name, std::string otherwise) const {
  return find(name).value_or(std::move(otherwise));
}

std::vector<std::string> Args::all(std::string_view name) const {
  std::vector<std::string> list;
  for (const auto& [key, value] : values_)
    if (key == name) list.push_back(value);
  return list;
}

bool Args::flag(std::string_view name, bool otherwise) const {
  auto value = find(name);
  return value ? truth(*value).value_or(otherwise) : otherwise;
}

Result<std::optional<int64_t>> Args::integer(std::string_view name) const {
  auto value = find(name);
  if (!value) return std::optional<int64_t>();
  return std::optional<int64_t>(TRY(parse_i64(*value, "--" + std::string(name))));
}

std::string options_help(const Options& options) {
  Options sorted(options);
  std::erase_if(sorted, [](const Option& o) { return *o.refused != 0; });
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return std::string_view(a.name) < b.name; });
  auto left_of = [](const Option& o) {
    std::string left = o.letter ? std::string("  -") + o.letter + ", --" : "      --";
    left += o.name;
    if (o.kind != OptionKind::kSwitch) left += std::string(" ") + o.value;
    return left;
  };
  size_t width = 0;
  for (const auto& o : sorted) width = std::max(width, left_of(o).size());
  std::string text;
  for (const auto& o : sorted) {
    std::string left = left_of(o);
    left.resize(width + 3, ' ');
    text += left + o.help + "\n";
  }
  return text;
}

Result<int64_t> parse_bytes(std::string_view text, std::string_view what) {
  auto bad = [&] {
    return fail(Error::invalid("invalid size '" + std::string(text) + "' for " + std::string(what) +
                               " (examples: 1024, 64m, 1.5g)"));
  };
  std::string number(text);
  size_t end = number.find_first_not_of("0123456789.");
  std::string unit = end == std::string::npos ? "" : number.substr(end);
  number = number.substr(0, end);
  if (number.empty() || number == ".") return bad();
  for (char& c : unit) c = static_cast<char>(::tolower(static_cast<unsigned char>(c)));
  unit = std::string(trim(unit));
  if (unit.ends_with("ib")) unit.resize(unit.size() - 2);
  if (unit.size() > 1 && unit.ends_with("b")) unit.pop_back();
  static constexpr std::string_view kUnits = "bkmgtp";
  size_t power = unit.empty() ? 0 : kUnits.find(unit);
  if (power == std::string_view::npos || unit.size() > 1) return bad();
  char* stop = nullptr;
  double value = ::strtod(number.c_str(), &stop);
  if (*stop) return bad();
  for (size_t n = 0; n < power; n++) value *= 1024;
  if (value > 9e18) return bad();
  return static_cast<int64_t>(value);
}

}  // namespace onggi::cli
