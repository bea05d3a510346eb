// onggi-keeper --root DIR --run DIR [--watch PID] [--wait 1]: names and the firewall of networks
// (src/keeper/keeper.h).
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/file.h"
#include "keeper/keeper.h"

int main(int argc, char** argv) {
  onggi::keeper::KeeperOptions options;
  for (int n = 1; n + 1 < argc; n += 2) {
    std::string word = argv[n], value = argv[n + 1];
    if (word == "--root")
      options.root = value;
    else if (word == "--run")
      options.run = value;
    else if (word == "--wait")
      options.wait = value == "1";
    else if (auto pid = onggi::parse_u64(value, "--watch"); word == "--watch" && pid && *pid <= INT32_MAX)
      options.watch = static_cast<int>(*pid);
    else
      return 2;
  }
  auto ran = onggi::keeper::run_keeper(options);
  if (ran) return 0;
  std::string text = "onggi-keeper: " + ran.error().text() + "\n";
  (void)onggi::write_all(STDERR_FILENO, text, "standard error");
  return 1;
}
