// Shell completion and manual pages, both from the option tables.
//
// The scripts for bash, zsh and fish are a few lines that ask `onggi internal complete -- WORDS` (it starts
// in a millisecond), so that they know every command and option of the program that is installed, and the
// names of containers, images and volumes that there are.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"

namespace onggi::cli {

struct Candidates {
  std::vector<std::pair<std::string, std::string>> words;  // with what they mean
  bool files = false;                                      // the shell may offer names of files
};

// Looks names of objects up: "container", "image" or "volume".
using NamesOf = std::function<std::vector<std::string>(const std::string& kind)>;

// `words`: what was typed after the program's name; the last one is being completed. Pure but for `names`.
Candidates complete(const std::vector<std::string>& words, const NamesOf& names);
// kInvalid names the shells that there are.
Result<std::string> completion_script(const std::string& shell);

// A page of the manual in man(7): of one command ("run", "volume create"), or of the program ("").
Result<std::string> manual_page(const std::string& command);
// Every command with its options as JSON: for docs/docker-parity.md.
std::string tables_json();

}  // namespace onggi::cli
