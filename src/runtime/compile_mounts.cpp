// The file system part of a plan: root, mounts in the order given, cgroup hierarchies, devices, masks.
#include <linux/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "oci/mount_options.h"
#include "runtime/compile.h"
#include "runtime/mount_attributes.h"

#ifndef MS_REC
#define MS_RDONLY 1
#define MS_SYNCHRONOUS 16
#define MS_MANDLOCK 64
#define MS_DIRSYNC 128
#define MS_REC 16384
#define MS_PRIVATE (1 << 18)
#define MS_LAZYTIME (1 << 25)
#endif
#ifndef CLONE_NEWUSER
#define CLONE_NEWUSER 0x10000000
#define CLONE_NEWCGROUP 0x02000000
#define CLONE_NEWNET 0x40000000
#endif

namespace onggi::runtime {

std::string clean_path(const std::string& path) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (at < path.size()) {
    size_t end = std::min(path.find('/', at), path.size());
    std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(std::move(part));
    }
  }
  std::string out;
  for (const auto& part : parts) out += "/" + part;
  return out.empty() ? "/" : out;
}

namespace {

// Flags of the superblock, which the new mount interface takes as options.
struct SuperFlag {
  uint64_t ms;
  const char* name;
};
constexpr SuperFlag kSuperFlags[] = {
    {MS_SYNCHRONOUS, "sync"}, {MS_DIRSYNC, "dirsync"}, {MS_MANDLOCK, "mand"}, {MS_LAZYTIME, "lazytime"}};

// Kernel filesystems whose superblock is shared or must stay writable: read-only is a property of the mount
// alone.
constexpr const char* kKernelFilesystems[] = {"proc",    "sysfs",   "tmpfs",      "mqueue",
                                              "devpts",  "cgroup",  "cgroup2",    "devtmpfs",
                                              "debugfs", "tracefs", "securityfs", "bpf"};

// Files below /proc that a volume may replace (what lxcfs provides), as in runc.
constexpr const char* kProcFiles[] = {"/proc/cpuinfo",
                                      "/proc/diskstats",
                                      "/proc/meminfo",
                                      "/proc/stat",
                                      "/proc/swaps",
                                      "/proc/uptime",
                                      "/proc/loadavg",
                                      "/proc/slabinfo",
                                      "/proc/net/dev",
                                      "/proc/sys/kernel/ns_last_pid",
                                      "/proc/sys/crypto/fips_enabled"};

bool contains(const auto& list, const std::string& s) {
  return std::any_of(std::begin(list), std::end(list), [&](const char* e) { return s == e; });
}

constexpr uint32_t kDevPrefix = 5;  // "/dev/"

struct Compiler {
  const CompileInput& in;
  CompiledPlan& plan;
  PlanBuilder& b;
  const oci::Spec& spec;
  uint64_t created = 0, joined = 0;
  bool cgroup_ready = false;
  bool dev_kept =
      false;  // the container's /dev is a tmpfs that the child has open, and nothing is mounted over it

  Compiler(const CompileInput& input, CompiledPlan& p) : in(input), plan(p), b(p.builder), spec(*input.spec) {
    for (const auto& ns : spec.linux.namespaces)
      (ns.path.empty() ? created : joined) |= oci::clone_flag(ns.type);
  }

  bool user_namespace() const { return ((created | joined) & CLONE_NEWUSER) || in.rootless; }
  bool cgroup_namespace() const { return ((created | joined) & CLONE_NEWCGROUP) != 0; }

  // The cgroup is joined as late as possible: the parent makes it while this process mounts.
  void need_cgroup() {
    if (cgroup_ready) return;
    cgroup_ready = true;
    if (in.join_cgroup) b.add(Op::kJoinCgroup);
    if (created & CLONE_NEWCGROUP) b.add(Op::kUnshare).a = CLONE_NEWCGROUP;
  }

  MountStep base(const oci::Mount& m, const oci::MountFlags& f) {
    MountStep step;
    std::string destination = clean_path(m.destination);
    step.destination = b.string(destination);
    MountAttributes attributes = mount_attributes(f);
    step.attr_set = attributes.set;
    step.attr_clr = attributes.clear;
    step.rec_attr_set = f.rec_attr_set;
    step.rec_attr_clr = f.rec_attr_clr;
    for (size_t i = 0; i < f.propagation_steps.size() && i < 2; i++)
      step.propagation[i] = f.propagation_steps[i];
    if (f.dest_nofollow) step.flags |= kMountNoFollow;
    if (contains(kProcFiles, destination)) step.flags |= kMountAllowProc;
    return step;
  }

