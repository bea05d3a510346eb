// Reading a bundle, for the commands that make a container from one (create, run, restore).
#pragma once

#include <string>

#include "base/result.h"
#include "oci/runtime_spec.h"

namespace onggi::runtime {

struct LoadedBundle {
  std::string bundle;  // absolute, without symlinks
  std::string rootfs;  // the same, and a directory
  std::string config;  // the text of the configuration
  oci::Spec spec;      // checked; sources of bind mounts are absolute
};

// `directory` empty: the current one. `config` empty: config.json of the bundle. `warn` may be null.
Result<LoadedBundle> load_bundle(const std::string& directory, const std::string& config,
                                 void (*warn)(const std::string& text));

}  // namespace onggi::runtime
