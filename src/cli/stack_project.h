// What the commands of stacks share: which files and project are meant, by options given before the command
// or after it.
#pragma once

#include <set>

#include "cli/command.h"
#include "stack/load.h"

namespace onggi::cli {

// --file, --project-name, ... : of `onggi` itself, of `compose` and `stack`, and of each command of stacks.
// `letters`: with -f and -p.
Options project_options(bool letters);
// A command's own options and those above.
Options with_project_options(Options own, bool letters);

// `services`: named on the command line (they are active whatever their profiles say).
Result<stack::Project> load_project(const Invocation& i, const std::vector<std::string>& services = {},
                                    bool interpolate = true);
// The project's name when its file is not needed: -p, the environment, else the file's.
Result<std::string> project_name(const Invocation& i);
// Is there a Compose file in this directory (or given by an option) with a service of that name? For words
// that are no container's.
bool names_service(const Invocation& i, const std::string& word);

}  // namespace onggi::cli
