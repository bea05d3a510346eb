#include "engine/changes.h"

#include <algorithm>
#include <cctype>

#include "base/file.h"
#include "base/json.h"

namespace onggi::engine {

namespace {

// Words by white space; quotes join, a backslash takes the next character as it is.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (c == '\\' && quote != '\'' && i + 1 < text.size()) {
      word += text[++i];
      inside = true;
    } else if (quote) {
      c == quote ? void(quote = 0) : void(word += c);
    } else if (c == '"' || c == '\'') {
      quote = c;
      inside = true;
    } else if (::isspace(static_cast<unsigned char>(c))) {
      if (inside) words.push_back(std::move(word));
      word.clear();
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  if (inside) words.push_back(std::move(word));
  return words;
}

// ["a","b"] as it stands; anything else is nullopt.
std::optional<std::vector<std::string>> json_words(std::string_view text) {
  auto document = JsonDocument::parse(text, "instruction");
  if (!document || document->root().kind() != JsonValue::Kind::kArray) return std::nullopt;
  std::vector<std::string> words;
  for (size_t n = 0; n < document->root().size(); n++) {
    JsonValue item = document->root().element(n);
    if (item.kind() != JsonValue::Kind::kString) return std::nullopt;
    words.emplace_back(item.string());
  }
  return words;
}

std::vector<std::string> command_words(const std::string& text) {
  if (auto words = json_words(text)) return *words;
  return {"/bin/sh", "-c", text};
}

void put(std::vector<std::string>& list, const std::string& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

// "A=1 B=2", or "A 1 and the rest".
Result<oci::StringMap> pairs_of(const std::string& instruction, const std::string& text) {
  auto words = words_of(text);
  if (words.empty()) return fail(Error::invalid(instruction + " must have two arguments"));
  oci::StringMap map;
  if (words[0].find('=') == std::string::npos) {
    size_t space = text.find_first_of(" \t");
    if (space == std::string::npos) return fail(Error::invalid(instruction + " must have two arguments"));
    map.push_back({words[0], std::string(trim(std::string_view(text).substr(space)))});
    return map;
  }
  for (const auto& word : words) {
    size_t equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      return fail(
          Error::invalid("Syntax error - can't find = in \"" + word + "\". Must be of the form: name=value"));
    map.push_back({word.substr(0, equals), word.substr(equals + 1)});
  }
  return map;
}

Result<> change_environment(const std::string& text, oci::ContainerDefaults& d) {
  for (const auto& [name, value] : TRY(pairs_of("ENV", text))) {
    std::erase_if(d.env, [&](const auto& old) { return old.substr(0, old.find('=')) == name; });
    d.env.push_back(name + "=" + value);
  }
  return {};
}

Result<> change_labels(const std::string& text, oci::ContainerDefaults& d) {
  for (const auto& pair : TRY(pairs_of("LABEL", text))) {
    std::erase_if(d.labels, [&](const auto& old) { return old.first == pair.first; });
    d.labels.push_back(pair);
  }
  return {};
}

}  // namespace

Result<> apply_change(const std::string& line, oci::ContainerDefaults& d) {
  std::string_view rest = trim(line);
  size_t space = rest.find_first_of(" \t");
  std::string name(rest.substr(0, space)), text;
  if (space != std::string_view::npos) text = trim(rest.substr(space));
  for (char& c : name) c = static_cast<char>(::toupper(static_cast<unsigned char>(c)));
  if (text.empty()) return fail(Error::invalid("the instruction '" + line + "' has no argument"));
  if (name == "CMD") {
    d.cmd = command_words(text);
  } else if (name == "ENTRYPOINT") {
    d.entrypoint = command_words(text);
  } else if (name == "ENV") {
    return change_environment(text, d);
  } else if (name == "LABEL") {
    return change_labels(text, d);
  } else if (name == "EXPOSE") {
    for (const auto& port : words_of(text))
      put(d.exposed_ports, port.find('/') == std::string::npos ? port + "/tcp" : port);
  } else if (name == "VOLUME") {
    for (const auto& path : json_words(text).value_or(words_of(text))) put(d.volumes, path);
  } else if (name == "USER") {
    d.user = text;
  } else if (name == "STOPSIGNAL") {
    d.stop_signal = text;
  } else if (name == "WORKDIR") {
    d.working_dir = text[0] == '/'
                        ? text
                        : (d.working_dir.empty() || d.working_dir == "/" ? "/" : d.working_dir + "/") + text;
  } else {
    return fail(Error::invalid(
        "'" + name +
        "' is not an instruction that changes an image (CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, "
        "USER, VOLUME, WORKDIR)"));
  }
  return {};
}

}  // namespace onggi::engine
