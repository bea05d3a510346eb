#include "engine/transfer.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "sys/process.h"

namespace onggi::engine {

namespace {

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

struct Worker {
  sys::Spawned process;
  UniqueFd events;
};

Result<Worker> start_worker(Engine& engine, const image::TransferRequest& request, int stream) {
  std::string program = engine.paths().libexec + "/onggi-transfer";
  if (::access(program.c_str(), X_OK) < 0)
    return fail(
        Error::not_found("the program " + program + " is missing: it moves images; install all of onggi"));
  Pipe in = TRY(make_pipe()), out = TRY(make_pipe());
  const char* argv[] = {"onggi-transfer", nullptr};
  sys::SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = argv;
  args.envp = environ;
  args.stdio[0] = in.read.get();
  args.stdio[1] = out.write.get();
  // The worker knows descriptor 3 as the stream, whatever number it has here.
  UniqueFd third;
  int inherit = 3;
  if (stream >= 0) {
    if (stream != 3) {
      third = UniqueFd(::dup3(stream, 3, O_CLOEXEC));
      if (!third) return fail(Error::os("hand a stream to onggi-transfer", ""));
    }
    args.inherit = &inherit;
    args.inherit_count = 1;
  }
  Worker worker;
  worker.process = TRY_CTX(sys::spawn(args), "execute " + program);
  worker.events = std::move(out.read);
  in.read.reset();
  JsonWriter w;
  json_write(w, request);
  TRY_VOID(write_all(in.write.get(), w.text(), "onggi-transfer"));
  return worker;
}

}  // namespace

Result<image::TransferEvent> run_transfer(Engine& engine, image::TransferRequest request,
                                          const std::function<void(const image::TransferEvent&)>& each,
                                          int stream) {
  request.root = engine.paths().root;
  // A free 3 first: pipes made below must not get the number that the stream will have.
  UniqueFd place;
  if (stream >= 0 && stream != 3 && ::fcntl(3, F_GETFD) < 0)
    place = UniqueFd(::fcntl(stream, F_DUPFD_CLOEXEC, 3));
  Worker worker = TRY(start_worker(engine, request, place && place.get() == 3 ? 3 : stream));
  std::string rest;
  char block[16384];
  for (ssize_t n; (n = ::read(worker.events.get(), block, sizeof block)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("listen to onggi-transfer", ""));
    rest.append(block, static_cast<size_t>(n));
    for (size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) {
      auto event =
          TRY(json_parse<image::TransferEvent>(std::string_view(rest).substr(0, end), "onggi-transfer"));
      if (event.event == "result") return event;  // what the worker still does, it does alone
      if (event.event == "error") return fail(Error(image::error_kind_from_name(event.kind), event.text));
      if (each) each(event);
    }
  }
  int code = TRY(sys::wait_pidfd(worker.process.pidfd.get())).code();
  return fail(Error::internal(request.operation + ": onggi-transfer ended without a word (code " +
                              std::to_string(code) + ")"));
}

}  // namespace onggi::engine