  void set_options(MountStep& step,
                   const std::vector<std::pair<std::string, std::optional<std::string>>>& data,
                   uint64_t ms_set, const std::string& fstype) {
    std::vector<uint32_t> pairs;
    auto add = [&](std::string_view key, const std::optional<std::string>& value) {
      pairs.push_back(b.string(key));
      pairs.push_back(value ? b.string(*value) : 0);
    };
    for (const auto& [key, value] : data) add(key, value);
    for (const auto& flag : kSuperFlags)
      if (ms_set & flag.ms) add(flag.name, std::nullopt);
    if ((ms_set & MS_RDONLY) && !contains(kKernelFilesystems, fstype)) add("ro", std::nullopt);
    if (!spec.linux.mount_label.empty() && in.selinux && fstype != "proc" && fstype != "sysfs" &&
        fstype != "mqueue")
      add("context", spec.linux.mount_label);
    step.option_count = static_cast<uint32_t>(pairs.size() / 2);
    step.options = pairs.empty() ? 0 : b.blob(pairs.data(), pairs.size() * sizeof(uint32_t));
  }

  void add_mount(Op op, const MountStep& step) {
    uint32_t at = b.object(step);
    b.add(op).str = at;
  }

  void add_new(const oci::Mount& m, const oci::MountFlags& f, const std::string& fstype,
               bool cgroup_top = false) {
    MountStep step = base(m, f);
    step.fstype = b.string(fstype);
    step.source = b.string(m.source.empty() ? fstype : m.source);
    set_options(step, f.data, f.ms_set, fstype);
    std::string destination = clean_path(m.destination);
    if (fstype == "proc" || fstype == "sysfs") {
      step.flags |= kMountDirectoryOnly | kMountAllowProc;
      if (user_namespace()) step.fallback = b.string(fstype == "proc" ? "/proc" : "/sys");
    }
    if (fstype == "tmpfs") {
      if (f.tmpcopyup) step.flags |= kMountCopyUp;
      // Devices, and the directories of later mounts, have to be made in it first.
      if (destination == "/dev") {
        step.attr_set &= ~static_cast<uint64_t>(MOUNT_ATTR_RDONLY);
        if (!f.tmpcopyup) {
          step.flags |= kMountKeepDev;
          dev_kept = true;
        }
      }
      if (std::none_of(f.data.begin(), f.data.end(), [](const auto& d) { return d.first == "mode"; }))
        step.mode = 0755;
    }
    if (in_kept_dev(destination) && !(step.flags & kMountCopyUp)) {
      step.name = step.destination + kDevPrefix;
      step.flags |= kMountInDev;
    }
    if (cgroup_top) step.flags |= kMountKeepCgroup;
    add_mount(Op::kMountNew, step);
  }

  bool in_kept_dev(const std::string& destination) const {
    return dev_kept && destination.size() > kDevPrefix && destination.rfind("/dev/", 0) == 0 &&
           destination.find('/', kDevPrefix) == std::string::npos;
  }

  Result<> add_bind(const oci::Mount& m, const oci::MountFlags& f, size_t index) {
    MountStep step = base(m, f);
    step.source = b.string(m.source);
    if (f.rbind) step.flags |= kMountRecursive;
    if (f.copy_symlink) step.flags |= kMountCopySymlink;
    if (f.src_nofollow || f.copy_symlink) step.flags |= kMountSourceNoFollow;
    for (const auto& p : in.prepared)
      if (p.index == index) step.fd = p.fd;
    if ((f.idmap || !m.uid_mappings.empty() || !m.gid_mappings.empty()) && step.fd < 0)
      return fail(Error::unsupported("mounts[" + std::to_string(index) + "]: id-mapped mount of '" +
                                     m.source +
                                     "' needs privileges over its filesystem; run the runtime as root"));
    add_mount(Op::kMountBind, step);
    return {};
  }

  // --- cgroup ---

