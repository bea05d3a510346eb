// Text -> tree. One action ({{...}}) is first cut into tokens, then parsed by recursive descent; trim marks
// are dealt with while the text between actions is cut, as in Go.
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "cli/template_tree.h"

namespace onggi::cli::tmpl {

namespace {

constexpr std::string_view kSpaces = " \t\r\n";

struct Token {
  enum class Kind : uint8_t { kField, kDot, kVariable, kWord, kString, kNumber, kSymbol, kEnd };
  Kind kind = Kind::kEnd;
  std::string text;     // field without its dot; string without quotes; symbol: "|", "(", ")", ",", ":=", "="
  bool spaced = false;  // white space before it
  size_t at = 0, end = 0;
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// The tokens of one action, from behind "{{" to its "}}".
class Lexer {
 public:
  Lexer(std::string_view text, size_t at) : text_(text), at_(at) {}

  Result<std::vector<Token>> run() {
    std::vector<Token> tokens;
    for (;;) {
      Token t;
      t.spaced = skip_spaces();
      t.at = at_;
      if (at_end()) {
        t.end = at_;
        tokens.push_back(std::move(t));
        return tokens;
      }
      if (at_ >= text_.size()) return error("unclosed action: }} is missing");
      TRY_VOID(one(t));
      t.end = at_;
      tokens.push_back(std::move(t));
    }
  }
  // After run(): behind "}}", and whether it trims what follows.
  [[nodiscard]] size_t after() const { return at_ + (trims_ ? 3 : 2); }
  [[nodiscard]] bool trims() const { return trims_; }

