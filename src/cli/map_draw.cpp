#include "cli/map_draw.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"

namespace onggi::cli {

namespace {

std::string port_of(const engine::TrafficEdge& e) { return std::to_string(e.port) + "/" + e.protocol; }

// Names of containers have none of these characters; the function does not rely on it.
std::string escape_xml(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

std::string quote_dot(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

struct Box {
  int column = 0, row = 0;
};

// The longest way from a node that nobody calls; each step at most once for each node, so circles end.
std::map<std::string, Box> place(const Edges& edges) {
  std::map<std::string, Box> boxes;
  for (const auto& e : edges) boxes[e.from], boxes[e.to];
  for (size_t round = 0; round < boxes.size(); round++) {
    bool moved = false;
    for (const auto& e : edges) {
      Box &from = boxes[e.from], &to = boxes[e.to];
      int limit = static_cast<int>(boxes.size()) - 1;
      if (e.from != e.to && to.column <= from.column && from.column < limit) {
        to.column = from.column + 1;
        moved = true;
      }
    }
    if (!moved) break;
  }
  // Columns that a circle left empty are closed.
  std::set<int> used;
  for (const auto& [name, box] : boxes) used.insert(box.column);
  std::map<int, int> filled;
  for (auto& [name, box] : boxes) {
    box.column = static_cast<int>(std::distance(used.begin(), used.find(box.column)));
    box.row = filled[box.column]++;
  }
  return boxes;
}

}  // namespace

std::string map_as_text(const Edges& edges) {
  size_t width[3] = {4, 2, 4};  // of FROM, TO, PORT
  for (const auto& e : edges) {
    width[0] = std::max(width[0], e.from.size());
    width[1] = std::max(width[1], e.to.size());
    width[2] = std::max(width[2], port_of(e).size());
  }
  auto padded = [](std::string text, size_t to) {
    text.resize(std::max(text.size(), to), ' ');
    return text + "   ";
  };
  std::string out = padded("FROM", width[0]) + "     " + padded("TO", width[1]) + padded("PORT", width[2]) +
                    "OPEN   RECENT\n";
  for (const auto& e : edges)
    out += padded(e.from, width[0]) + "->   " + padded(e.to, width[1]) + padded(port_of(e), width[2]) +
           padded(std::to_string(e.open), 4) + std::to_string(e.recent) + "\n";
  return out;
}

std::string map_as_json(const Edges& edges) {
  JsonWriter w;
  w.begin_array();
  for (const auto& e : edges) {
    w.begin_object();
    w.member("from", e.from);
    w.member("to", e.to);
    w.member_number("port", e.port);
    w.member("protocol", e.protocol);
    w.member_number("open", static_cast<int64_t>(e.open));
    w.member_number("recent", static_cast<int64_t>(e.recent));
    w.end_object();
  }
  w.end_array();
  return w.take() + "\n";
}

std::string map_as_dot(const Edges& edges) {
  std::string out = "digraph onggi {\n  rankdir=LR;\n  node [shape=box];\n";
  for (const auto& e : edges)
    out += "  " + quote_dot(e.from) + " -> " + quote_dot(e.to) + " [label=" + quote_dot(port_of(e)) +
           (e.open ? "" : ", style=dashed") + "];\n";
  return out + "}\n";
}

std::string map_as_svg(const Edges& edges) {
  constexpr int kWidth = 180, kHeight = 34, kColumn = 280, kRow = 64, kMargin = 20;  // pixels
  auto boxes = place(edges);
  int columns = 1, rows = 1;
  for (const auto& [name, box] : boxes) {
    columns = std::max(columns, box.column + 1);
    rows = std::max(rows, box.row + 1);
  }
  auto number = [](int n) { return std::to_string(n); };
  auto x = [](const Box& b) { return kMargin + b.column * kColumn; };
  auto y = [](const Box& b) { return kMargin + b.row * kRow; };
  std::string out =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
      number(2 * kMargin + (columns - 1) * kColumn + kWidth) + "\" height=\"" +
      number(2 * kMargin + (rows - 1) * kRow + kHeight) +
      "\" font-family=\"sans-serif\" font-size=\"13\">\n<defs><marker id=\"arrow\" viewBox=\"0 0 8 "
      "8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path "
      "d=\"M0 0 8 4 0 8z\"/></marker></defs>\n";
  for (const auto& e : edges) {
    const Box &from = boxes[e.from], &to = boxes[e.to];
    int x1 = x(from) + kWidth, y1 = y(from) + kHeight / 2, x2 = x(to), y2 = y(to) + kHeight / 2;
    out += "<path d=\"M" + number(x1) + " " + number(y1) + " C" + number(x1 + 50) + " " + number(y1) + " " +
           number(x2 - 50) + " " + number(y2) + " " + number(x2) + " " + number(y2) +
           "\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#arrow)\"" +
           (e.open ? "" : " stroke-dasharray=\"4 3\"") + "/>\n<text x=\"" + number(x2 - 62) + "\" y=\"" +
           number(y2 - 5) + "\" font-size=\"11\" fill=\"#555\">" + escape_xml(port_of(e)) + "</text>\n";
  }
  for (const auto& [name, box] : boxes)
    out += "<rect x=\"" + number(x(box)) + "\" y=\"" + number(y(box)) + "\" width=\"" + number(kWidth) +
           "\" height=\"" + number(kHeight) +
           "\" rx=\"6\" fill=\"#f4ede4\" stroke=\"#8a5a2b\"/>\n<text x=\"" + number(x(box) + kWidth / 2) +
           "\" y=\"" + number(y(box) + 22) + "\" text-anchor=\"middle\">" + escape_xml(name) + "</text>\n";
  return out + "</svg>\n";
}

}  // namespace onggi::cli
