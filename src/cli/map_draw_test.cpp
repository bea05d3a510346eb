#include "cli/map_draw.h"

#include <gtest/gtest.h>

namespace onggi::cli {
namespace {

const Edges kShop = {
    {"edge", "web", 8000, "tcp", 1, 0}, {"world", "edge", 8080, "tcp", 2, 5}, {"web", "db", 53, "udp", 0, 1}};

TEST(Map, Text) {
  EXPECT_EQ(map_as_text(kShop),
            "FROM         TO     PORT       OPEN   RECENT\n"
            "edge    ->   web    8000/tcp   1      0\n"
            "world   ->   edge   8080/tcp   2      5\n"
            "web     ->   db     53/udp     0      1\n");
  EXPECT_EQ(map_as_text({}), "FROM        TO   PORT   OPEN   RECENT\n");
}

TEST(Map, Json) {
  EXPECT_EQ(
      map_as_json({kShop[1]}),
      "[{\"from\":\"world\",\"to\":\"edge\",\"port\":8080,\"protocol\":\"tcp\",\"open\":2,\"recent\":5}]\n");
}

TEST(Map, DotQuotes) {
  EXPECT_NE(map_as_dot(kShop).find("  \"world\" -> \"edge\" [label=\"8080/tcp\"];\n"), std::string::npos);
  EXPECT_NE(map_as_dot(kShop).find("  \"web\" -> \"db\" [label=\"53/udp\", style=dashed];\n"),
            std::string::npos);
  EXPECT_NE(map_as_dot({{"a\"b", "c\\", 1, "tcp", 1, 0}}).find("\"a\\\"b\" -> \"c\\\\\""), std::string::npos);
}

TEST(Map, SvgPlacesCallersToTheLeft) {
  std::string svg = map_as_svg(kShop);
  auto column = [&](const std::string& name) {
    size_t text = svg.find(">" + name + "</text>"), x = svg.rfind("<text x=\"", text) + 9;
    return std::stoi(svg.substr(x));
  };
  EXPECT_LT(column("world"), column("edge"));
  EXPECT_LT(column("edge"), column("web"));
  EXPECT_LT(column("web"), column("db"));
}

TEST(Map, CirclesEnd) {
  Edges circle = {{"a", "b", 1, "tcp", 1, 0},
                  {"b", "c", 1, "tcp", 1, 0},
                  {"c", "a", 1, "tcp", 1, 0},
                  {"a", "a", 1, "tcp", 1, 0}};
  EXPECT_NE(map_as_svg(circle).find("</svg>"), std::string::npos);
  EXPECT_EQ(map_as_svg({{"<a>", "b&", 1, "tcp", 1, 0}}).find("<a>"), std::string::npos);
}

}  // namespace
}  // namespace onggi::cli