 private:
  std::unexpected<Error> error(const std::string& reason) const {
    return fail(template_error(text_, at_, reason));
  }
  [[nodiscard]] char peek(size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  bool skip_spaces() {
    size_t begin = at_;
    while (at_ < text_.size() && kSpaces.find(text_[at_]) != std::string_view::npos) at_++;
    return at_ > begin;
  }
  bool at_end() {
    bool before = at_ > 0 && kSpaces.find(text_[at_ - 1]) != std::string_view::npos;
    trims_ = before && text_.substr(at_).starts_with("-}}");
    return trims_ || text_.substr(at_).starts_with("}}");
  }
  std::string name() {
    size_t begin = at_;
    while (is_letter(peek()) || is_digit(peek())) at_++;
    return std::string(text_.substr(begin, at_ - begin));
  }

  Result<> one(Token& t) {
    char c = peek();
    if (c == '.' && is_letter(peek(1))) {
      at_++;
      t.kind = Token::Kind::kField;
      t.text = name();
    } else if (c == '.' && !is_digit(peek(1))) {
      at_++;
      t.kind = Token::Kind::kDot;
    } else if (c == '$') {
      at_++;
      t.kind = Token::Kind::kVariable;
      t.text = "$" + name();
    } else if (c == '"' || c == '`') {
      t.kind = Token::Kind::kString;
      return c == '"' ? quoted(t.text) : raw(t.text);
    } else if (c == '\'') {
      return character(t);
    } else if (is_digit(c) || ((c == '-' || c == '+' || c == '.') && (is_digit(peek(1)) || peek(1) == '.'))) {
      size_t begin = at_++;
      while (is_letter(peek()) || is_digit(peek()) || peek() == '.' ||
             ((peek() == '-' || peek() == '+') && (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E')))
        at_++;
      t.kind = Token::Kind::kNumber;
      t.text = std::string(text_.substr(begin, at_ - begin));
    } else if (is_letter(c)) {
      t.kind = Token::Kind::kWord;
      t.text = name();
    } else {
      t.kind = Token::Kind::kSymbol;
      t.text = text_.substr(at_).starts_with(":=") ? ":=" : std::string(1, c);
      if (t.text.size() == 1 && !strchr("|(),=", c))
        return error("unexpected character '" + t.text + "' in an action");
      at_ += t.text.size();
    }
    return {};
  }

  // A backslash and what follows it, as Go's string literals have it.
  Result<> escape(std::string& out) {
    static constexpr std::string_view kFrom = "abfnrtv\\\"'", kTo = "\a\b\f\n\r\t\v\\\"'";
    char c = peek();
    if (size_t n = kFrom.find(c); c && n != std::string_view::npos) {
      out += kTo[n];
      at_++;
      return {};
    }
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : is_digit(c) ? 3 : 0;
    if (!digits) return error("unknown escape in a string");
    size_t begin = at_ + (is_digit(c) ? 0 : 1);
    if (begin + digits > text_.size()) return error("unknown escape in a string");
    std::string_view number = text_.substr(begin, digits);
    uint32_t value = 0;
    auto [end, code] = std::from_chars(number.data(), number.data() + digits, value, is_digit(c) ? 8 : 16);
    if (code != std::errc() || end != number.data() + digits || value > 0x10ffff)
      return error("unknown escape in a string");
    at_ = begin + digits;
    if (c == 'u' || c == 'U')
      append_utf8(out, value);
    else
      out += static_cast<char>(value);
    return {};
  }

  Result<> quoted(std::string& out) {
    at_++;
    for (;;) {
      if (at_ >= text_.size()) return error("unterminated quoted string");
      char c = text_[at_++];
      if (c == '"') return {};
      if (c == '\\')
        TRY_VOID(escape(out));
      else
        out += c;
    }
  }
  Result<> raw(std::string& out) {
    size_t end = text_.find('`', at_ + 1);
    if (end == std::string_view::npos) return error("unterminated raw quoted string");
    out = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return {};
  }
  // 'a' is a number to Go.
  Result<> character(Token& t) {
    at_++;
    std::string out;
    if (peek() == '\\') {
      at_++;
      TRY_VOID(escape(out));
    } else {
      out = std::string(1, peek());
      at_++;
    }
    if (peek() != '\'') return error("unterminated character constant");
    at_++;
    t.kind = Token::Kind::kNumber;
    t.text = std::to_string(static_cast<unsigned char>(out[0]));
    return {};
  }

  std::string_view text_;
  size_t at_;
  bool trims_ = false;
};

// The tokens of one action -> pipelines.
class ActionParser {
 public:
  ActionParser(std::string_view text, const std::vector<Token>& tokens, size_t next)
      : text_(text), tokens_(tokens), next_(next) {}

  Result<Pipe> whole_pipe(size_t depth) {
    Pipe pipe = TRY(parse(depth));
    if (token().kind != Token::Kind::kEnd) return error("unexpected " + quoted_token() + " in a command");
    return pipe;
  }

 private:
  [[nodiscard]] const Token& token(size_t ahead = 0) const {
    return tokens_[std::min(next_ + ahead, tokens_.size() - 1)];
  }
  [[nodiscard]] bool symbol(std::string_view s, size_t ahead = 0) const {
    return token(ahead).kind == Token::Kind::kSymbol && token(ahead).text == s;
  }
  [[nodiscard]] std::string quoted_token() const {
    return token().kind == Token::Kind::kEnd
               ? "}}"
               : "'" + std::string(text_.substr(token().at, token().end - token().at)) + "'";
  }
  [[nodiscard]] std::unexpected<Error> error(const std::string& reason) const {
    return fail(template_error(text_, token().at, reason));
  }

  // "$x :=", "$k, $v :=", "$x =" before the commands.
  void declarations(Pipe& pipe) {
    size_t count = token().kind != Token::Kind::kVariable                      ? 0
                   : symbol(",", 1) && token(2).kind == Token::Kind::kVariable ? 2
                                                                               : 1;
    size_t sign = count == 2 ? 3 : 1;
    if (!count || !(symbol(":=", sign) || symbol("=", sign))) return;
    pipe.declares = symbol(":=", sign);
    for (size_t n = 0; n < count; n++) pipe.variables.push_back(token(2 * n).text);
    next_ += sign + 1;
  }

  Result<Pipe> parse(size_t depth) {
    if (depth > kMaxDepth) return error("too many parentheses and blocks in each other");
    Pipe pipe;
    pipe.at = token().at;
    declarations(pipe);
    for (;;) {
      Command command;
      while (token().kind != Token::Kind::kEnd && !symbol("|") && !symbol(")"))
        command.words.push_back(TRY(operand(depth)));
      if (command.words.empty()) return error("a value is missing before " + quoted_token());
      if (!pipe.commands.empty() && command.words[0].kind != Operand::Kind::kFunction &&
          command.words[0].fields.empty())
        return error("only a function can follow '|'");
      pipe.commands.push_back(std::move(command));
      if (!symbol("|")) return pipe;
      next_++;
    }
  }

  // ".A.B" behind an operand, without a space between.
  void fields(Operand& o) {
    while (token().kind == Token::Kind::kField && !token().spaced) {
      o.end = token().end;
      o.fields.push_back(tokens_[next_++].text);
    }
  }

  Result<> number(Operand& o, const std::string& given) {
    std::string text;
    for (char c : given)
      if (c != '_') text += c;
    bool negative = text[0] == '-';
    std::string_view digits = text;
    if (negative || text[0] == '+') digits.remove_prefix(1);
    int base = digits.starts_with("0x")   ? 16
               : digits.starts_with("0b") ? 2
               : digits.starts_with("0o") ? 8
                                          : 10;
    if (base != 10) digits.remove_prefix(2);
    o.kind = Operand::Kind::kInt;
    auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), o.integer, base);
    if (code == std::errc() && end == digits.data() + digits.size() && !digits.starts_with("-")) {
      if (negative) o.integer = -o.integer;
      return {};
    }
    o.kind = Operand::Kind::kFloat;
    char* stop = nullptr;
    const std::string plain(digits);
    o.number = ::strtod(plain.c_str(), &stop);
    if (base != 10 || *stop || plain.find_first_not_of("0123456789.eE+-") != std::string::npos)
      return error("bad number '" + given + "'");
    if (negative) o.number = -o.number;
    return {};
  }

  Result<Operand> operand(size_t depth) {
    Operand o;
    const Token& t = token();
    o.at = t.at;
    o.end = t.end;
    switch (t.kind) {
      case Token::Kind::kField:
        o.fields.push_back(t.text);
        break;
      case Token::Kind::kDot:
        break;
      case Token::Kind::kVariable:
        o.kind = Operand::Kind::kVariable, o.text = t.text;
        break;
      case Token::Kind::kString:
        o.kind = Operand::Kind::kString, o.text = t.text;
        break;
      case Token::Kind::kNumber:
        TRY_VOID(number(o, t.text));
        break;
      case Token::Kind::kWord:
        o.kind = t.text == "true" || t.text == "false" ? Operand::Kind::kBool
                 : t.text == "nil"                     ? Operand::Kind::kNil
                                                       : Operand::Kind::kFunction;
        o.boolean = t.text == "true";
        o.text = t.text;
        break;
      default:
        if (!symbol("(")) return error("unexpected " + quoted_token());
        next_++;
        o.kind = Operand::Kind::kPipe;
        o.pipe = std::make_unique<Pipe>(TRY(parse(depth + 1)));
        if (!symbol(")")) return error("unclosed left paren: ')' is missing before " + quoted_token());
        o.end = token().end;
    }
    next_++;
    if (o.kind == Operand::Kind::kDot || o.kind == Operand::Kind::kVariable || o.kind == Operand::Kind::kPipe)
      fields(o);
    if (token().kind != Token::Kind::kEnd && !token().spaced && token().kind != Token::Kind::kSymbol)
      return error("unexpected " + quoted_token() + ": a space is missing");
    return o;
  }

  std::string_view text_;
  const std::vector<Token>& tokens_;
  size_t next_;
};

// Blocks.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<std::vector<Node>> run() {
    auto nodes = TRY(list(0));
    if (stop_ != Stop::kText)
      return fail(template_error(text_, at_,
                                 std::string("unexpected {{") + (stop_ == Stop::kEnd ? "end" : "else") +
                                     "}}: no if, with or range is open"));
    return nodes;
  }

