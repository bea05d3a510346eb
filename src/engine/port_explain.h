// `port --explain`: what a packet to a published port meets on its way, asked of the kernel step by step, not
// of what the engine believes.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace onggi::engine {

struct PortStep {
  bool good = true;
  std::string what;  // one sentence
};
struct PortExplanation {
  std::string from, to;  // "0.0.0.0:8080/tcp", "10.208.0.2:80"
  std::vector<PortStep> steps;
};
// `port`: "80" or "80/udp", the container's. kNotFound: it is not published.
Result<std::vector<PortExplanation>> explain_port(Engine& engine, const std::string& container,
                                                  const std::string& port);

}  // namespace onggi::engine
