#include "transfer/unpack_client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <mutex>

#include "base/file.h"
#include "sys/user_namespace.h"

namespace onggi::transfer {

namespace {

constexpr int kPipeBytes = 1 << 20;  // one piece of the network ahead of the unpacker
// Opaque directories and device nodes of one layer; a million of 60 bytes each.
constexpr size_t kMaxAnswer = 64u << 20;

// sys::spawn has one trampoline for the process; layers are unpacked by several threads.
std::mutex spawn_lock;

struct Pipe {
  UniqueFd read, write;
};
Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<std::vector<sys::IdRange>> identity_of(const char* file) {
  std::string text = TRY(read_file(file, 65536));
  std::vector<sys::IdRange> map;
  for (std::string_view rest = text; !trim(rest).empty();) {
    std::string_view line = trim(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(rest.size(), rest.find('\n') + 1));
    std::array<uint64_t, 3> n{};
    for (uint64_t& value : n) {
      std::string_view word = line.substr(0, line.find(' '));
      value = TRY(parse_u64(word, file));
      line = trim(line.substr(word.size()));
    }
    map.push_back({static_cast<uint32_t>(n[0]), static_cast<uint32_t>(n[0]), static_cast<uint32_t>(n[2])});
  }
  return map;
}

// --- what the unpacker could not do itself ---

Result<> mark_opaque(int root, const std::string& path) {
  UniqueFd fd(open_directory(root, path, O_RDONLY));
  if (!fd) return fail(Error::os("open the opaque directory", path));
  if (::fsetxattr(fd.get(), "trusted.overlay.opaque", "y", 1, 0) == 0) return {};
  // Without CAP_SYS_ADMIN on the host: overlay is then mounted with `userxattr`.
  if (errno == EPERM && ::fsetxattr(fd.get(), "user.overlay.opaque", "y", 1, 0) == 0) return {};
  return fail(Error::os("mark as opaque the directory", path));
}

// Replaces the placeholder, keeping its owner and times and those of its directory. A user who may not make
// device nodes has the empty file; false then.
Result<bool> make_device(int root, const Deferred& d) {
  size_t slash = d.path.rfind('/');
  std::string parent = slash == std::string::npos ? "" : d.path.substr(0, slash);
  std::string leaf = d.path.substr(slash == std::string::npos ? 0 : slash + 1);
  UniqueFd at(open_directory(root, parent, O_RDONLY));
  struct stat here, file;
  if (!at || ::fstat(at.get(), &here) < 0) return fail(Error::os("open the directory of the device", d.path));
  // A later entry of the layer may have taken its place.
  if (::fstatat(at.get(), leaf.c_str(), &file, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(file.st_mode))
    return true;
  std::string fresh = leaf.substr(0, 200) + ".onggi-device";
  if (::mknodat(at.get(), fresh.c_str(), d.mode, ::makedev(d.major, d.minor)) < 0) {
    if (errno == EPERM) return false;
    return fail(Error::os("make the device", d.path));
  }
  timespec times[2] = {{0, UTIME_OMIT}, file.st_mtim}, directory[2] = {{0, UTIME_OMIT}, here.st_mtim};
  if (::fchownat(at.get(), fresh.c_str(), file.st_uid, file.st_gid, 0) < 0 ||
      ::fchmodat(at.get(), fresh.c_str(), d.mode & 07777, 0) < 0 ||
      ::utimensat(at.get(), fresh.c_str(), times, 0) < 0 ||
      ::renameat(at.get(), fresh.c_str(), at.get(), leaf.c_str()) < 0 || ::futimens(at.get(), directory) < 0)
    return fail(Error::os("make the device", d.path));
  return true;
}

// --- the answer ---

Result<uint64_t> take_number(std::string_view& text) {
  std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), word.size() + 1));
  return parse_u64(word, "the unpacker's answer");
}

Error answered_error(std::string_view text) {
  auto kind = take_number(text);
  auto code = kind ? take_number(text) : kind;
  if (!code || *kind > static_cast<uint64_t>(ErrorKind::kInternal))
    return Error::internal("the unpacker's answer makes no sense");
  return {static_cast<ErrorKind>(*kind), std::string(text), static_cast<int>(*code)};
}

Result<Unpacked> parse_result(std::string_view text) {
  Unpacked u;
  u.diff_hex = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(text.size(), u.diff_hex.size() + 1));
  u.bytes = TRY(take_number(text));
  u.entries = TRY(take_number(text));
  u.input = TRY(take_number(text));
  u.dropped_xattrs = TRY(take_number(text));
  return u;
}

