#include "stack/node.h"

#include <algorithm>
#include <cstdlib>
#include <set>

namespace onggi::stack {

const std::string* intern_file(std::string_view name) {
  static std::set<std::string, std::less<>> names;
  return &*names.emplace(name).first;
}

Node Node::string(std::string text, Mark mark) {
  Node n;
  n.kind = Kind::kString;
  n.text = std::move(text);
  n.mark = mark;
  return n;
}
Node Node::boolean(bool value, Mark mark) {
  Node n = string(value ? "true" : "false", mark);
  n.kind = Kind::kBool;
  return n;
}
Node Node::integer(int64_t value, Mark mark) {
  Node n = string(std::to_string(value), mark);
  n.kind = Kind::kInt;
  return n;
}
Node Node::map(Mark mark) {
  Node n;
  n.kind = Kind::kMap;
  n.mark = mark;
  return n;
}
Node Node::list(Mark mark) {
  Node n;
  n.kind = Kind::kList;
  n.mark = mark;
  return n;
}

const Node* Node::find(std::string_view name) const {
  if (kind != Kind::kMap) return nullptr;
  for (const auto& item : items)
    if (item.key == name) return &item;
  return nullptr;
}
Node* Node::find(std::string_view name) { return const_cast<Node*>(std::as_const(*this).find(name)); }

const Node* Node::get(std::string_view name) const {
  const Node* found = find(name);
  return found && !found->is_null() ? found : nullptr;
}

std::string Node::text_of(std::string_view name, std::string_view otherwise) const {
  const Node* found = get(name);
  return found && found->is_scalar() ? found->text : std::string(otherwise);
}

bool Node::flag(std::string_view name, bool otherwise) const {
  const Node* found = get(name);
  return found ? found->text == "true" : otherwise;
}

int64_t Node::integer_of(std::string_view name, int64_t otherwise) const {
  const Node* found = get(name);
  return found ? ::strtoll(found->text.c_str(), nullptr, 0) : otherwise;
}

Node& Node::set(std::string_view name, Node value) {
  Node* old = find(name);
  if (!old) {
    value.key = name;
    if (!value.key_mark.file) value.key_mark = value.mark;
    return items.emplace_back(std::move(value));
  }
  value.key = old->key;
  value.key_mark = old->key_mark;
  *old = std::move(value);
  return *old;
}

void Node::erase(std::string_view name) {
  std::erase_if(items, [&](const Node& item) { return item.key == name; });
}

std::string place(const Mark& mark) {
  if (!mark.file) return {};
  std::string text = *mark.file;
  if (mark.line) text += ":" + std::to_string(mark.line) + ":" + std::to_string(mark.column);
  return text;
}

Error error_at(const Mark& mark, std::string_view text, ErrorKind kind) {
  std::string where = place(mark);
  return {kind, where.empty() ? std::string(text) : where + ": " + std::string(text)};
}

bool same_value(const Node& a, const Node& b) {
  if (a.kind != b.kind || a.text != b.text || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); i++) {
    if (a.is_list()) {
      if (!same_value(a.items[i], b.items[i])) return false;
      continue;
    }
    const Node* other = b.find(a.items[i].key);
    if (!other || !same_value(a.items[i], *other)) return false;
  }
  return true;
}

}  // namespace onggi::stack
