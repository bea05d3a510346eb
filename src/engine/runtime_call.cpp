#include "engine/runtime_call.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

constexpr size_t kMaxOutput = 16 << 20;

Result<> make_pipe(UniqueFd& read, UniqueFd& write) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  read = UniqueFd(ends[0]);
  write = UniqueFd(ends[1]);
  return {};
}

// Both pipes until both ends are closed.
void read_both(UniqueFd& out, UniqueFd& err, std::string& out_text, std::string& err_text) {
  char block[16384];
  while (out || err) {
    pollfd fds[2] = {{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    for (int i = 0; i < 2; i++) {
      if (!fds[i].revents) continue;
      UniqueFd& from = i == 0 ? out : err;
      std::string& to = i == 0 ? out_text : err_text;
      ssize_t n = ::read(from.get(), block, sizeof block);
      if (n <= 0)
        from.reset();
      else if (to.size() < kMaxOutput)
        to.append(block, static_cast<size_t>(n));
    }
  }
}

}  // namespace

Result<RuntimeOutput> call_runtime(const Paths& paths, const std::vector<std::string>& words) {
  std::string root = paths.runtime_root();
  std::vector<const char*> argv = {"onggi-runtime", "--root", root.c_str()};
  for (const auto& w : words) argv.push_back(w.c_str());
  argv.push_back(nullptr);
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDONLY)), out, out_write, err, err_write;
  TRY_VOID(make_pipe(out, out_write));
  TRY_VOID(make_pipe(err, err_write));
  sys::SpawnArgs args;
  args.exec_path = paths.runtime.c_str();
  args.argv = argv.data();
  args.envp = environ;
  args.stdio[0] = null.get();
  args.stdio[1] = out_write.get();
  args.stdio[2] = err_write.get();
  sys::Spawned spawned = TRY_CTX(sys::spawn(args), "execute " + paths.runtime);
  out_write.reset();
  err_write.reset();
  RuntimeOutput result;
  std::string errors;
  read_both(out, err, result.out, errors);
  result.code = TRY(sys::wait_pidfd(spawned.pidfd.get())).code();
  if (result.code == 0) return result;
  std::string_view text = trim(errors);
  if (text.starts_with("onggi-runtime: ")) text.remove_prefix(15);
  return fail(Error(ErrorKind::kOs, text.empty() ? "onggi-runtime " + words[0] + " ended with code " +
                                                       std::to_string(result.code)
                                                 : std::string(text)));
}

}  // namespace onggi::engine
