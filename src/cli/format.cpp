#include "cli/format.h"

#include <algorithm>
#include <cstdio>

#include "base/json.h"
#include "cli/command.h"
#include "cli/template.h"

namespace onggi::cli {

namespace {

std::string row_json(const Row& row) {
  JsonWriter w;
  w.begin_object();
  for (const auto& [name, value] : row) w.member(name, value);
  w.end_object();
  return w.take();
}

const std::string& field_of(const Row& row, std::string_view name) {
  static const std::string kNone;
  for (const auto& [key, value] : row)
    if (key == name) return value;
  return kNone;
}

// "\t" and "\n" as people type them in shell quotes.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    char next = i + 1 < text.size() ? text[i + 1] : 0;
    if (text[i] == '\\' && (next == 't' || next == 'n')) {
      out += next == 't' ? '\t' : '\n';
      i++;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::vector<std::string> split_tabs(const std::string& line) {
  std::vector<std::string> cells;
  for (size_t at = 0;;) {
    size_t end = line.find('\t', at);
    cells.push_back(line.substr(at, end == std::string::npos ? end : end - at));
    if (end == std::string::npos) return cells;
    at = end + 1;
  }
}

std::string human(uint64_t bytes, double step, const char* const* units, int digits) {
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= step && unit < 5) value /= step, unit++;
  char text[32];
  snprintf(text, sizeof text, "%.*g%s", digits, value, units[unit]);
  return text;
}

Result<std::string> render_row(const std::string& format, const Row& row) {
  auto document = TRY(JsonDocument::parse(row_json(row), "row"));
  return render_template(format, document.root());
}

// The heading of a "table TEMPLATE": the template over the headers instead of the values.
Row header_row(const std::vector<Column>& columns, const std::vector<Row>& rows) {
  Row headers;
  for (const auto& c : columns) headers.push_back({c.field, c.header});
  if (rows.empty()) return headers;
  for (const auto& [name, value] : rows[0]) {
    bool known = std::any_of(headers.begin(), headers.end(), [&](const auto& h) { return h.first == name; });
    if (known) continue;
    std::string upper;
    for (char c : name) upper += static_cast<char>(::toupper(static_cast<unsigned char>(c)));
    headers.push_back({name, upper});
  }
  return headers;
}

}  // namespace

std::string human_size(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  return human(bytes, 1000, kUnits, 3);
}
std::string human_binary(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return human(bytes, 1024, kUnits, 4);
}

std::string table_text(const std::vector<std::string>& headers,
                       const std::vector<std::vector<std::string>>& cells) {
  std::vector<size_t> widths;
  auto width_of = [](const std::string& s) {
    return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  };
  auto measure = [&](const std::vector<std::string>& line) {
    if (widths.size() < line.size()) widths.resize(line.size());
    for (size_t n = 0; n < line.size(); n++) widths[n] = std::max(widths[n], width_of(line[n]));
  };
  measure(headers);
  for (const auto& line : cells) measure(line);
  auto one = [&](const std::vector<std::string>& line) {
    std::string text;
    for (size_t n = 0; n < line.size(); n++) {
      text += line[n];
      if (n + 1 < line.size()) text.append(widths[n] - width_of(line[n]) + 3, ' ');
    }
    return text + "\n";
  };
  std::string text = one(headers);
  for (const auto& line : cells) text += one(line);
  return text;
}

Result<> print_rows(const std::string& given, const std::vector<Column>& columns,
                    const std::vector<Row>& rows) {
  std::string format = unescape(given), text;
  if (format == "json" || format == "{{json .}}") {
    for (const auto& row : rows) text += row_json(row) + "\n";
    return print(text);
  }
  if (format.empty() || format == "table") {
    std::vector<std::string> headers;
    std::vector<std::vector<std::string>> cells;
    for (const auto& c : columns) headers.push_back(c.header);
    for (const auto& row : rows) {
      auto& line = cells.emplace_back();
      for (const auto& c : columns) line.push_back(field_of(row, c.field));
    }
    return print(table_text(headers, cells));
  }
  if (format.starts_with("table ")) {
    format = format.substr(6);
    auto headers = split_tabs(TRY(render_row(format, header_row(columns, rows))));
    std::vector<std::vector<std::string>> cells;
    for (const auto& row : rows) cells.push_back(split_tabs(TRY(render_row(format, row))));
    return print(table_text(headers, cells));
  }
  for (const auto& row : rows) text += TRY(render_row(format, row)) + "\n";
  return print(text);
}

Result<> print_document(const std::string& given, const std::vector<std::string>& documents) {
  std::string format = unescape(given), text;
  if (format.empty()) {
    text = "[";
    for (size_t n = 0; n < documents.size(); n++) text += (n ? ",\n" : "\n") + documents[n];
    return print(text + (documents.empty() ? "]\n" : "\n]\n"));
  }
  for (const auto& json : documents) {
    if (format == "json") {
      text += json + "\n";
      continue;
    }
    auto document = TRY(JsonDocument::parse(json, "inspect"));
    text += TRY(render_template(format, document.root())) + "\n";
  }
  return print(text);
}

}  // namespace onggi::cli