  void add_cgroup2(const oci::Mount& m, const oci::MountFlags& f, const std::string& own) {
    MountStep step = base(m, f);
    step.fstype = b.string("cgroup2");
    step.source = b.string("cgroup");
    set_options(step, f.data, f.ms_set, "cgroup2");
    // Without the right to mount it: the container's own cgroup, or all there is.
    step.fallback = b.string(own.empty() || !cgroup_namespace() ? "/sys/fs/cgroup" : own);
    add_mount(Op::kMountNew, step);
  }

  // Controller names per hierarchy directory: {"cpu,cpuacct" -> (names, this container's directory)}.
  struct Hierarchy {
    std::vector<std::string> controllers;
    std::string own;
  };
  std::vector<std::pair<std::string, Hierarchy>> hierarchies() const {
    std::vector<std::pair<std::string, Hierarchy>> list;
    if (!in.cgroup) return list;
    constexpr std::string_view kMountPoint = "/sys/fs/cgroup/";
    for (const auto& [controller, path] : in.cgroup->paths) {
      if (controller.empty() || path.rfind(kMountPoint, 0) != 0) continue;
      std::string name =
          path.substr(kMountPoint.size(), path.find('/', kMountPoint.size()) - kMountPoint.size());
      auto it = std::find_if(list.begin(), list.end(), [&](const auto& e) { return e.first == name; });
      if (it == list.end()) it = list.insert(list.end(), {name, {}});
      it->second.controllers.push_back(controller);
      it->second.own = path;
    }
    return list;
  }

  void add_cgroup1(const oci::Mount& m, const oci::MountFlags& f) {
    oci::Mount tmpfs = m;
    oci::MountFlags tmpfs_flags = f;
    tmpfs.source = "tmpfs";
    tmpfs_flags.ms_set &= ~static_cast<uint64_t>(MS_RDONLY);
    tmpfs_flags.data = {{"mode", "755"}};
    add_new(tmpfs, tmpfs_flags, "tmpfs", true);
    std::string top = clean_path(m.destination);
    uint32_t attr = static_cast<uint32_t>(mount_attr_bits(f.ms_set));
    for (const auto& [name, h] : hierarchies()) {
      MountStep step;
      step.destination = b.string(top + "/" + name);
      step.name = step.destination + static_cast<uint32_t>(top.size()) + 1;
      step.flags = kMountInCgroup;
      step.attr_set = attr;
      step.source = b.string(cgroup_namespace() ? "cgroup" : h.own);
      if (cgroup_namespace()) {
        step.fstype = b.string("cgroup");
        std::vector<std::pair<std::string, std::optional<std::string>>> data;
        for (const auto& c : h.controllers) {
          if (c.rfind("name=", 0) == 0)
            data.emplace_back("name", c.substr(5));
          else
            data.emplace_back(c, std::nullopt);
        }
        set_options(step, data, 0, "cgroup");
        // The root of a new namespace is the container's own cgroup, so a bind of it shows the same as a new
        // mount, at half the cost. A namespace that is joined may have another root.
        if (created & CLONE_NEWCGROUP) step.flags |= kMountPreferBind;
      } else {
        step.flags |= kMountPreferBind;
      }
      step.fallback = b.string(h.own);
      add_mount(Op::kMountNew, step);
      // "cpu,cpuacct": each controller is found under its own name, too.
      for (const auto& c : h.controllers) {
        if (c == name || c.rfind("name=", 0) == 0) continue;
        uint32_t target = b.string(name), link = b.string(top + "/" + c);
        Step& s = b.add(Op::kSymlink);
        s.str = target;
        s.str_b = link;
        s.a = link + top.size() + 1;
        s.flags = kInCgroup;
      }
    }
    if (f.ms_set & MS_RDONLY) {
      uint32_t path = b.string(top);
      Step& s = b.add(Op::kPathAttr);
      s.str = path;
      s.flags = kInCgroup;
      s.a = MOUNT_ATTR_RDONLY;
    }
  }

