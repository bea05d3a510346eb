// Where the engine keeps things.
//
//   ROOT (/var/lib/onggi)                       survives a reboot
//     images/                                   image::Store
//     containers/ID/{config.json, last.json, upper/, work/, hosts, hostname, resolv.conf, log*}
//     names/NAME -> ID                          symlinks: their creation decides who gets a name
//     ranges/N -> ID                            symlinks: id range N belongs to that container
//     volumes/NAME/{volume.json, data/}
//     networks/                                 networks.h
//     trash/                                    what was removed, until a sweeper has deleted it
//   RUN (/run/onggi)                            gone after a reboot
//     containers/ID/{state.json, config.json, rootfs/, control.sock, attach.sock, pid, exit.json}
//     runtime/                                  onggi-runtime's state
//     network/                                  networks.h: of running containers
//     events.jsonl
//
// Both are 0700: what is below them has ids of many containers, and setuid files among it.
#pragma once

#include <string>

#include "base/result.h"

namespace onggi::engine {

struct Paths {
  std::string root;     // absolute
  std::string run;      // absolute
  std::string runtime;  // the onggi-runtime program
  std::string libexec;  // directory of workers
  bool rootless = false;

  [[nodiscard]] std::string container(const std::string& id) const { return root + "/containers/" + id; }
  [[nodiscard]] std::string live(const std::string& id) const { return run + "/containers/" + id; }
  [[nodiscard]] std::string runtime_root() const { return run + "/runtime"; }
};

struct PathOptions {
  std::string root, run;  // empty: $ONGGI_ROOT and $ONGGI_RUN, then the defaults
  bool heal = true;       // look whether the networks' keeper is at work (not the keeper itself)
};

// Finds the directories and programs and makes the directories. Programs are looked up beside the running
// executable (a build tree or /usr/bin with /usr/libexec/onggi), then in $PATH's usual places.
Result<Paths> find_paths(const PathOptions& options);

}  // namespace onggi::engine
