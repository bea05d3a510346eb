// The last part of a plan: from a process in its namespaces to the program of process.args.
//
// Order: limits and scheduling while privileges last; LSM labels; then, without no_new_privs, the filter
// (loading it needs CAP_SYS_ADMIN) before capabilities go; identity; capabilities; the checks that let
// `create` report a missing program; the wait for start; and with no_new_privs the filter as the very last
// thing before exec.
#include <algorithm>

#include "oci/capability.h"
#include "runtime/compile.h"
#include "runtime/process_attributes.h"

namespace onggi::runtime {

namespace {

constexpr const char* kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// The last assignment of a name wins, at the place of the first.
std::vector<std::string> unique_env(const std::vector<std::string>& env) {
  std::vector<std::string> out;
  for (const auto& entry : env) {
    size_t name = entry.find('=');
    auto same = std::find_if(out.begin(), out.end(), [&](const std::string& e) {
      return name != std::string::npos && e.compare(0, name + 1, entry, 0, name + 1) == 0;
    });
    if (same == out.end())
      out.push_back(entry);
    else
      *same = entry;
  }
  return out;
}

std::optional<std::string> env_value(const std::vector<std::string>& env, std::string_view name) {
  for (const auto& e : env)
    if (e.size() > name.size() && e[name.size()] == '=' && e.compare(0, name.size(), name) == 0)
      return e.substr(name.size() + 1);
  return std::nullopt;
}

std::vector<std::string> exec_candidates(const std::string& program, const std::vector<std::string>& env) {
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> list;
  std::string path = env_value(env, "PATH").value_or(kDefaultPath);
  size_t at = 0;
  while (at <= path.size()) {
    size_t end = std::min(path.find(':', at), path.size());
    std::string dir = path.substr(at, end - at);
    at = end + 1;
    list.push_back((dir.empty() ? "." : dir) + "/" + program);
  }
  return list;
}

struct ProcessCompiler {
  const ProcessInput& in;
  CompiledPlan& plan;
  PlanBuilder& b;
  const oci::Process& p;

  void write_attr(const std::string& file, const std::string& text) {
    uint32_t path = b.string(file), value = b.string(text);
    Step& s = b.add(Op::kWriteProc);
    s.fd_a = in.proc_fd;
    s.str = path;
    s.str_b = value;
    s.a = text.size();
  }

  Result<> labels() {
    if (!p.apparmor_profile.empty()) {
      if (!in.apparmor)
        return fail(Error::unsupported(
            "process.apparmorProfile '" + p.apparmor_profile +
            "': AppArmor is not enabled on this host (no /sys/module/apparmor); leave it out"));
      write_attr("thread-self/attr/apparmor/exec", "exec " + p.apparmor_profile);
    }
    if (!p.selinux_label.empty()) {
      if (!in.selinux)
        return fail(Error::unsupported(
            "process.selinuxLabel '" + p.selinux_label +
            "': selinux label is specified in config, but selinux is disabled or not supported"));
      write_attr("thread-self/attr/exec", p.selinux_label);
    }
    return {};
  }

  Result<> scheduling() {
    if (p.scheduler) {
      SchedAttr attr = TRY(to_sched_attr(*p.scheduler));
      uint32_t at = b.object(attr);
      b.add(Op::kSchedAttr).str = at;
    }
    if (p.io_priority) b.add(Op::kIoPriority).a = TRY(to_ioprio(*p.io_priority));
    if (in.linux && in.linux->memory_policy) {
      MemPolicy policy = TRY(to_mempolicy(*in.linux->memory_policy));
      uint32_t at =
          policy.nodes.empty() ? 0 : b.blob(policy.nodes.data(), policy.nodes.size() * sizeof(uint64_t));
      Step& s = b.add(Op::kMemoryPolicy);
      s.a = policy.mode;
      s.str = at;
      s.b = policy.nodes.empty() ? 0 : policy.nodes.size() * 64 + 1;
    }
    if (in.linux && in.linux->personality)
      b.add(Op::kPersonality).a = TRY(to_personality(*in.linux->personality));
    return {};
  }

  Result<> rlimits() {
    for (const auto& limit : p.rlimits) {
      int resource = TRY(rlimit_number(limit.type));
      Step& s = b.add(Op::kRlimit);
      s.a = static_cast<uint64_t>(resource);
      s.b = limit.soft;
      s.c = limit.hard;
    }
    return {};
  }

  void groups_and_ids() {
    const auto& user = p.user;
    if (!in.deny_setgroups) {
      std::vector<uint32_t> gids = user.additional_gids;
      uint32_t at = gids.empty() ? 0 : b.blob(gids.data(), gids.size() * sizeof(uint32_t));
      Step& s = b.add(Op::kSetGroups);
      s.str = at;
      s.a = gids.size();
    }
    Step& ids = b.add(Op::kSetIds);
    ids.a = user.uid;
    ids.b = user.gid;
  }

