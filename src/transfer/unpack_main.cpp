// onggi-unpack's main: confinement first, then unpack.h. See there for the protocol.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>

#include "base/file.h"
#include "sys/confine.h"
#include "sys/landlock.h"
#include "transfer/erofs.h"
#include "transfer/unpack.h"

namespace onggi::transfer {

namespace {

// Owners, modes and file capabilities of an image are set by its own root; nothing else is needed.
constexpr uint64_t kCapabilities = 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER |
                                   1ull << CAP_FSETID | 1ull << CAP_SETFCAP;

// Reading the pipe, writing a tree, memory, the end.
const std::vector<int> kSystemCalls = {
    SYS_read,       SYS_write,     SYS_pwrite64,      SYS_lseek,        SYS_close,          SYS_fstat,
    SYS_newfstatat, SYS_openat,    SYS_openat2,       SYS_mkdirat,      SYS_mknodat,        SYS_linkat,
    SYS_symlinkat,  SYS_unlinkat,  SYS_renameat2,     SYS_fchown,       SYS_fchownat,       SYS_fchmod,
    SYS_fchmodat,   SYS_utimensat, SYS_fsetxattr,     SYS_ftruncate,    SYS_getdents64,     SYS_fcntl,
    SYS_mmap,       SYS_munmap,    SYS_mremap,        SYS_mprotect,     SYS_madvise,        SYS_brk,
    SYS_futex,      SYS_getrandom, SYS_clock_gettime, SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_exit,
    SYS_exit_group,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef SYS_readlink
    SYS_readlink,
#endif
    SYS_readlinkat, SYS_getpid,    SYS_gettid,        SYS_tgkill};

// A bomb in memory (a huge pax header, a zstd window) ends as an allocation that fails.
constexpr rlim_t kMaxMemory = 1ull << 30;

struct Arguments {
  UnpackLimits limits;
  int parent = 0, destination = -1, user_namespace = -1;
  bool raw = false;
};

Result<> confine(const Arguments& a) {
  rlimit memory = {kMaxMemory, kMaxMemory}, core = {0, 0};
  if (::setrlimit(RLIMIT_AS, &memory) < 0 || ::setrlimit(RLIMIT_CORE, &core) < 0)
    return fail(Error::os("limit the unpacker's memory", ""));
  TRY_VOID(sys::follow_parent(a.parent));
  if (a.user_namespace >= 0) {
    UniqueFd used(a.user_namespace);
    TRY_VOID(sys::enter_user_namespace(used.get()));
    // Entering a namespace resets the death signal.
    TRY_VOID(sys::follow_parent(a.parent));
  }
  TRY_VOID(sys::keep_capabilities(kCapabilities));
  TRY(sys::restrict_to_directories({a.destination}));  // a kernel without Landlock still has the rest
  return sys::allow_only_system_calls(kSystemCalls);
}

// As start() in unpack_client.cpp gives them.
Result<Arguments> parse_arguments(char** argv) {
  Arguments a;
  a.raw = std::string_view(argv[1]) == "raw";
  a.parent = static_cast<int>(TRY(parse_u64(argv[2], "parent")));
  a.destination = static_cast<int>(TRY(parse_u64(argv[3], "destination")));
  a.user_namespace = static_cast<int>(TRY(parse_i64(argv[4], "user namespace")));
  a.limits.max_bytes = TRY(parse_u64(argv[5], "max bytes"));
  a.limits.max_entries = TRY(parse_u64(argv[6], "max entries"));
  a.limits.max_ratio = TRY(parse_u64(argv[7], "max ratio"));
  a.limits.ratio_from = TRY(parse_u64(argv[8], "ratio from"));
  if (a.limits.max_ratio == 0) return fail(Error::invalid("max ratio: must not be 0"));
  return a;
}

void append_record(std::string& out, std::string_view record) {
  out += record;
  out += '\0';
}

Result<std::string> run(char** argv) {
  Arguments a = TRY(parse_arguments(argv));
  UniqueFd tar;
  if (a.raw) tar = TRY(open_at(a.destination, "layer.tar", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY_VOID(confine(a));
  ::umask(0);
  std::string out;
  Unpacked result;
  if (a.raw) {
    result = TRY(unpack_raw(STDIN_FILENO, tar.get(), a.limits));
    if (!result.not_plain.empty()) append_record(out, "N " + result.not_plain);
  } else {
    TreeWriter writer(a.destination);
    result = TRY(unpack_tree(STDIN_FILENO, writer, a.limits));
    for (const Deferred& d : writer.deferred())
      append_record(out, d.kind == Deferred::Kind::kOpaque
                             ? "O " + d.path
                             : "D " + std::to_string(d.mode) + " " + std::to_string(d.major) + " " +
                                   std::to_string(d.minor) + " " + d.path);
  }
  append_record(out, "R " + result.diff_hex + " " + std::to_string(result.bytes) + " " +
                         std::to_string(result.entries) + " " + std::to_string(result.input) + " " +
                         std::to_string(result.dropped_xattrs));
  return out;
}

}  // namespace

// As make_erofs_index() starts it.
static int index_main(char** argv) {
  auto number = [](const char* text) { return static_cast<int>(parse_i64(text, "argument").value_or(-1)); };
  auto became = become_mkfs_erofs(number(argv[2]), number(argv[3]), number(argv[4]), argv[5]);
  std::fprintf(stderr, "%s\n", became.error().text().c_str());
  return 1;
}

int unpack_main(int argc, char** argv) {
  if (argc == 6 && std::string_view(argv[1]) == "index") return index_main(argv);
  if (argc != 9) {
    std::fputs("onggi-unpack is started by onggi-transfer and has no use of its own\n", stderr);
    return 2;
  }
  auto out = run(argv);
  std::string text;
  if (out) {
    text = *std::move(out);
  } else {
    append_record(text, "E " + std::to_string(static_cast<int>(out.error().kind())) + " " +
                            std::to_string(out.error().os_errno()) + " " + out.error().text());
  }
  return write_all(STDOUT_FILENO, text, "answer") ? 0 : 1;
}

}  // namespace onggi::transfer
