// Questions on the terminal.
#pragma once

#include <string>

#include "base/result.h"

namespace onggi::cli {

void print_prompt(const std::string& text);
// One line from standard input without its end; `hidden`: nothing is shown while it is typed.
Result<std::string> read_answer(bool hidden);

}  // namespace onggi::cli
