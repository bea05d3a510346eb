#include "cli/prompt.h"

#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/scope.h"

namespace onggi::cli {

void print_prompt(const std::string& text) { (void)write_all(STDERR_FILENO, text, "terminal"); }

Result<std::string> read_answer(bool hidden) {
  termios before;
  bool changed = false;
  if (hidden && ::tcgetattr(STDIN_FILENO, &before) == 0) {
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
  }
  ScopeExit restore([&] {
    if (!changed) return;
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    print_prompt("\n");
  });
  std::string line;
  for (char c; ::read(STDIN_FILENO, &c, 1) == 1 && c != '\n';) line += c;
  if (line.empty()) return fail(Error::invalid("nothing was given"));
  return line;
}

}  // namespace onggi::cli
