// Configs and secrets of a stack: files that a container gets from its stack, not from its image.
//
// Their bytes are kept in the container's own directory (root's, 0600), so that a restart after a reboot
// needs nobody. What the container sees is a copy below RUN, which is a tmpfs, made anew at each start with
// the owner and mode that were asked for, and mounted read-only.
#pragma once

#include <string>
#include <vector>

#include "engine/paths.h"
#include "engine/spec_build.h"

namespace onggi::engine {

// At create: writes files/0, files/1, ... below the container's directory `dir`.
Result<> keep_granted_files(int dir, const std::vector<std::string>& contents);
// At start: the copies, and their mounts added to `inputs`.
Result<> lay_out_granted_files(const Paths& paths, const ContainerConfig& config, SpecInputs& inputs);

}  // namespace onggi::engine
