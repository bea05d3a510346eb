#include "engine/log_compress.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdio>
#include <memory>

#include "base/file.h"
#include "base/scope.h"

namespace onggi::engine {

namespace {

constexpr const char* kMode = "wb3";  // logs shrink tenfold already at this level; time matters more
constexpr int kMostFiles = 1000;

struct GzCloser {
  void operator()(gzFile f) const { (void)::gzclose(f); }
};
using GzFile = std::unique_ptr<std::remove_pointer_t<gzFile>, GzCloser>;

Result<> write_gzip(int from, const std::string& to) {
  UniqueFd out = TRY(open_at(AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0640));
  gzFile gz = ::gzdopen(::fcntl(out.get(), F_DUPFD_CLOEXEC, 3), kMode);
  if (!gz) return fail(Error::os("compress to", to, ENOMEM));
  char block[65536];
  bool good = true;
  for (ssize_t n; good && (n = ::read(from, block, sizeof block)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    good = n > 0 && ::gzwrite(gz, block, static_cast<unsigned>(n)) == n;
  }
  good &= ::gzclose(gz) == Z_OK;
  return good ? Result<>() : fail(Error::os("compress to", to, EIO));
}

// "PATH.7" -> the name that the file has now; empty when it is gone.
std::string current_name(const std::string& file, ino_t inode) {
  std::string base = file.substr(0, file.rfind('.'));
  for (int n = 1; n < kMostFiles; n++) {
    std::string name = base + "." + std::to_string(n);
    struct stat st;
    if (::stat(name.c_str(), &st) == 0 && st.st_ino == inode) return name;
  }
  return {};
}

}  // namespace

Result<> compress_log(const std::string& file) {
  UniqueFd from = TRY(open_at(AT_FDCWD, file, O_RDONLY | O_NOFOLLOW));
  struct stat st;
  if (::fstat(from.get(), &st) < 0) return fail(Error::os("inspect", file));
  std::string fresh = file + ".new." + std::to_string(::getpid());
  ScopeExit tidy([&] { (void)::unlink(fresh.c_str()); });
  TRY_VOID(write_gzip(from.get(), fresh));
  UniqueFd directory =
      TRY(open_at(AT_FDCWD, file.substr(0, file.rfind('/') + 1) + ".", O_RDONLY | O_DIRECTORY));
  if (::flock(directory.get(), LOCK_EX) < 0) return fail(Error::os("lock the directory of", file));
  std::string name = current_name(file, st.st_ino);
  if (name.empty()) return {};
  if (::rename(fresh.c_str(), (name + ".gz").c_str()) < 0) return fail(Error::os("keep", name + ".gz"));
  if (::unlink(name.c_str()) < 0) return fail(Error::os("remove", name));
  return {};
}

Result<> read_gzip(const std::string& file, const std::function<bool(std::string_view)>& each) {
  GzFile gz(::gzopen(file.c_str(), "rb"));
  if (!gz) return fail(Error::os("read", file));
  char block[65536];
  for (int n; (n = ::gzread(gz.get(), block, sizeof block)) != 0;) {
    if (n < 0) return fail(Error::invalid("read '" + file + "': not a whole gzip file"));
    if (!each({block, static_cast<size_t>(n)})) return {};
  }
  return {};
}

}  // namespace onggi::engine