  Result<> add_cgroup(const oci::Mount& m, const oci::MountFlags& f) {
    need_cgroup();
    std::string own;
    if (in.cgroup)
      for (const auto& [controller, path] : in.cgroup->paths)
        if (controller.empty()) own = path;
    if (in.cgroup_mode == CgroupMode::kV2 || m.type == "cgroup2")
      add_cgroup2(m, f, own);
    else if (in.cgroup_mode == CgroupMode::kNone)
      return fail(Error::unsupported("mounts: cgroup on '" + m.destination +
                                     "': this host has no cgroup filesystem mounted "
                                     "at /sys/fs/cgroup"));
    else
      add_cgroup1(m, f);
    return {};
  }

  Result<> add(const oci::Mount& m, size_t index) {
    oci::MountFlags f = TRY(oci::parse_mount_options(m.options));
    if (f.propagation_steps.size() > 2)
      return fail(Error::invalid("mounts[" + std::to_string(index) + "]: more than two propagation options"));
    std::string destination = clean_path(m.destination);
    if (destination == "/" || destination == "/dev") dev_kept = false;
    if (f.bind || m.type == "bind") return add_bind(m, f, index);
    if (f.idmap)
      return fail(Error::invalid("mounts[" + std::to_string(index) + "]: idmap is for bind mounts, not for " +
                                 m.type));
    if (m.type == "cgroup" || m.type == "cgroup2") return add_cgroup(m, f);
    if (m.type.empty() || m.type == "none")
      return fail(Error::invalid("mounts[" + std::to_string(index) + "]: '" + m.destination +
                                 "' has no type and no bind option"));
    add_new(m, f, m.type);
    return {};
  }

  // --- devices ---

  void add_device(const std::string& path, uint32_t mode, uint64_t dev, uint32_t uid, uint32_t gid) {
    DeviceStep d;
    d.path = b.string(path);
    if (path.rfind("/dev/", 0) == 0 && path.find('/', kDevPrefix) == std::string::npos)
      d.in_dev = d.path + kDevPrefix;
    d.mode = mode;
    d.dev = dev;
    d.uid = uid;
    d.gid = gid;
    d.bind = user_namespace() ? 1 : 0;
    uint32_t at = b.object(d);
    Step& s = b.add(Op::kDevice);
    s.str = at;
    if (d.in_dev) s.flags = kInDev;
  }

  // The kernel's encoding of a device number for mknod(2).
  static uint64_t kernel_dev(int64_t major, int64_t minor) {
    auto ma = static_cast<uint64_t>(major), mi = static_cast<uint64_t>(minor);
    return (mi & 0xff) | (ma & 0xfff) << 8 | (mi & ~0xffULL) << 12;
  }