Result<bool> apply_deferred(int root, std::string_view record) {
  if (record.starts_with("O ")) {
    TRY_VOID(mark_opaque(root, std::string(record.substr(2))));
    return true;
  }
  record.remove_prefix(2);
  Deferred d;
  d.kind = Deferred::Kind::kDevice;
  d.mode = static_cast<uint32_t>(TRY(take_number(record)));
  d.major = static_cast<uint32_t>(TRY(take_number(record)));
  d.minor = static_cast<uint32_t>(TRY(take_number(record)));
  d.path = record;
  return make_device(root, d);
}

}  // namespace

Result<std::string> unpacker_path() {
  std::array<char, 4096> buffer;
  ssize_t n = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
  if (n <= 0 || static_cast<size_t>(n) == buffer.size()) return fail(Error::os("find the unpacker", ""));
  std::string self(buffer.data(), static_cast<size_t>(n));
  return self.substr(0, self.rfind('/')) + "/onggi-unpack";
}

Result<sys::Spawned> spawn_alone(const sys::SpawnArgs& args) {
  std::lock_guard guard(spawn_lock);
  return sys::spawn(args);
}

Result<NsFd> unpack_namespace() {
  auto uids = TRY(identity_of("/proc/self/uid_map"));
  auto gids = TRY(identity_of("/proc/self/gid_map"));
  return sys::make_user_namespace(uids, gids);
}

Result<Unpacker> Unpacker::start(const UnpackTarget& target, const UnpackLimits& limits) {
  Pipe pipe = TRY(make_pipe());
  (void)::fcntl(pipe.write.get(), F_SETPIPE_SZ, kPipeBytes);  // a smaller one works, too
  Unpacker u = TRY(start_from(pipe.read.get(), target, limits));
  u.input_ = std::move(pipe.write);
  return u;
}

Result<Unpacker> Unpacker::start_from(int input, const UnpackTarget& target, const UnpackLimits& limits) {
  std::string path = TRY(unpacker_path());
  Pipe answer = TRY(make_pipe());
  std::vector<std::string> words = {"onggi-unpack",
                                    target.raw ? "raw" : "tree",
                                    std::to_string(::getpid()),
                                    std::to_string(target.directory),
                                    std::to_string(target.user_namespace),
                                    std::to_string(limits.max_bytes),
                                    std::to_string(limits.max_entries),
                                    std::to_string(limits.max_ratio),
                                    std::to_string(limits.ratio_from)};
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  const char* const envp[] = {nullptr};
  const int inherit[] = {target.directory, target.user_namespace};
  // Descriptors 0-2 are taken by dup3 in order: neither source may be one of them.
  sys::SpawnArgs args;
  args.exec_path = path.c_str();
  args.argv = argv.data();
  args.envp = envp;
  args.inherit = inherit;
  args.inherit_count = target.user_namespace >= 0 ? 2 : 1;
  args.stdio[0] = input;
  args.stdio[1] = answer.write.get();
  Unpacker u;
  u.target_ = target;
  u.process_ = TRY_CTX(spawn_alone(args), "start the unpacker");
  u.running_ = true;
  u.answer_ = std::move(answer.read);
  return u;
}

Unpacker::~Unpacker() {
  if (!running_ || !process_.pidfd) return;
  (void)sys::pidfd_signal(process_.pidfd.get(), SIGKILL);
  (void)sys::wait_pidfd(process_.pidfd.get());
}

Result<bool> Unpacker::feed(std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(input_.get(), data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) return false;
    if (n < 0) return fail(Error::os("write to the unpacker", ""));
    data.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

Result<Unpacked> Unpacker::finish() {
  input_.reset();
  std::string text = TRY(read_fd(answer_.get(), "the unpacker's answer", kMaxAnswer));
  sys::ExitStatus status = TRY(sys::wait_pidfd(process_.pidfd.get()));
  running_ = false;
  uint64_t skipped = 0;
  std::string not_plain;
  std::string_view rest = text;
  for (size_t end; (end = rest.find('\0')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    std::string_view record = rest.substr(0, end);
    if (record.starts_with("E ")) return fail(answered_error(record.substr(2)));
    if (record.starts_with("N ")) {
      not_plain = record.substr(2);
      continue;
    }
    if (record.starts_with("R ")) {
      Unpacked result = TRY(parse_result(record.substr(2)));
      result.not_plain = std::move(not_plain);
      result.dropped_xattrs += skipped;
      return result;
    }
    if (!TRY(apply_deferred(target_.directory, record))) skipped++;
  }
  return fail(Error::internal("the unpacker ended without an answer (" +
                              std::string(status.signalled ? "signal " : "exit code ") +
                              std::to_string(status.value) + ")"));
}

}  // namespace onggi::transfer
