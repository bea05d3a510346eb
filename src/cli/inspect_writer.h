// JSON as docker indents it, with the forms that its documents repeat.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/container_config.h"

namespace onggi::cli {

class Writer : public JsonWriter {
 public:
  Writer() : JsonWriter("    ") {}
  void object(std::string_view name) {
    key(name);
    begin_object();
  }
  void empty_object(std::string_view name) {
    object(name);
    end_object();
  }
  void null_member(std::string_view name) {
    key(name);
    null();
  }
  // docker prints null for a list that nobody set.
  void strings(std::string_view name, const std::vector<std::string>& values) {
    if (values.empty()) return null_member(name);
    member_strings(name, values);
  }
  void map(std::string_view name, const engine::StringMap& map) {
    object(name);
    for (const auto& [k, v] : map) member(k, v);
    end_object();
  }
  // {"80/tcp": {}}
  void set(std::string_view name, const std::vector<std::string>& keys) {
    object(name);
    for (const auto& k : keys) empty_object(k);
    end_object();
  }
};

}  // namespace onggi::cli
