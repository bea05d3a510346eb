#include "cli/progress.h"

#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "cli/command.h"
#include "cli/format.h"

namespace onggi::cli {

namespace {

int64_t now_ms() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1000 + ts.tv_nsec / 1'000'000;
}

size_t terminal_width() {
  winsize size;
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

std::string short_digest(const std::string& digest) {
  size_t colon = digest.find(':');
  return digest.substr(colon == std::string::npos ? 0 : colon + 1, 12);
}

}  // namespace

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (terminal_ && !quiet_ && !lines_.empty()) draw();
}

std::string Progress::text_of(const Line& line) const {
  std::string text = short_digest(line.layer) + ": ";
  std::string status = line.status;
  if (!status.empty()) status[0] = static_cast<char>(::toupper(static_cast<unsigned char>(status[0])));
  text += status;
  text.resize(std::max<size_t>(text.size(), 28), ' ');
  if (!line.total || line.status == "done" || line.status == "exists") return text;
  constexpr size_t kBar = 30;
  size_t full = static_cast<size_t>(static_cast<double>(std::min(line.current, line.total)) /
                                    static_cast<double>(line.total) * kBar);
  return text + "[" + std::string(full, '=') + (full < kBar ? ">" : "") +
         std::string(kBar - std::min(kBar, full + 1), ' ') + "] " + human_size(line.current) + "/" +
         human_size(line.total);
}

void Progress::draw() {
  std::string out = drawn_ ? "\x1b[" + std::to_string(drawn_) + "A" : "";
  size_t width = terminal_width();
  for (const auto& line : lines_) out += "\r" + text_of(line).substr(0, width - 1) + "\x1b[K\n";
  drawn_ = lines_.size();
  (void)write_all(STDERR_FILENO, out, "terminal");
}

void Progress::show(const image::TransferEvent& event) {
  if (event.event == "note") {
    if (!quiet_) print_error(event.text);
    drawn_ = 0;
    return;
  }
  if (quiet_ || event.event != "layer") return;
  auto it = std::find_if(lines_.begin(), lines_.end(), [&](const Line& l) { return l.layer == event.layer; });
  if (it == lines_.end()) it = lines_.insert(lines_.end(), {event.layer, "", 0, 0});
  bool news = it->status != event.status;
  *it = {event.layer, event.status, event.current, event.total};
  if (!terminal_) {
    if (news && (event.status == "done" || event.status == "exists" || event.status == "mounted"))
      print_error(short_digest(event.layer) + ": " + event.status);
    return;
  }
  constexpr int64_t kEvery = 80;  // milliseconds between pictures
  if (!news && now_ms() - last_draw_ms_ < kEvery) return;
  last_draw_ms_ = now_ms();
  draw();
}

}  // namespace onggi::cli
