// What `inspect` prints: the documents of docker's API (docker inspect), member by member, from what the
// engine keeps and what the kernel tells. Members that docker has and the engine has no such thing for carry
// their empty value, so that scripts find them.
#pragma once

#include <string>

#include "engine/engine.h"
#include "engine/volumes.h"
#include "image/store.h"

namespace onggi::cli {

// Indented JSON. `size` adds SizeRw and SizeRootFs (walks the writable layer).
Result<std::string> container_document(engine::Engine& engine, const std::string& id, bool size);
Result<std::string> image_document(engine::Engine& engine, const image::ImageRecord& image);
std::string volume_document(engine::Engine& engine, const engine::Volume& volume);
// kNotFound: there is no such network.
Result<std::string> network_document(engine::Engine& engine, const std::string& reference);

}  // namespace onggi::cli
