#include "stack/merge.h"

#include <string>
#include <vector>

namespace onggi::stack {

namespace {

using Path = std::vector<std::string_view>;

bool at(const Path& path, std::initializer_list<std::string_view> wanted) {
  if (path.size() != wanted.size()) return false;
  size_t i = 0;
  for (auto part : wanted) {
    if (part != "*" && part != path[i]) return false;
    i++;
  }
  return true;
}

// The key by which an element of this list replaces another; empty: elements are appended, equal scalars
// once.
std::string unique_key(const Path& path, const Node& item) {
  if (path.size() != 3 || path[0] != "services") return {};
  std::string_view field = path[2];
  if (field == "volumes" || field == "devices") return item.text_of("target");
  if (field == "configs" || field == "secrets") return item.text_of("target", "/" + item.text_of("source"));
  if (field == "ports")
    return item.text_of("host_ip", "0.0.0.0") + ":" + item.text_of("published") + ":" +
           item.text_of("target") + "/" + item.text_of("protocol");
  if (field == "env_file") return item.text_of("path");
  return {};
}

void append(Node& base, Node over, const Path& path) {
  for (auto& item : over.items) {
    std::string key = unique_key(path, item);
    bool placed = false;
    for (auto& old : base.items) {
      bool same = key.empty() ? old.is_scalar() && item.is_scalar() && old.text == item.text
                              : unique_key(path, old) == key;
      if (!same || placed) continue;
      old = item;
      placed = true;
    }
    if (!placed) base.items.push_back(std::move(item));
  }
}

bool replaced_whole(const Path& path, const Node& base, const Node& over) {
  if (at(path, {"services", "*", "command"}) || at(path, {"services", "*", "entrypoint"})) return true;
  if (at(path, {"services", "*", "healthcheck", "test"})) return true;
  if (at(path, {"services", "*", "ulimits", "*"})) return !(base.is_map() && over.is_map());
  if (at(path, {"services", "*", "logging"})) {
    // Options belong to a driver.
    const Node *a = base.get("driver"), *b = over.get("driver");
    return a && b && a->text != b->text;
  }
  return !path.empty() && path.back().starts_with("x-");
}

Result<> merge(Node& base, Node over, Path& path);

Result<> merge_maps(Node& base, Node over, Path& path) {
  for (auto& item : over.items) {
    if (item.tag == Node::Tag::kReset) {
      base.erase(item.key);
      continue;
    }
    Node* old = base.find(item.key);
    if (!old || item.tag == Node::Tag::kOverride) {
      apply_tags(item);
      std::string key = item.key;
      base.set(key, std::move(item));
      continue;
    }
    path.push_back(old->key);
    TRY_VOID(merge(*old, std::move(item), path));
    path.pop_back();
  }
  return {};
}

Result<> merge(Node& base, Node over, Path& path) {
  if (base.is_null() || replaced_whole(path, base, over)) {
    apply_tags(over);
    over.key = base.key;
    base = std::move(over);
    return {};
  }
  if (over.is_null() && !base.is_scalar()) return {};  // `service:` with nothing below changes nothing
  if (base.is_map() && over.is_map()) return merge_maps(base, std::move(over), path);
  if (base.is_list() && over.is_list()) {
    append(base, std::move(over), path);
    return {};
  }
  if (base.is_scalar() && over.is_scalar()) {
    over.key = base.key;
    base = std::move(over);
    return {};
  }
  std::string name;
  for (auto part : path) name += (name.empty() ? "" : ".") + std::string(part);
  return fail(error_at(over.mark, name + " cannot replace what " + place(base.mark) +
                                      " says: one is a list, mapping or single value, the other is not"));
}

}  // namespace

Result<> merge_files(Node& base, Node over) {
  Path path;
  if (base.is_null()) base = Node::map(over.mark);
  if (over.is_null()) return {};
  return merge(base, std::move(over), path);
}

Result<> merge_service(Node& base, Node over) {
  Path path = {"services", "*"};
  return merge(base, std::move(over), path);
}

void apply_tags(Node& node) {
  node.tag = Node::Tag::kNone;
  std::erase_if(node.items, [](const Node& item) { return item.tag == Node::Tag::kReset; });
  for (auto& item : node.items) apply_tags(item);
}

}  // namespace onggi::stack
