#include "stack/interpolate.h"

#include <cctype>

namespace onggi::stack {

namespace {

bool starts_name(char c) { return ::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool in_name(char c) { return ::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

class Template {
 public:
  Template(const Lookup& lookup, std::set<std::string>* unset) : lookup_(lookup), unset_(unset) {}

  // `take`: with false the text is read (its syntax counts) but its variables are not looked up.
  Result<std::string> expand(std::string_view text, size_t depth, bool take) {
    if (depth > kInterpolationMaxDepth) return fail(Error::invalid("variables nested too deeply"));
    std::string out;
    for (size_t i = 0; i < text.size();) {
      if (text[i] != '$') {
        size_t end = std::min(text.find('$', i), text.size());
        out += text.substr(i, end - i);
        i = end;
      } else if (i + 1 < text.size() && text[i + 1] == '$') {
        out += '$';
        i += 2;
      } else if (i + 1 < text.size() && starts_name(text[i + 1])) {
        size_t end = i + 1;
        while (end < text.size() && in_name(text[end])) end++;
        out += take ? plain(text.substr(i + 1, end - i - 1)) : "";
        i = end;
      } else if (i + 1 < text.size() && text[i + 1] == '{') {
        size_t end = closing(text, i + 2);
        if (end == std::string_view::npos) return fail(bad(text.substr(i), "a closing brace is missing"));
        out += TRY(braced(text.substr(i + 2, end - i - 2), depth, take));
        i = end + 1;
      } else {
        return fail(bad(text.substr(i), "a name must follow; a literal dollar sign is written $$"));
      }
      if (out.size() > kInterpolatedMaxBytes) return fail(Error::invalid("the value grows over 1 MiB"));
    }
    return out;
  }

 private:
  static Error bad(std::string_view at, std::string_view why) {
    return Error::invalid("invalid interpolation format \"" + std::string(at.substr(0, 40)) +
                          "\": " + std::string(why));
  }

  // Where the brace ends that was opened before `i`.
  static size_t closing(std::string_view text, size_t i) {
    for (size_t open = 1; i < text.size(); i++) {
      if (text[i] == '$' && i + 1 < text.size() && (text[i + 1] == '$' || text[i + 1] == '{')) {
        if (text[++i] == '{') open++;
      } else if (text[i] == '}' && --open == 0) {
        return i;
      }
    }
    return std::string_view::npos;
  }

  std::string plain(std::string_view name) {
    auto value = lookup_(name);
    if (!value && unset_) unset_->insert(std::string(name));
    return value.value_or("");
  }

  Result<std::string> braced(std::string_view body, size_t depth, bool take) {
    size_t end = 0;
    while (end < body.size() && in_name(body[end])) end++;
    std::string_view name = body.substr(0, end), rest = body.substr(end);
    if (name.empty() || !starts_name(name[0]))
      return fail(bad("${" + std::string(body) + "}", "this is no name of a variable"));
    if (rest.empty()) return take ? plain(name) : std::string();
    bool empty_counts = rest[0] == ':';
    if (empty_counts) rest.remove_prefix(1);
    char op = rest.empty() ? 0 : rest[0];
    if (op != '-' && op != '?' && op != '+')
      return fail(bad("${" + std::string(body) + "}", "after the name may come :- - :? ? :+ or +"));
    rest.remove_prefix(1);
    auto value = take ? lookup_(name) : std::nullopt;
    bool given = value && !(empty_counts && value->empty());
    if (op == '-')
      return given ? (TRY(expand(rest, depth + 1, false)), *value) : expand(rest, depth + 1, take);
    if (op == '+') {
      std::string other = TRY(expand(rest, depth + 1, take && given));
      return given ? other : std::string();
    }
    std::string message = TRY(expand(rest, depth + 1, take && !given));
    if (!take || given) return value.value_or("");
    return fail(Error::invalid("required variable " + std::string(name) + " is missing a value" +
                               (message.empty() ? "" : ": " + message)));
  }

  const Lookup& lookup_;
  std::set<std::string>* unset_;
};

}  // namespace

Result<std::string> interpolate(std::string_view text, const Lookup& lookup, std::set<std::string>* unset) {
  return Template(lookup, unset).expand(text, 0, true);
}

Result<> interpolate_tree(Node& node, const Lookup& lookup, std::set<std::string>* unset) {
  if (node.is_scalar()) {
    if (node.text.find('$') == std::string::npos) return {};
    auto value = interpolate(node.text, lookup, unset);
    if (!value) return fail(error_at(node.mark, value.error().text()));
    node.text = std::move(*value);
    return {};
  }
  for (auto& item : node.items) TRY_VOID(interpolate_tree(item, lookup, unset));
  return {};
}

// --- .env ---

namespace {

class Dotenv {
 public:
  Dotenv(std::string_view text, std::string_view name, const Lookup& lookup)
      : text_(text), name_(name), lookup_(lookup) {}

  Result<std::vector<std::pair<std::string, std::string>>> parse() {
    while (skip_to_statement()) TRY_VOID(statement());
    return std::move(out_);
  }

 private:
  Error wrong(std::string_view what) const {
    return Error::invalid(std::string(name_) + ":" + std::to_string(line_) + ": " + std::string(what));
  }
  [[nodiscard]] bool end() const { return at_ >= text_.size(); }
  [[nodiscard]] char now() const { return text_[at_]; }
  void step() {
    if (now() == '\n') line_++;
    at_++;
  }
  void skip_blanks() {
    while (!end() && (now() == ' ' || now() == '\t' || now() == '\r')) step();
  }

  bool skip_to_statement() {
    for (;;) {
      while (!end() && ::isspace(static_cast<unsigned char>(now()))) step();
      if (end()) return false;
      if (now() != '#') return true;
      while (!end() && now() != '\n') step();
    }
  }

  Result<> statement() {
    if (text_.substr(at_).starts_with("export") && at_ + 6 < text_.size() &&
        (text_[at_ + 6] == ' ' || text_[at_ + 6] == '\t')) {
      at_ += 6;
      skip_blanks();
    }
    size_t begin = at_;
    while (!end() && (in_name(now()) || now() == '.' || now() == '-' || now() == '[' || now() == ']')) step();
    std::string key(text_.substr(begin, at_ - begin));
    skip_blanks();
    if (key.empty()) return fail(wrong("a name of a variable is expected (NAME=VALUE)"));
    if (end() || now() == '\n' || now() == '#') {
      while (!end() && now() != '\n') step();
      if (auto value = lookup_(key)) out_.emplace_back(key, *value);
      return {};
    }
    if (now() != '=' && now() != ':')
      return fail(wrong("unexpected character '" + std::string(1, now()) +
                        "' in the name of a variable near \"" + key + "\""));
    step();
    skip_blanks();
    out_.emplace_back(key, TRY(value()));
    return {};
  }

  Result<std::string> value() {
    if (!end() && (now() == '"' || now() == '\'')) return quoted();
    size_t begin = at_;
    while (!end() && now() != '\n' &&
           !(now() == '#' && (at_ == begin || text_[at_ - 1] == ' ' || text_[at_ - 1] == '\t')))
      step();
    std::string_view raw = text_.substr(begin, at_ - begin);
    while (!raw.empty() && ::isspace(static_cast<unsigned char>(raw.back()))) raw.remove_suffix(1);
    while (!end() && now() != '\n') step();
    return expand(raw);
  }

  Result<std::string> quoted() {
    char quote = now();
    int opened = line_;
    step();
    std::string raw;
    for (;; step()) {
      if (end()) {
        line_ = opened;
        return fail(wrong("a quoted value is not closed"));
      }
      if (now() == quote) break;
      if (now() == '\\' && at_ + 1 < text_.size()) {
        char next = text_[at_ + 1];
        if (quote == '\'') {
          if (next == '\'') step();
        } else if (next == 'n' || next == 'r' || next == 't') {
          step();
          raw += next == 'n' ? '\n' : next == 'r' ? '\r' : '\t';
          continue;
        } else if (next == '$') {
          step();
          raw += "$$";
          continue;
        } else if (next == '"' || next == '\\') {
          step();
        }
      }
      raw += now();
    }
    step();
    while (!end() && now() != '\n') {
      if (now() == '#') {
        while (!end() && now() != '\n') step();
        break;
      }
      if (!::isspace(static_cast<unsigned char>(now())))
        return fail(wrong("there is text after the closing quote"));
      step();
    }
    return quote == '"' ? expand(raw) : Result<std::string>(raw);
  }

  Result<std::string> expand(std::string_view raw) {
    Lookup lookup = [&](std::string_view name) -> std::optional<std::string> {
      if (auto outer = lookup_(name)) return outer;
      for (auto it = out_.rbegin(); it != out_.rend(); ++it)
        if (it->first == name) return it->second;
      return std::nullopt;
    };
    // A dollar sign that begins no variable is itself here, as shells have it.
    std::string text;
    for (size_t i = 0; i < raw.size(); i++) {
      text += raw[i];
      if (raw[i] != '$') continue;
      char next = i + 1 < raw.size() ? raw[i + 1] : 0;
      if (next == '$')
        text += raw[++i];
      else if (!starts_name(next) && next != '{')
        text += '$';
    }
    auto value = interpolate(text, lookup, nullptr);
    if (!value) return fail(wrong(value.error().text()));
    return value;
  }

  std::string_view text_, name_;
  const Lookup& lookup_;
  size_t at_ = 0;
  int line_ = 1;
  std::vector<std::pair<std::string, std::string>> out_;
};

}  // namespace

Result<std::vector<std::pair<std::string, std::string>>> parse_dotenv(std::string_view text,
                                                                      std::string_view name,
                                                                      const Lookup& lookup) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return Dotenv(text, name, lookup).parse();
}

}  // namespace onggi::stack
