// `ps`: every container in a few words, without taking any lock.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"

namespace onggi::engine {

struct ListedContainer {
  std::string id, name, image, image_id, command, created, state, status, age, ports, labels, mounts, network,
      size;
  size_t local_volumes = 0;
  int64_t created_ns = 0;
};

struct ListRequest {
  bool all = false;
  int64_t last = -1;                 // newest so many; -1: all that match
  bool size = false;                 // measures the writable layer (walks it)
  std::vector<std::string> filters;  // "status=running", ...
};

// Newest first. kInvalid for an unknown filter.
Result<std::vector<ListedContainer>> list_containers(Engine& engine, const ListRequest& request);
// Bytes of the container's writable layer.
Result<uint64_t> writable_size(Engine& engine, const std::string& id);

}  // namespace onggi::engine
