// What dump and restore have in common: directories, limits of what can be done, mounts and streams from
// outside.
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/file.h"
#include "base/json.h"
#include "oci/mount_options.h"
#include "runtime/checkpoint.h"
#include "runtime/compile.h"
#include "sys/mount.h"

namespace onggi::runtime {

namespace {

// Device nodes that every container has (config-linux.md "Default Devices"). They are nodes in the
// container's own /dev, or, where a user namespace forbids making nodes, the host's, bound there.
constexpr const char* kDefaultDevices[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                           "/dev/random", "/dev/urandom", "/dev/tty"};

Result<UniqueFd> open_directory(const std::string& path, bool make, const char* option) {
  if (make && ::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST)
    return fail(Error::os(std::string("option ") + option + ": make the directory", path));
  return TRY_CTX(open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY), std::string("option ") + option);
}

Result<std::vector<std::string>> image_names(int dirfd) {
  struct Closer {
    void operator()(DIR* d) const { ::closedir(d); }
  };
  UniqueFd again = TRY(open_at(dirfd, ".", O_RDONLY | O_DIRECTORY));
  std::unique_ptr<DIR, Closer> dir(::fdopendir(again.get()));
  if (!dir) return fail(Error::os("list", "the image directory"));
  (void)again.release();
  std::vector<std::string> names;
  while (dirent* e = ::readdir(dir.get()))
    if (std::string_view(e->d_name).ends_with(".img")) names.emplace_back(e->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

// CRIU's configuration files may name programs to run, so only what the administrator put into /etc/criu is
// one. Annotations can come from an image.
Result<std::string> config_file(const oci::Spec& spec) {
  for (const auto& [key, value] : spec.annotations) {
    if (key != "org.criu.config") continue;
    if (value.empty()) return std::string();
    char resolved[PATH_MAX];
    if (!::realpath(value.c_str(), resolved))
      return fail(Error::os("annotation org.criu.config: find the file", value));
    if (std::string_view(resolved).starts_with("/etc/criu/")) return std::string(resolved);
    return fail(
        Error(ErrorKind::kPermission,
              "annotation org.criu.config: '" + value +
                  "' is not below /etc/criu; annotations may come from an image, so put the file there"));
  }
  for (const char* path : {"/etc/criu/onggi.conf", "/etc/criu/runc.conf"})
    if (::access(path, F_OK) == 0) return std::string(path);
  return std::string();
}

}  // namespace

void add_pair(ProtoWriter& request, CriuField field, std::string_view first, std::string_view second) {
  ProtoWriter pair;
  pair.text(1, first);
  pair.text(2, second);
  request.message(field, pair);
}

Result<CriuDirectories> open_criu_directories(const CriuOptions& options, const char* log_file, bool make) {
  CriuDirectories d;
  d.made = make && ::access(options.image_path.c_str(), F_OK) < 0;
  d.images = TRY(open_directory(options.image_path, make, "--image-path"));
  d.fresh = TRY(image_names(d.images.get())).empty();
  d.log_path = options.image_path + "/" + log_file;
  if (!options.work_path.empty()) {
    d.work = TRY(open_directory(options.work_path, true, "--work-path"));
    d.log_path = options.work_path + "/" + log_file;
  }
  return d;
}

Result<std::string> image_manifest(int images) {
  JsonWriter w;
  w.begin_object();
  std::vector<std::string> names = TRY(image_names(images));
  for (const auto& name : names) {
    struct stat st;
    if (::fstatat(images, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0)
      return fail(Error::os("look at", name));
    w.member_number(name, st.st_size);
  }
  w.end_object();
  return w.take();
}

Result<> check_images(int images, const std::string& name) {
  auto text = read_file_at(images, kManifestFile);
  if (!text && text.error().os_errno() == ENOENT) return {};
  if (!text) return fail(std::move(text).error());
  JsonDocument document = TRY(JsonDocument::parse(*text, name + "/" + kManifestFile));
  JsonValue list = document.root();
  for (size_t i = 0; list.kind() == JsonValue::Kind::kObject && i < list.size(); i++) {
    std::string file(list.member_name(i));
    JsonValue size = list.member(i);
    auto expected = size.kind() == JsonValue::Kind::kNumber ? size.as_int64() : std::nullopt;
    struct stat st;
    if (!expected || file.find('/') != std::string::npos)
      return fail(Error::invalid("'" + name + "' is damaged: " + kManifestFile + " is not a list of sizes"));
    if (::fstatat(images, file.c_str(), &st, 0) < 0)
      return fail(Error::os("'" + name + "' is damaged: find the image", file));
    if (st.st_size != *expected)
      return fail(Error::invalid("'" + name + "' is damaged: " + file + " has " + std::to_string(st.st_size) +
                                 " bytes, and " + std::to_string(*expected) + " were written"));
  }
  return {};
}

Result<> check_criu_can(const RuntimeContext& context, const oci::Spec& spec) {
  if (context.rootless || ::geteuid() != 0)
    return fail(Error(ErrorKind::kPermission,
                      "CRIU needs root on the host (it opens other processes' memory and mounts); rootless "
                      "containers cannot be checkpointed or restored",
                      EPERM));
  bool cgroup_namespace = false;
  for (const auto& ns : spec.linux.namespaces) {
    if (ns.type == oci::NamespaceType::kCgroup && !ns.path.empty())
      return fail(Error::unsupported("linux.namespaces: CRIU cannot handle a cgroup namespace by path"));
    cgroup_namespace |= ns.type == oci::NamespaceType::kCgroup;
  }
  for (const auto& m : spec.mounts) {
    oci::MountFlags flags = TRY(oci::parse_mount_options(m.options));
    std::string where = "mount " + m.destination + ": ";
    if (flags.idmap || !m.uid_mappings.empty() || !m.gid_mappings.empty())
      return fail(Error::unsupported(where + "CRIU cannot handle id-mapped mounts"));
    if (flags.copy_symlink || flags.src_nofollow)
      return fail(Error::unsupported(where + "CRIU cannot handle a source that is not followed"));
    if (m.type == "cgroup" && !cgroup_namespace && host_cgroup_mode() != CgroupMode::kV2)
      return fail(Error::unsupported(
          where + "a cgroup v1 mount without a cgroup namespace cannot be checkpointed; add the namespace"));
  }
  return {};
}

void add_directories(ProtoWriter& request, const CriuDirectories& directories) {
  request.number(kImagesDirFd, static_cast<uint64_t>(directories.images.get()));
  if (directories.work) request.number(kWorkDirFd, static_cast<uint64_t>(directories.work.get()));
}

Result<ProtoWriter> common_request(const CriuOptions& options, const char* log_file, const oci::Spec& spec) {
  // criu_cg_mode
  constexpr std::pair<const char*, uint64_t> kModes[] = {
      {"soft", 3}, {"full", 4}, {"strict", 5}, {"ignore", 0}};
  auto mode = std::find_if(std::begin(kModes), std::end(kModes),
                           [&](const auto& m) { return options.manage_cgroups_mode == m.first; });
  if (mode == std::end(kModes))
    return fail(Error::invalid("option --manage-cgroups-mode: '" + options.manage_cgroups_mode +
                               "' is none of soft, full, strict, ignore"));
  constexpr uint64_t kLogDebug = 4, kNewNetwork = 0x40000000;
  ProtoWriter r;
  r.number(kLogLevel, kLogDebug);
  r.text(kLogFile, log_file);
  r.number(kNotifyScripts, 1);
  r.number(kManageCgroups, 1);
  r.number(kManageCgroupsMode, mode->second);
  r.number(kOrphanPtsMaster, 1);
  for (auto [field, value] :
       std::initializer_list<std::pair<CriuField, bool>>{{kExtUnixSk, options.ext_unix_sk},
                                                         {kTcpEstablished, options.tcp_established},
                                                         {kTcpClose, options.tcp_close},
                                                         {kShellJob, options.shell_job},
                                                         {kFileLocks, options.file_locks},
                                                         {kAutoDedup, options.auto_dedup},
                                                         {kLazyPages, options.lazy_pages}})
    if (value) r.number(field, 1);
  if (options.empty_network) r.number(kEmptyNs, kNewNetwork);
  std::string config = TRY(config_file(spec));
  if (!config.empty()) r.text(kConfigFile, config);
  return r;
}

Error explain_criu_failure(Error error, const std::string& log_path) {
  constexpr size_t kMostLines = 3;
  constexpr size_t kTail = 1 << 16;
  std::vector<std::string> lines;
  auto log = open_at(AT_FDCWD, log_path, O_RDONLY);
  if (log) {
    std::string tail(kTail, '\0');
    off_t size = ::lseek(log->get(), 0, SEEK_END);
    ssize_t n =
        ::pread(log->get(), tail.data(), tail.size(), std::max<off_t>(0, size - static_cast<off_t>(kTail)));
    tail.resize(n > 0 ? static_cast<size_t>(n) : 0);
    for (size_t at = 0; at < tail.size();) {
      size_t end = std::min(tail.find('\n', at), tail.size());
      std::string line = tail.substr(at, end - at);
      at = end + 1;
      size_t found = line.find("Error (");
      // Probing for tools is no failure, and that it failed is known.
      bool idle = line.ends_with("-V failed") || line.ends_with("FAILED.") ||
                  line.find("execvp(") != std::string::npos;
      if (found != std::string::npos && !idle) lines.push_back(line.substr(found));
    }
  }
  std::string text(trim(error.text()));
  std::erase_if(lines, [&](const std::string& line) { return text.find(line) != std::string::npos; });
  // The first of the last errors is nearest to the cause; later ones tell of what failed in its wake.
  if (lines.size() > kMostLines) lines.erase(lines.begin(), lines.end() - kMostLines);
  for (const auto& line : lines) text += (text.empty() ? "" : "; ") + line;
  if (text.empty()) text = "criu failed without saying why";
  if (log) text += " (log: " + log_path + ")";
  return Error(error.kind(), text, error.os_errno());
}

std::map<std::string, std::string> external_sources(const oci::Spec& spec) {
  std::map<std::string, std::string> sources;
  for (const auto& m : spec.mounts) {
    auto flags = oci::parse_mount_options(m.options);
    if (m.type == "bind" || (flags && flags->bind)) sources[clean_path(m.destination)] = m.source;
  }
  for (const auto& path : spec.linux.masked_paths) sources.emplace(clean_path(path), "/dev/null");
  for (const char* path : kDefaultDevices) sources.emplace(path, path);
  for (const auto& d : spec.linux.devices) sources.emplace(clean_path(d.path), clean_path(d.path));
  return sources;
}

namespace {

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3') {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Mount id -> mount point, as the process sees it.
Result<std::map<uint64_t, std::string>> mount_points(int pid) {
  std::string text = TRY(read_file("/proc/" + std::to_string(pid) + "/mountinfo"));
  std::map<uint64_t, std::string> points;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line(text.data() + at, end - at);
    at = end + 1;
    // "36 35 98:0 /mnt1 /mnt2 rw,noatime ...": the first and the fifth word.
    size_t start = 0;
    auto id = parse_u64(line.substr(0, line.find(' ')), "mountinfo");
    for (int i = 0; i < 4 && start != std::string_view::npos; i++) {
      start = line.find(' ', start);
      if (start != std::string_view::npos) start++;
    }
    if (!id || start == std::string_view::npos) continue;
    points[*id] = unescape(line.substr(start, line.find(' ', start) - start));
  }
  return points;
}

}  // namespace

Result<std::map<std::string, std::string>> external_mounts(const oci::Spec& spec, int init) {
  UniqueFd root = TRY(open_at(AT_FDCWD, "/proc/" + std::to_string(init) + "/root", O_PATH | O_DIRECTORY));
  std::map<uint64_t, std::string> points = TRY(mount_points(init));
  std::set<std::string> masked;
  for (const auto& path : spec.linux.masked_paths) masked.insert(clean_path(path));
  std::map<std::string, std::string> mounts;
  for (const auto& [name, source] : external_sources(spec)) {
    auto fd = sys::open_in_root(root.get(), name);
    if (!fd) continue;  // nothing to mask there, or unmounted by the container
    sys::MountPlace place = TRY(sys::mount_place(fd->get()));
    auto point = points.find(place.mount_id);
    if (!place.mount_root || point == points.end() || point->second == "/") continue;
    // A masked directory is a tmpfs of the container's own; only masked files are the host's /dev/null.
    if (place.directory && masked.contains(name)) continue;
    mounts.emplace(point->second, name);
  }
  return mounts;
}

std::vector<ExternalNamespace> external_namespaces(const oci::Spec& spec) {
  std::vector<ExternalNamespace> list;
  for (const auto& ns : spec.linux.namespaces) {
    if (ns.path.empty()) continue;
    // The names that runc and crun use, so that images can be exchanged.
    if (ns.type == oci::NamespaceType::kNetwork) list.push_back({&ns, "net", "extRootNetNS"});
    if (ns.type == oci::NamespaceType::kPid) list.push_back({&ns, "pid", "extRootPidNS"});
  }
  return list;
}

Result<std::vector<std::string>> standard_streams(int init) {
  std::string proc = "/proc/" + std::to_string(init);
  std::map<uint64_t, std::string> points = TRY(mount_points(init));
  std::vector<std::string> streams;
  for (int fd = 0; fd < 3; fd++) {
    std::string name = std::to_string(fd);
    char link[PATH_MAX];
    ssize_t n = ::readlink((proc + "/fd/" + name).c_str(), link, sizeof link);
    std::string target = n > 0 ? std::string(link, static_cast<size_t>(n)) : "";
    struct stat st;
    auto info = read_file(proc + "/fdinfo/" + name, 65536);
    size_t at = info ? info->find("mnt_id:") : std::string::npos;
    if (!target.empty() && target[0] == '/' && at != std::string::npos &&
        ::stat((proc + "/fd/" + name).c_str(), &st) == 0) {
      size_t end = std::min(info->find('\n', at), info->size());
      uint64_t id = TRY(parse_u64(trim(std::string_view(*info).substr(at + 7, end - at - 7)), "mnt_id"));
      bool device_or_file = S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && !target.starts_with("/dev/pts/"));
      if (!points.contains(id) && device_or_file) {
        char key[64];
        snprintf(key, sizeof key, "file[%lx:%lx]", static_cast<unsigned long>(id),
                 static_cast<unsigned long>(st.st_ino));
        target = key;
      }
    }
    streams.push_back(target);
  }
  return streams;
}

}  // namespace onggi::runtime
