// Executes planned writes. The one place that knows how the kernel refuses, and says what to do about it.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "runtime/cgroup_plan.h"
#include "sys/cgroup.h"

namespace onggi::runtime {
namespace {

struct OpenFile {
  std::string path;
  UniqueFd fd;
};

// 0, or the errno of open or write. `open_failed` tells them apart.
int write_value(OpenFile& open, const std::string& path, const std::string& value, bool& open_failed) {
  open_failed = false;
  if (open.path != path || !open.fd) {
    open.fd.reset(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    open.path = path;
    if (!open.fd) {
      open_failed = true;
      return errno;
    }
  }
  ssize_t n;
  do {
    n = ::write(open.fd.get(), value.data(), value.size());
  } while (n < 0 && errno == EINTR);
  return n < 0 ? errno : 0;
}

// A memory limit below what is in use is the refusal that users meet most: say the numbers.
std::string usage_hint(const std::string& directory, const CgroupWrite& w) {
  bool v1 = w.file == "memory.limit_in_bytes" || w.file == "memory.memsw.limit_in_bytes";
  if (!v1) return "";
  auto usage = sys::read_cgroup_number(directory + "/memory.usage_in_bytes");
  auto peak = sys::read_cgroup_number(directory + "/memory.max_usage_in_bytes");
  if (!usage || !peak) return "";
  return " (current usage: " + std::to_string(*usage) + ", peak usage: " + std::to_string(*peak) +
         "); choose a limit above the usage";
}

std::string invalid_hint(const CgroupWrite& w) {
  if (w.file == "cpuset.cpus" || w.file == "cpuset.mems")
    return "; every id in the list must exist and be allowed by the parent cgroup";
  if (w.file.starts_with("memory.memsw") || w.file == "memory.limit_in_bytes")
    return "; linux.resources.memory.swap is memory plus swap and must not be below "
           "linux.resources.memory.limit";
  if (w.file.find("burst") != std::string::npos) return "; the burst must not be above the quota";
  if (w.file.find("rt_runtime") != std::string::npos)
    return "; the parent cgroup must have at least as much real-time budget";
  return "";
}

Error write_error(const CgroupWrite& w, const std::string& directory, const std::string& path, int e,
                  bool open_failed, const ControllerExplain& explain) {
  if (open_failed && (e == ENOENT || e == EACCES || e == EPERM)) {
    std::string why = explain ? explain(w.controller) : "";
    if (why.empty() && e == ENOENT) why = "this kernel or I/O scheduler has no file " + w.file;
    std::string text = w.field + ": cannot set " + w.file + " in '" + directory + "': " + errno_text(e);
    if (!why.empty()) text += "; " + why;
    return {e == ENOENT ? ErrorKind::kUnsupported : ErrorKind::kPermission, std::move(text), e};
  }
  Error error = Error::os("write '" + w.value + "' to", path, e);
  error.wrap(w.field);
  std::string hint = e == EBUSY ? usage_hint(directory, w) : e == EINVAL ? invalid_hint(w) : "";
  if (e == EBUSY && w.controller == "memory")
    return {ErrorKind::kBusy, w.field + ": unable to set memory limit to " + w.value + hint, e};
  if (hint.empty()) return error;
  return {error.kind(), error.text() + hint, e};
}

class Writer {
 public:
  Writer(const ControllerDirectory& directory, const ControllerExplain& explain)
      : directory_(directory), explain_(explain) {}

  // Tries one write. kInvalid-like refusals of grouped writes are reported through `again`.
  Result<> write(const CgroupWrite& w, bool may_retry, bool& again) {
    again = false;
    std::string dir = directory_(w.controller);
    if (dir.empty()) {
      if (w.missing_ok) return {};
      std::string why = explain_ ? explain_(w.controller) : "";
      return fail(Error::unsupported("cannot set " + w.controller +
                                     " limit: container could not join or create cgroup (" + w.field +
                                     (why.empty() ? ")" : "): " + why)));
    }
    std::string path = dir + "/" + w.file;
    std::string value = w.value;
    if (w.keep_first_word) {
      std::string now = TRY_CTX(sys::read_cgroup_value(path), w.field);
      value = now.substr(0, now.find(' ')) + " " + value;
    }
    bool open_failed = false;
    int e = write_value(open_, path, value, open_failed);
    if (e == ENOENT && open_failed && !w.other_file.empty()) {
      path = dir + "/" + w.other_file;
      e = write_value(open_, path, w.other_value, open_failed);
    }
    if (e == 0 || (e == ENOENT && open_failed && w.missing_ok)) return {};
    if (e == EINVAL && may_retry && w.group != 0) {
      again = true;
      return {};
    }
    return fail(write_error(w, dir, path, e, open_failed, explain_));
  }

 private:
  const ControllerDirectory& directory_;
  const ControllerExplain& explain_;
  OpenFile open_;
};

}  // namespace

std::vector<CgroupWrite> only_controllers(std::vector<CgroupWrite> writes,
                                          const std::function<bool(std::string_view)>& wanted) {
  std::erase_if(writes, [&](const CgroupWrite& w) { return !wanted(w.controller); });
  return writes;
}

Result<> apply_writes(const std::vector<CgroupWrite>& writes, const ControllerDirectory& directory,
                      const ControllerExplain& explain) {
  Writer writer(directory, explain);
  std::vector<const CgroupWrite*> pending;
  for (const CgroupWrite& w : writes) pending.push_back(&w);
  // Each round may free what the next one needs; a round without progress lets the refusals become errors.
  for (bool may_retry = true; !pending.empty();) {
    std::vector<const CgroupWrite*> refused;
    for (const CgroupWrite* w : pending) {
      bool again = false;
      TRY_VOID(writer.write(*w, may_retry, again));
      if (again) refused.push_back(w);
    }
    may_retry = refused.size() < pending.size();
    pending = std::move(refused);
  }
  return {};
}

}  // namespace onggi::runtime