  static uint64_t mask(const std::vector<std::string>& names) {
    uint64_t bits = 0;
    for (const auto& name : names)
      if (auto number = oci::capability_number(name)) bits |= 1ULL << *number;
    return bits;
  }

  // The child leaves out what it does not have itself: a runtime that was itself confined can give no more.
  void capabilities() {
    oci::Capabilities caps = p.capabilities.value_or(oci::Capabilities{});
    uint64_t permitted = mask(caps.permitted), inheritable = mask(caps.inheritable);
    Step& set = b.add(Op::kCapSet);
    set.a = mask(caps.effective);
    set.b = permitted;
    set.c = inheritable;
    b.add(Op::kCapAmbient).a = mask(caps.ambient) & permitted & inheritable;
  }

  void bounding() {
    oci::Capabilities caps = p.capabilities.value_or(oci::Capabilities{});
    Step& s = b.add(Op::kCapBound);
    s.a = mask(caps.bounding);
    s.b = oci::kLastCapability;
  }

  void seccomp() {
    if (!in.seccomp || in.seccomp->code.empty()) return;
    uint32_t at = b.blob(in.seccomp->code.data(), in.seccomp->code.size() * sizeof(uint64_t));
    Step& s = b.add(Op::kSeccomp);
    s.str = at;
    s.a = in.seccomp->code.size();
    s.b = in.seccomp->flags;
    if (in.seccomp->notifies) s.flags = kWantListener;
  }

  void terminal() {
    b.add(Op::kSetsid);
    if (!p.terminal) return;
    Step& s = b.add(Op::kConsole);
    if (in.console_bind) s.flags = kConsoleBind;
    if (p.console_size) s.b = static_cast<uint64_t>(p.console_size->height) << 32 | p.console_size->width;
  }

  void program() {
    std::vector<std::string> env = unique_env(p.env);
    auto home = env_value(env, "HOME");
    b.set_program(p.args, env, exec_candidates(p.args.empty() ? "" : p.args[0], env));
    if (!home || home->empty()) b.add(Op::kHome).a = p.user.uid;
  }

  Result<> run();
};

Result<> ProcessCompiler::run() {
  if (in.bare) {
    program();
    if (in.seccomp && !in.seccomp->notifies) seccomp();
    b.add(Op::kExec);
    return {};
  }
  terminal();
  if (!in.keyring.empty()) {
    uint32_t name = b.string(in.keyring);
    b.add(Op::kKeyring).str = name;
  }
  TRY_VOID(scheduling());
  TRY_VOID(labels());
  bool late_filter = p.no_new_privileges && !(in.seccomp && in.seccomp->notifies);
  b.add(Op::kUmask).a = p.user.umask.value_or(0022);
  b.add(Op::kFixStdio).a = p.user.uid;
  if (p.no_new_privileges) b.add(Op::kNoNewPrivs);
  bounding();
  // The user's directory may be closed to root (NFS, DAC without override): tried before and after the change
  // of user.
  uint32_t cwd = b.string(p.cwd.empty() ? "/" : p.cwd);
  Step& before = b.add(Op::kCwd);
  before.str = cwd;
  before.flags = kTolerateEperm;
  TRY_VOID(rlimits());
  // Only a change to another user than 0 takes capabilities away (capabilities(7), "Effect of user ID
  // changes").
  bool loses = p.user.uid != 0;
  if (loses) b.add(Op::kKeepCaps).a = 1;
  groups_and_ids();
  // The change of user cleared the effective set; the last steps need it once more.
  if (loses) b.add(Op::kCapSet).flags = kRaiseAll;
  if (!p.no_new_privileges) seccomp();
  capabilities();
  if (loses) b.add(Op::kKeepCaps).a = 0;
  b.add(Op::kCwd).str = cwd;
  program();
  b.add(Op::kFindExec);
  if (p.no_new_privileges && !late_filter) seccomp();
  if (in.sync_created)
    b.add(Op::kSync).a = static_cast<uint64_t>(SyncPoint::kCreated);
  else
    b.add(Op::kReady);
  if (in.exec_fifo >= 0) {
    Step& wait = b.add(Op::kWaitStart);
    wait.fd_a = in.exec_fifo;
    wait.fd_b = in.status_fifo;
    wait.a = in.start_hooks ? 1 : 0;
  }
  if (late_filter) seccomp();
  b.add(Op::kExec);
  return {};
}

}  // namespace

Result<> compile_process(const ProcessInput& in, CompiledPlan& plan) {
  ProcessCompiler compiler{in, plan, plan.builder, *in.process};
  return compiler.run();
}

}  // namespace onggi::runtime
