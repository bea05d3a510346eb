#include "transfer/worker.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>

#include "base/file.h"
#include "transfer/archive.h"
#include "transfer/commit.h"
#include "transfer/progress.h"
#include "transfer/pull.h"
#include "transfer/push.h"
#include "transfer/repair.h"

namespace onggi::transfer {

namespace {

using image::Store;
using image::TransferEvent;
using image::TransferRequest;

struct Operation {
  const char* name;
  bool needs_store;
  Result<TransferEvent> (*run)(Store* store, const TransferRequest& request, Progress& progress);
};

constexpr Operation kOperations[] = {
    {"pull", true, [](Store* s, const TransferRequest& r, Progress& p) { return pull(*s, r, p); }},
    {"push", true, [](Store* s, const TransferRequest& r, Progress& p) { return push(*s, r, p); }},
    {"load", true, [](Store* s, const TransferRequest& r, Progress& p) { return load(*s, r, p); }},
    {"save", true, [](Store* s, const TransferRequest& r, Progress& p) { return save(*s, r, p); }},
    {"import", true, [](Store* s, const TransferRequest& r, Progress& p) { return import_tar(*s, r, p); }},
    {"commit", true, [](Store* s, const TransferRequest& r, Progress& p) { return commit(*s, r, p); }},
    {"export", false, [](Store*, const TransferRequest& r, Progress& p) { return export_tree(r, p); }},
    {"referrers", false, [](Store*, const TransferRequest& r, Progress&) { return list_referrers(r); }},
    {"login", false, [](Store*, const TransferRequest& r, Progress&) { return login(r); }},
    {"logout", false, [](Store*, const TransferRequest& r, Progress&) { return logout(r); }},
    {"check", true, [](Store* s, const TransferRequest& r, Progress& p) { return check_store(*s, r, p); }},
    {"sweep", true,
     [](Store*, const TransferRequest&, Progress&) -> Result<TransferEvent> { return TransferEvent{}; }},
};

const Operation* find_operation(const std::string& name) {
  for (const Operation& o : kOperations)
    if (name == o.name) return &o;
  return nullptr;
}

// Descriptors for a thread per layer and its pipes; the hard limit is what there is.
void raise_descriptor_limit() {
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

Result<TransferEvent> run(std::optional<Store>& store, const TransferRequest& request, Progress& progress) {
  const Operation* operation = find_operation(request.operation);
  if (!operation)
    return fail(Error::unsupported("onggi-transfer: unknown operation '" + request.operation + "'"));
  if (operation->needs_store) {
    if (request.root.empty()) return fail(Error::invalid("onggi-transfer: 'root' is missing"));
    store.emplace(TRY(Store::open(request.root)));
  }
  return operation->run(store ? &*store : nullptr, request, progress);
}

// A file that is there and wrong is an error: without it, plain HTTP or a mirror would be silently another.
Result<std::vector<image::RegistryOptions>> configured_registries() {
  auto variable = [](const char* name) -> std::string {
    const char* value = ::getenv(name);
    return value ? value : "";
  };
  std::vector<std::string> files = {"/etc/onggi/registries.json"};
  if (std::string home = variable("HOME"); !home.empty())
    files.insert(files.begin(), home + "/.config/onggi/registries.json");
  if (std::string named = variable("ONGGI_REGISTRIES"); !named.empty()) files = {named};
  for (const std::string& file : files) {
    auto text = read_file(file, 1 << 20);
    if (!text && text.error().kind() == ErrorKind::kNotFound && variable("ONGGI_REGISTRIES").empty())
      continue;
    if (!text) return fail(std::move(text).error());
    return TRY(json_parse<image::RegistriesFile>(*text, file)).registries;
  }
  return std::vector<image::RegistryOptions>{};
}

Result<TransferRequest> read_request() {
  std::string text = TRY(read_fd(STDIN_FILENO, "request", 16 << 20));
  TransferRequest request = TRY(json_parse<TransferRequest>(text, "request"));
  if (request.registries.empty()) request.registries = TRY(configured_registries());
  return request;
}

}  // namespace

int worker_main(int argc, char** argv) {
  if (argc > 1) {
    std::fprintf(stderr,
                 "%s is started by onggi: it reads a request on standard input and takes no arguments\n",
                 argv[0]);
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);  // writes say EPIPE
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  raise_descriptor_limit();
  curl_global_init(CURL_GLOBAL_DEFAULT);
  Progress progress(STDOUT_FILENO);
  auto request = read_request();
  if (!request) {
    progress.error(request.error());
    return 1;
  }
  std::optional<Store> store;
  auto result = run(store, *request, progress);
  if (!result) {
    // Trash and unfinished layers go before the error is told: "nothing left" is part of the answer.
    if (store) (void)store->sweep();
    progress.error(result.error());
    return 1;
  }
  if (store && request->wait_durable)
    if (auto durable = store->make_durable(); !durable) {
      progress.error(durable.error());
      return 1;
    }
  progress.result(*std::move(result));
  // The answer is given. What follows belongs to nobody: the starter may end, its terminal may close.
  ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
  (void)::setsid();
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (null) ::dup2(null.get(), fd);
  }
  if (store) {
    (void)store->make_durable();
    (void)store->sweep();
  }
  return 0;
}

}  // namespace onggi::transfer
