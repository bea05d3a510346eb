#include "stack/yaml.h"

#include <yaml.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <memory>

namespace onggi::stack {

namespace {

bool all_of(std::string_view text, const char* set) {
  return !text.empty() && text.find_first_not_of(set) == std::string_view::npos;
}

bool is_integer(std::string_view t) {
  if (!t.empty() && (t[0] == '-' || t[0] == '+')) t.remove_prefix(1);
  if (t.starts_with("0x")) return all_of(t.substr(2), "0123456789abcdefABCDEF");
  if (t.starts_with("0o")) return all_of(t.substr(2), "01234567");
  if (t.starts_with("0b")) return all_of(t.substr(2), "01");
  return all_of(t, "0123456789");
}

bool is_float(std::string_view t) {
  if (!t.empty() && (t[0] == '-' || t[0] == '+')) t.remove_prefix(1);
  for (const char* special : {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"})
    if (t == special) return true;
  size_t i = 0, digits = 0;
  auto take = [&] {
    for (; i < t.size() && ::isdigit(static_cast<unsigned char>(t[i])); i++) digits++;
  };
  take();
  if (i < t.size() && t[i] == '.') i++, take();
  if (!digits) return false;
  if (i < t.size() && (t[i] == 'e' || t[i] == 'E')) {
    i++;
    if (i < t.size() && (t[i] == '-' || t[i] == '+')) i++;
    size_t before = digits;
    take();
    if (digits == before) return false;
  }
  return i == t.size();
}

// A reader over the events of one document.
class Reader {
 public:
  Reader(std::string_view text, std::string_view name) : file_(intern_file(name)) {
    ready_ = yaml_parser_initialize(&parser_) != 0;
    if (ready_)
      yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()),
                                   text.size());
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    drop();
    if (ready_) yaml_parser_delete(&parser_);
  }

  Result<Node> document() {
    if (!ready_) return fail(Error::internal("start the YAML parser: out of memory"));
    TRY_VOID(next());  // the stream's start
    TRY_VOID(next());
    if (event_.type == YAML_STREAM_END_EVENT) return Node{};
    TRY_VOID(next());
    Node root = TRY(value(0));
    TRY_VOID(next());  // the document's end
    TRY_VOID(next());
    if (event_.type != YAML_STREAM_END_EVENT)
      return fail(error_at(
          here(), "several YAML documents in one file; give them as files of their own (-f a -f b)"));
    return root;
  }

 private:
  struct Anchor {
    Node node;
    size_t nodes = 0;
    bool open = true;  // still being read: an alias of it would contain itself
  };

  void drop() {
    if (have_) yaml_event_delete(&event_);
    have_ = false;
  }
  [[nodiscard]] Mark at(const yaml_mark_t& m) const {
    return {file_, static_cast<uint32_t>(m.line + 1), static_cast<uint32_t>(m.column + 1)};
  }
  [[nodiscard]] Mark here() const { return at(event_.start_mark); }

  Result<> next() {
    drop();
    if (yaml_parser_parse(&parser_, &event_)) {
      have_ = true;
      return {};
    }
    std::string text = parser_.problem ? parser_.problem : "syntax error";
    if (parser_.context) text += std::string(" ") + parser_.context;
    Mark mark = at(parser_.problem_mark);
    return fail(error_at(mark, "YAML: " + text));
  }

  Result<> count(size_t nodes) {
    used_ += nodes;
    if (used_ <= kYamlMaxNodes) return {};
    return fail(error_at(
        here(),
        "too large: more than " + std::to_string(kYamlMaxNodes) +
            " values once aliases are copied (is this an anchor that contains itself many times over?)"));
  }

  Result<Node::Tag> tag_of(const unsigned char* tag, Node::Kind& kind, bool scalar) {
    if (!tag) return Node::Tag::kNone;
    std::string_view t = reinterpret_cast<const char*>(tag);
    if (t == "!reset") return Node::Tag::kReset;
    if (t == "!override") return Node::Tag::kOverride;
    constexpr std::string_view kCore = "tag:yaml.org,2002:";
    std::string_view name = t.starts_with(kCore) ? t.substr(kCore.size()) : std::string_view();
    if (scalar && (name == "str" || t == "!"))
      kind = Node::Kind::kString;
    else if (scalar && name == "int")
      kind = Node::Kind::kInt;
    else if (scalar && name == "float")
      kind = Node::Kind::kFloat;
    else if (scalar && name == "bool")
      kind = Node::Kind::kBool;
    else if (scalar && name == "null")
      kind = Node::Kind::kNull;
    else if (scalar || (name != "map" && name != "seq" && t != "!"))
      return fail(
          error_at(here(), "the tag '" + std::string(t) + "' means nothing here (known: !reset, !override)"));
    return Node::Tag::kNone;
  }

  Result<Node> scalar() {
    const auto& s = event_.data.scalar;
    Node n;
    n.mark = here();
    n.text.assign(reinterpret_cast<const char*>(s.value), s.length);
    if (n.text.find('\0') != std::string::npos) return fail(error_at(n.mark, "a NUL character in a value"));
    n.kind = s.style == YAML_PLAIN_SCALAR_STYLE ? plain_kind(n.text) : Node::Kind::kString;
    n.tag = TRY(tag_of(s.tag, n.kind, true));
    if (n.kind == Node::Kind::kBool) n.text = n.text[0] == 't' || n.text[0] == 'T' ? "true" : "false";
    if (n.kind == Node::Kind::kNull) n.text.clear();
    return n;
  }

  Result<Node> value(size_t depth) {
    if (depth > kYamlMaxDepth)
      return fail(error_at(here(), "nested deeper than " + std::to_string(kYamlMaxDepth) + " levels"));
    TRY_VOID(count(1));
    const unsigned char* anchor = nullptr;
    switch (event_.type) {
      case YAML_ALIAS_EVENT:
        return alias();
      case YAML_SCALAR_EVENT:
        anchor = event_.data.scalar.anchor;
        break;
      case YAML_SEQUENCE_START_EVENT:
        anchor = event_.data.sequence_start.anchor;
        break;
      case YAML_MAPPING_START_EVENT:
        anchor = event_.data.mapping_start.anchor;
        break;
      default:
        return fail(error_at(here(), "a value is missing"));
    }
    std::string name = anchor ? reinterpret_cast<const char*>(anchor) : "";
    if (anchor) anchors_[name] = Anchor{};
    Node n = event_.type == YAML_SCALAR_EVENT           ? TRY(scalar())
             : event_.type == YAML_SEQUENCE_START_EVENT ? TRY(sequence(depth))
                                                        : TRY(mapping(depth));
    if (!name.empty()) {
      size_t nodes = nodes_of(n);
      TRY_VOID(count(nodes));  // the copy that is kept
      anchors_[name] = {n, nodes, false};
    }
    return n;
  }

  Result<Node> alias() {
    std::string name = reinterpret_cast<const char*>(event_.data.alias.anchor);
    auto found = anchors_.find(name);
    if (found == anchors_.end())
      return fail(error_at(here(), "the alias *" + name + " has no anchor before it"));
    if (found->second.open)
      return fail(error_at(here(), "the alias *" + name + " stands inside its own anchor"));
    TRY_VOID(count(found->second.nodes));
    if (depth_of(found->second.node) > kYamlMaxDepth)
      return fail(error_at(here(), "nested deeper than " + std::to_string(kYamlMaxDepth) + " levels"));
    return found->second.node;
  }

  static size_t nodes_of(const Node& n) {
    size_t all = 1;
    for (const auto& item : n.items) all += nodes_of(item);
    return all;
  }
  static size_t depth_of(const Node& n) {
    size_t most = 0;
    for (const auto& item : n.items) most = std::max(most, depth_of(item) + 1);
    return most;
  }

  Result<Node> sequence(size_t depth) {
    Node n = Node::list(here());
    Node::Kind ignored{};
    n.tag = TRY(tag_of(event_.data.sequence_start.tag, ignored, false));
    for (;;) {
      TRY_VOID(next());
      if (event_.type == YAML_SEQUENCE_END_EVENT) return n;
      n.items.push_back(TRY(value(depth + 1)));
    }
  }

  Result<Node> mapping(size_t depth) {
    Node n = Node::map(here());
    Node::Kind ignored{};
    n.tag = TRY(tag_of(event_.data.mapping_start.tag, ignored, false));
    std::vector<Node> merges;
    for (;;) {
      TRY_VOID(next());
      if (event_.type == YAML_MAPPING_END_EVENT) break;
      Mark key_mark = here();
      if (event_.type != YAML_SCALAR_EVENT) return fail(error_at(key_mark, "a key must be a plain word"));
      TRY_VOID(count(1));
      bool merge = event_.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
      std::string key = TRY(scalar()).text;
      merge = merge && key == "<<";
      TRY_VOID(next());
      Node item = TRY(value(depth + 1));
      item.key = key;
      item.key_mark = key_mark;
      if (merge) {
        TRY_VOID(collect_merge(std::move(item), merges));
        continue;
      }
      if (const Node* old = n.find(key))
        return fail(error_at(key_mark, "the key '" + key + "' stands here a second time (first at line " +
                                           std::to_string(old->key_mark.line) + ")"));
      n.items.push_back(std::move(item));
    }
    // What the mapping says itself wins over what it merges; of several merged the first wins.
    for (auto& source : merges)
      for (auto& item : source.items)
        if (!n.find(item.key)) n.items.push_back(item);
    return n;
  }

  Result<> collect_merge(Node item, std::vector<Node>& merges) {
    Mark mark = item.key_mark;
    auto one = [&](Node&& m) -> Result<> {
      if (!m.is_map()) return fail(error_at(mark, "'<<' merges a mapping, or a list of mappings"));
      merges.push_back(std::move(m));
      return {};
    };
    if (!item.is_list()) return one(std::move(item));
    for (auto& part : item.items) TRY_VOID(one(std::move(part)));
    return {};
  }

  const std::string* file_;
  yaml_parser_t parser_{};
  yaml_event_t event_{};
  bool ready_ = false, have_ = false;
  size_t used_ = 0;
  std::map<std::string, Anchor, std::less<>> anchors_;
};

}  // namespace

Node::Kind plain_kind(std::string_view t) {
  for (const char* null : {"", "~", "null", "Null", "NULL"})
    if (t == null) return Node::Kind::kNull;
  for (const char* boolean : {"true", "True", "TRUE", "false", "False", "FALSE"})
    if (t == boolean) return Node::Kind::kBool;
  if (is_integer(t)) return Node::Kind::kInt;
  return is_float(t) ? Node::Kind::kFloat : Node::Kind::kString;
}

Result<Node> parse_yaml(std::string_view text, std::string_view name) {
  if (text.size() > kYamlMaxBytes)
    return fail(
        Error::invalid(std::string(name) + ": larger than " + std::to_string(kYamlMaxBytes >> 20) + " MiB"));
  return Reader(text, name).document();
}

}  // namespace onggi::stack