 private:
  enum class Stop : uint8_t { kText, kEnd, kElse };

  void trim_left(std::string& s) { s.erase(0, std::min(s.find_first_not_of(kSpaces), s.size())); }

  // The text up to the next action; at_ is then behind its "{{" and trim mark. False at the end.
  bool text_before_action(std::vector<Node>& nodes) {
    size_t open = text_.find("{{", at_);
    std::string piece(text_.substr(at_, open == std::string_view::npos ? open : open - at_));
    if (trim_next_) trim_left(piece);
    trim_next_ = false;
    bool trims = open != std::string_view::npos && text_.substr(open + 2).starts_with("-") &&
                 open + 3 < text_.size() && kSpaces.find(text_[open + 3]) != std::string_view::npos;
    if (trims) piece.erase(piece.find_last_not_of(kSpaces) + 1);
    if (!piece.empty()) {
      Node node;
      node.text = std::move(piece);
      node.at = at_;
      nodes.push_back(std::move(node));
    }
    if (open == std::string_view::npos) return false;
    at_ = open + 2 + (trims ? 1 : 0);
    return true;
  }

  // "/* ... */" fills an action. False when this is none.
  Result<bool> comment() {
    size_t begin = text_.find_first_not_of(kSpaces, at_);
    if (begin == std::string_view::npos || !text_.substr(begin).starts_with("/*")) return false;
    size_t end = text_.find("*/", begin + 2);
    if (end == std::string_view::npos) return fail(template_error(text_, begin, "unclosed comment"));
    size_t close = text_.find_first_not_of(kSpaces, end + 2);
    std::string_view rest = close == std::string_view::npos ? "" : text_.substr(close);
    trim_next_ = close != end + 2 && rest.starts_with("-}}");
    if (!trim_next_ && !rest.starts_with("}}"))
      return fail(template_error(text_, begin, "comment ends before closing delimiter"));
    at_ = close + (trim_next_ ? 3 : 2);
    return true;
  }

