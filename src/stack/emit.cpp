#include "stack/emit.h"

#include <algorithm>
#include <cstdlib>

#include "base/json.h"
#include "stack/schema.h"
#include "stack/yaml.h"

namespace onggi::stack {

namespace {

std::string escaped(const std::string& text, const EmitOptions& options) {
  if (!options.escape_dollars) return text;
  std::string out;
  for (char c : text) out += c == '$' ? "$$" : std::string(1, c);
  return out;
}

void json(JsonWriter& w, const Node& n, const EmitOptions& options, bool sorted) {
  switch (n.kind) {
    case Node::Kind::kNull:
      return w.null();
    case Node::Kind::kBool:
      return w.boolean(n.text == "true");
    case Node::Kind::kInt:
    case Node::Kind::kFloat: {
      std::string text = n.kind == Node::Kind::kInt ? n.text : number_text(n.text);
      bool plain = !text.empty() && text.find_first_not_of("0123456789.-e+") == std::string::npos &&
                   text[0] != '+' && text[0] != '.';
      if (text.starts_with("0x")) return w.number(::strtoll(text.c_str(), nullptr, 16));
      return plain ? w.raw(text) : w.string(text);
    }
    case Node::Kind::kString:
      return w.string(escaped(n.text, options));
    case Node::Kind::kList:
      w.begin_array();
      for (const auto& item : n.items) json(w, item, options, sorted);
      return w.end_array();
    case Node::Kind::kMap:
      break;
  }
  std::vector<const Node*> members;
  for (const auto& item : n.items) members.push_back(&item);
  if (sorted) std::sort(members.begin(), members.end(), [](auto* a, auto* b) { return a->key < b->key; });
  w.begin_object();
  for (const auto* item : members) {
    w.key(item->key);
    json(w, *item, options, sorted);
  }
  w.end_object();
}

bool needs_quotes(const std::string& t) {
  if (plain_kind(t) != Node::Kind::kString) return true;
  for (const char* word : {"y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off",
                           "Off", "OFF", "<<", "="})
    if (t == word) return true;
  if (std::string_view("-?:,[]{}#&*!|>'\"%@` ").find(t[0]) != std::string_view::npos || t.back() == ' ' ||
      t.back() == ':') {
    bool dash =
        t[0] == '-' && t.size() > 1 && t[1] != ' ' && t[1] != '-' && t.back() != ' ' && t.back() != ':';
    if (!dash) return true;
  }
  if (t.find(": ") != std::string::npos || t.find(" #") != std::string::npos) return true;
  // Dates, and numbers in base 60 of YAML 1.1, read as something else elsewhere.
  bool digits = t.find_first_not_of("0123456789:.-+_eExXTZ ") == std::string::npos;
  return digits || std::any_of(t.begin(), t.end(), [](unsigned char c) { return c < 32 || c == 127; });
}

std::string quoted(const std::string& t) {
  bool control = std::any_of(t.begin(), t.end(), [](unsigned char c) { return c < 32 || c == 127; });
  if (!control) {
    if (t.find('\'') != std::string::npos && t.find_first_of("\"\\") == std::string::npos)
      return "\"" + t + "\"";
    std::string out = "'";
    for (char c : t) out += c == '\'' ? "''" : std::string(1, c);
    return out + "'";
  }
  JsonWriter w;
  w.string(t);
  return w.take();
}

std::string scalar(const Node& n, const EmitOptions& options) {
  if (n.is_null()) return "null";
  if (n.kind == Node::Kind::kFloat) return number_text(n.text);
  if (!n.is_string()) return n.text;
  std::string text = escaped(n.text, options);
  return text.empty() ? "\"\"" : needs_quotes(text) ? quoted(text) : text;
}

// Text of several lines that ends with a line break reads best as it is.
bool as_block(const Node& n) {
  if (!n.is_string() || n.text.find('\n') == std::string::npos) return false;
  if (n.text[0] == ' ' || n.text[0] == '\n' || n.text[0] == '\t') return false;
  return std::none_of(n.text.begin(), n.text.end(), [](unsigned char c) {
    return (c < 32 && c != '\n' && c != '\t') || c == 127 || c == '\r';
  });
}

void block(std::string& out, const Node& n, size_t indent, const EmitOptions& options) {
  std::string text = escaped(n.text, options);
  size_t trailing = 0;
  while (trailing < text.size() && text[text.size() - 1 - trailing] == '\n') trailing++;
  out += trailing == 0 ? "|-\n" : trailing == 1 ? "|\n" : "|+\n";
  if (trailing) text.pop_back();
  for (size_t at = 0; at <= text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) out += std::string(indent, ' ') + text.substr(at, end - at);
    out += "\n";
    at = end + 1;
  }
}

void yaml(std::string& out, const Node& n, size_t indent, const EmitOptions& options);

void value(std::string& out, const Node& n, size_t indent, const EmitOptions& options) {
  if (as_block(n)) {
    out += " ";
    return block(out, n, indent, options);
  }
  if (n.is_scalar() || n.items.empty()) {
    out += " " + (n.is_map() ? "{}" : n.is_list() ? "[]" : scalar(n, options)) + "\n";
    return;
  }
  out += "\n";
  yaml(out, n, indent, options);
}

void yaml(std::string& out, const Node& n, size_t indent, const EmitOptions& options) {
  std::string pad(indent, ' ');
  for (const auto& item : n.items) {
    if (n.is_map()) {
      Node key = Node::string(item.key);
      out += pad + scalar(key, {}) + ":";
      value(out, item, indent + 2, options);
      continue;
    }
    if (item.is_scalar() || item.items.empty()) {
      out += pad + "-";
      value(out, item, indent + 2, options);
      continue;
    }
    std::string inner;
    yaml(inner, item, indent + 2, options);
    out += pad + "- " + inner.substr(indent + 2);
  }
}

}  // namespace

std::string to_yaml(const Node& node, const EmitOptions& options) {
  std::string out;
  if (node.is_scalar() || node.items.empty())
    return (node.is_map() ? "{}" : node.is_list() ? "[]" : scalar(node, options)) + "\n";
  yaml(out, node, 0, options);
  return out;
}

std::string to_json(const Node& node, std::string_view indent, const EmitOptions& options) {
  JsonWriter w(indent);
  json(w, node, options, false);
  return w.take();
}

std::string to_canonical_json(const Node& node) {
  JsonWriter w;
  json(w, node, {}, true);
  return w.take();
}

}  // namespace onggi::stack
