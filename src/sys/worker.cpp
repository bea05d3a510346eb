#include "sys/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

namespace onggi::sys {

namespace {
constexpr size_t kMostBytes = 1u << 20;
}

Result<Worker> Worker::start(const std::function<std::string()>& work) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe for", "a worker"));
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  int parent = ::getpid();
  int pid = ::fork();
  if (pid < 0) return fail(Error::os("fork", "a worker"));
  if (pid == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    read_end.reset();
    std::string answer = work();
    (void)write_all(write_end.get(), std::string_view(answer).substr(0, kMostBytes), "the parent");
    ::_exit(0);
  }
  Worker w;
  w.pid_ = pid;
  w.pipe_ = std::move(read_end);
  (void)::fcntl(w.pipe_.get(), F_SETFL, O_NONBLOCK);
  return w;
}

Result<bool> Worker::take() {
  char buffer[4096];
  for (;;) {
    ssize_t n = ::read(pipe_.get(), buffer, sizeof buffer);
    if (n > 0) {
      answer_.append(buffer, static_cast<size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return false;
    if (n < 0) return fail(Error::os("read from", "a worker"));
    break;
  }
  pipe_.reset();
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  killed_ = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  return true;
}

}  // namespace onggi::sys
