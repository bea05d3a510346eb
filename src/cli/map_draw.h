// The map of who talks to whom as text, JSON, DOT (Graphviz) and SVG. Pure.
#pragma once

#include <string>
#include <vector>

#include "engine/traffic.h"

namespace onggi::cli {

using Edges = std::vector<engine::TrafficEdge>;

std::string map_as_text(const Edges& edges);
std::string map_as_json(const Edges& edges);
std::string map_as_dot(const Edges& edges);
// Callers left of those they call; what calls in a circle stands where it was met first.
std::string map_as_svg(const Edges& edges);

}  // namespace onggi::cli