  void add_devices() {
    struct Default {
      const char* path;
      int major, minor;
    };
    // config-linux.md, "Default Devices"; console and ptmx are set up with the terminal and devpts.
    constexpr Default kDefaults[] = {{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
                                     {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0}};
    if (!dev_kept) b.add(Op::kOpenDev);
    for (const auto& d : kDefaults) {
      bool given = std::any_of(spec.linux.devices.begin(), spec.linux.devices.end(),
                               [&](const oci::Device& e) { return clean_path(e.path) == d.path; });
      if (!given) add_device(d.path, S_IFCHR | 0666, kernel_dev(d.major, d.minor), 0, 0);
    }
    for (const auto& d : spec.linux.devices) {
      uint32_t type = d.type == "b" ? S_IFBLK : d.type == "p" ? S_IFIFO : S_IFCHR;
      std::string path = clean_path(d.path);
      if (path == "/dev/ptmx") continue;  // always pts/ptmx: another instance's would be a way out
      add_device(path, type | (d.file_mode.value_or(0666) & 07777),
                 type == S_IFIFO ? 0 : kernel_dev(d.major, d.minor), d.uid.value_or(0), d.gid.value_or(0));
    }
    constexpr std::pair<const char*, const char*> kLinks[] = {{"/proc/self/fd", "/dev/fd"},
                                                              {"/proc/self/fd/0", "/dev/stdin"},
                                                              {"/proc/self/fd/1", "/dev/stdout"},
                                                              {"/proc/self/fd/2", "/dev/stderr"},
                                                              {"/proc/kcore", "/dev/core"}};
    for (const auto& [target, path] : kLinks) {
      uint32_t to = b.string(target), at = b.string(path);
      Step& s = b.add(Op::kSymlink);
      s.str = to;
      s.str_b = at;
      s.a = at + kDevPrefix;
      s.flags = kInDev;
    }
    b.add(Op::kPtmx);
    // The terminal is bound there at the end, when /dev may be read-only.
    if (spec.process && spec.process->terminal) {
      uint32_t at = b.string("/dev/console");
      b.add(Op::kTouch).str = at;
    }
  }

  bool dev_is_bound() const {
    return std::any_of(spec.mounts.begin(), spec.mounts.end(), [](const oci::Mount& m) {
      if (clean_path(m.destination) != "/dev") return false;
      return m.type == "bind" || std::find(m.options.begin(), m.options.end(), "bind") != m.options.end() ||
             std::find(m.options.begin(), m.options.end(), "rbind") != m.options.end();
    });
  }
};

}  // namespace

constexpr uint64_t kShared = 1 << 20, kSlave = 1 << 19, kUnbindable = 1 << 17;  // MS_*

Result<> compile_mounts(const CompileInput& in, CompiledPlan& plan) {
  // Left out, the container's files would have no label where a policy counts on one.
  if (!in.spec->linux.mount_label.empty() && !in.selinux)
    return fail(Error::unsupported(
        "linux.mountLabel '" + in.spec->linux.mount_label +
        "': SELinux is disabled on this host or not built into its kernel, remove the label"));
  Compiler c(in, plan);
  PlanBuilder& b = plan.builder;
  uint64_t propagation = MS_PRIVATE | MS_REC;
  // A mount that wants to see the host's later mounts needs a master: the tree then starts as a slave of the
  // host's.
  for (const auto& m : in.spec->mounts)
    for (const auto& option : m.options)
      if (option == "slave" || option == "rslave" || option == "shared" || option == "rshared")
        propagation = kSlave | MS_REC;
  if (!in.spec->linux.rootfs_propagation.empty()) {
    uint64_t wanted = oci::propagation_flag(in.spec->linux.rootfs_propagation) | MS_REC;
    // pivot_root refuses shared parents: "shared" is applied to the new root at the end, its tree starts as a
    // slave.
    propagation = (wanted & (kShared | kSlave)) ? (kSlave | MS_REC)
                  : (wanted & kUnbindable)      ? (MS_PRIVATE | MS_REC)
                                                : wanted;
  }
  b.add(Op::kMakePropagation).a = propagation;
  b.add(Op::kUmask).a = 0;
  Step& root = b.add(Op::kAttachRoot);
  root.fd_a = in.root_tree_fd;
  root.a = MS_REC;
  for (size_t i = 0; i < in.spec->mounts.size(); i++) TRY_VOID(c.add(in.spec->mounts[i], i));
  c.need_cgroup();
  if (!c.dev_is_bound()) c.add_devices();
  return {};
}

Result<> compile_final_mounts(const CompileInput& in, CompiledPlan& plan) {
  const oci::Spec& spec = *in.spec;
  PlanBuilder& b = plan.builder;
  for (const auto& m : spec.mounts) {
    if (clean_path(m.destination) != "/dev" || m.type != "tmpfs") continue;
    oci::MountFlags f = TRY(oci::parse_mount_options(m.options));
    if (!(f.ms_set & MS_RDONLY)) continue;
    uint32_t path = b.string("/dev");
    Step& s = b.add(Op::kPathAttr);
    s.str = path;
    s.a = MOUNT_ATTR_RDONLY;
  }
  for (const auto& path : spec.linux.readonly_paths) {
    uint32_t at = b.string(path);
    b.add(Op::kReadonly).str = at;
  }
  for (const auto& path : spec.linux.masked_paths) {
    uint32_t at = b.string(path);
    b.add(Op::kMask).str = at;
  }
  if (spec.process && !spec.process->cwd.empty() && spec.process->cwd != "/") {
    uint32_t at = b.string(spec.process->cwd);
    Step& s = b.add(Op::kMkdir);
    s.str = at;
    s.a = 0755;
  }
  if (spec.root.readonly) b.add(Op::kRootAttr).a = MOUNT_ATTR_RDONLY;
  b.add(Op::kPivot).a = in.no_pivot ? 1 : 0;
  if (!spec.linux.rootfs_propagation.empty())
    b.add(Op::kRootPropagation).a = oci::propagation_flag(spec.linux.rootfs_propagation);
  return {};
}

}  // namespace onggi::runtime