  Result<std::vector<Node>> list(size_t depth) {
    if (depth > kMaxDepth) return fail(template_error(text_, at_, "too many blocks in each other"));
    std::vector<Node> nodes;
    while (text_before_action(nodes)) {
      if (TRY(comment())) continue;
      size_t begin = at_;
      Lexer lexer(text_, at_);
      auto tokens = TRY(lexer.run());
      at_ = lexer.after();
      trim_next_ = lexer.trims();
      std::string word = tokens[0].kind == Token::Kind::kWord ? tokens[0].text : "";
      if (word == "end" || word == "else") {
        stop_ = word == "end" ? Stop::kEnd : Stop::kElse;
        else_tokens_ = std::move(tokens);
        return nodes;
      }
      nodes.push_back(TRY(action(tokens, word, begin, depth)));
    }
    stop_ = Stop::kText;
    return nodes;
  }

  Result<Node> action(const std::vector<Token>& tokens, const std::string& word, size_t begin, size_t depth) {
    Node node;
    node.at = begin;
    if (word == "if" || word == "with" || word == "range") {
      node.kind = word == "if" ? Node::Kind::kIf : word == "with" ? Node::Kind::kWith : Node::Kind::kRange;
      loops_ += word == "range";
      TRY_VOID(block(node, tokens, 1, depth));
      loops_ -= word == "range";
      return node;
    }
    if (word == "break" || word == "continue") {
      if (!loops_) return fail(template_error(text_, begin, "{{" + word + "}} outside {{range}}"));
      node.kind = word == "break" ? Node::Kind::kBreak : Node::Kind::kContinue;
      if (tokens.size() != 2) return fail(template_error(text_, begin, "{{" + word + "}} takes nothing"));
      return node;
    }
    if (word == "define" || word == "template" || word == "block")
      return fail(template_error(text_, begin,
                                 "{{" + word +
                                     "}} is not supported: named templates do not fit "
                                     "on a command line"));
    node.kind = Node::Kind::kPrint;
    node.pipe = TRY(ActionParser(text_, tokens, 0).whole_pipe(depth));
    return node;
  }

  // The pipeline, the body, and what follows {{else}}; "{{else if}}" is an if in the else part.
  Result<> block(Node& node, const std::vector<Token>& tokens, size_t next, size_t depth) {
    node.pipe = TRY(ActionParser(text_, tokens, next).whole_pipe(depth));
    if (node.pipe.variables.size() == 2 && node.kind != Node::Kind::kRange)
      return fail(template_error(text_, node.at, "two variables are for range only"));
    node.body = TRY(list(depth + 1));
    if (stop_ == Stop::kElse) {
      std::vector<Token> after = std::move(else_tokens_);
      const Token& t = after[1];
      if (t.kind == Token::Kind::kEnd) {
        node.otherwise = TRY(list(depth + 1));
      } else if (t.kind == Token::Kind::kWord && (t.text == "if" || t.text == "with")) {
        Node inner;
        inner.kind = t.text == "if" ? Node::Kind::kIf : Node::Kind::kWith;
        inner.at = t.at;
        if (depth + 1 > kMaxDepth) return fail(template_error(text_, t.at, "too many blocks in each other"));
        TRY_VOID(block(inner, after, 2, depth + 1));
        node.otherwise.push_back(std::move(inner));
        return {};  // its {{end}} is this one's, too
      } else {
        return fail(template_error(text_, t.at, "expected end or if after else"));
      }
    }
    if (stop_ == Stop::kElse) return fail(template_error(text_, node.at, "a second {{else}}"));
    if (stop_ != Stop::kEnd)
      return fail(template_error(text_, node.at, "unexpected end of the template: {{end}} is missing"));
    return {};
  }

  std::string_view text_;
  size_t at_ = 0;
  bool trim_next_ = false;
  int loops_ = 0;
  Stop stop_ = Stop::kText;
  std::vector<Token> else_tokens_;
};

}  // namespace

Error template_error(std::string_view text, size_t at, const std::string& reason) {
  at = std::min(at, text.size());
  std::string_view before = text.substr(0, at);
  size_t line = 1;
  for (char c : before) line += c == '\n';
  size_t column = at - (before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1) + 1;
  return Error::invalid("template:" + std::to_string(line) + ":" + std::to_string(column) + ": " + reason);
}

Result<std::vector<Node>> parse_template(std::string_view text) {
  if (text.size() > kMaxText) return fail(Error::invalid("template: over a mebibyte long"));
  return Parser(text).run();
}

}  // namespace onggi::cli::tmpl
