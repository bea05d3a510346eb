#include "stack/crew.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"

namespace onggi::stack {

namespace {

// One record per line; line breaks in texts are escaped, so that an error of several lines stays one.
std::string escape(const std::string& text) {
  std::string out;
  for (char c : text) out += c == '\n' ? "\\n" : c == '\\' ? "\\\\" : c == '\t' ? " " : std::string(1, c);
  return out;
}
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 1 < text.size())
      out += text[++i] == 'n' ? '\n' : text[i];
    else
      out += text[i];
  }
  return out;
}

Outcome read_answer(const sys::Worker& worker) {
  Outcome out;
  bool ended = false;
  std::string_view rest = worker.answer();
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.size() < 2) continue;
    std::string_view body = line.substr(2);
    size_t tab = body.find('\t');
    if (line[0] == 't' && tab != std::string_view::npos)
      out.told.emplace_back(unescape(body.substr(0, tab)), unescape(body.substr(tab + 1)));
    if (line[0] == 'i') out.id = body, ended = true;
    if (line[0] == 'e' && tab != std::string_view::npos) {
      auto kind = static_cast<ErrorKind>(parse_u64(body.substr(0, tab), "kind").value_or(0));
      out.result = fail(Error(kind, unescape(body.substr(tab + 1))));
      ended = true;
    }
  }
  if (!ended)
    out.result =
        fail(Error::internal("a worker was killed in the middle of its step; run the command again"));
  return out;
}

}  // namespace

Crew::Crew(engine::Engine& engine, int most) : engine_(engine), most_(static_cast<size_t>(most)) {
  // Starting is mostly waiting for the kernel: a few more than there are processors.
  constexpr long kPerProcessor = 3, kLeast = 4;
  if (most <= 0)
    most_ = static_cast<size_t>(std::max(kLeast, kPerProcessor * ::sysconf(_SC_NPROCESSORS_ONLN)));
}

void Crew::add(Work work, Done done) { waiting_.push_back({std::move(work), std::move(done), {}}); }

Result<> Crew::fill() {
  while (working_.size() < most_ && !waiting_.empty()) {
    Job job = std::move(waiting_.front());
    waiting_.pop_front();
    job.worker = TRY(sys::Worker::start([&]() -> std::string {
      engine_.after_fork();
      std::string answer;
      auto result = job.work(engine_, [&](const std::string& name, const std::string& what) {
        answer += "t " + escape(name) + "\t" + escape(what) + "\n";
      });
      if (result) return answer + "i " + *result + "\n";
      return answer + "e " + std::to_string(static_cast<int>(result.error().kind())) + "\t" +
             escape(result.error().text()) + "\n";
    }));
    working_.push_back(std::move(job));
  }
  return {};
}

Result<> Crew::wait(int timeout_ms) {
  TRY_VOID(fill());
  std::vector<pollfd> fds;
  for (const auto& job : working_) fds.push_back({job.worker.fd(), POLLIN, 0});
  if (fds.empty()) {
    if (timeout_ms > 0) ::usleep(static_cast<useconds_t>(timeout_ms) * 1000);
    return {};
  }
  if (::poll(fds.data(), fds.size(), timeout_ms) < 0 && errno != EINTR)
    return fail(Error::os("wait for", "workers"));
  std::vector<Job> ended;
  for (size_t i = working_.size(); i-- > 0;) {
    if (!fds[i].revents) continue;
    if (!TRY(working_[i].worker.take())) continue;
    ended.push_back(std::move(working_[i]));
    working_.erase(working_.begin() + static_cast<long>(i));
  }
  for (auto& job : ended) job.done(read_answer(job.worker));
  return fill();
}

Result<> Crew::finish() {
  while (!idle()) TRY_VOID(wait(-1));
  return {};
}

}  // namespace onggi::stack
