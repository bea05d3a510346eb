// The top level of config.json and the process object (config.md).
#include "oci/check.h"

#include <algorithm>
#include <set>

#include "oci/capability.h"
#include "oci/check_internal.h"

namespace onggi::oci {
namespace {

constexpr uint32_t kNoId = UINT32_MAX;  // (uid_t)-1 means "leave as it is" to the kernel, never an id

bool is_identifier_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

// Semantic Versioning 2.0.0, section 2 and 9-10: MAJOR.MINOR.PATCH[-pre.release][+build].
bool is_semver(std::string_view version) {
  std::string_view rest = version;
  for (int part = 0; part < 3; part++) {
    size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
    if (digits == 0 || (digits > 1 && rest[0] == '0')) return false;
    rest.remove_prefix(digits);
    if (part == 2) break;
    if (!rest.starts_with('.')) return false;
    rest.remove_prefix(1);
  }
  for (char lead : {'-', '+'}) {
    if (!rest.starts_with(lead)) continue;
    rest.remove_prefix(1);
    size_t length = 0, in_identifier = 0;
    for (; length < rest.size() && (is_identifier_char(rest[length]) || rest[length] == '.'); length++) {
      if (rest[length] != '.')
        in_identifier++;
      else if (std::exchange(in_identifier, 0) == 0)
        return false;
    }
    if (in_identifier == 0) return false;
    rest.remove_prefix(length);
  }
  return rest.empty();
}

Result<> check_version(const std::string& version) {
  if (version.empty())
    return broken("ociVersion", "missing, write the version of the specification, e.g. \"1.3.0\"");
  if (!is_semver(version))
    return broken("ociVersion", quoted(version) + " is not a semantic version (MAJOR.MINOR.PATCH)");
  if (!version.starts_with("1."))
    return broken("ociVersion", quoted(version) + " is not supported, this runtime knows 1.x");
  return {};
}

Result<> check_user(const User& user, const CheckContext& context) {
  if (user.uid == kNoId) return broken("process.user.uid", "4294967295 is not an id");
  if (user.gid == kNoId) return broken("process.user.gid", "4294967295 is not an id");
  // umask(2) looks at the low nine bits only.
  if (user.umask && *user.umask > 0777)
    context.warn("process.user.umask: the bits of " + std::to_string(*user.umask) +
                 " above 0777 (511) are ignored");
  for (size_t i = 0; i < user.additional_gids.size(); i++)
    if (user.additional_gids[i] == kNoId)
      return broken(at("process.user.additionalGids", i), "4294967295 is not an id");
  return {};
}

void warn_unknown_capabilities(const Capabilities& caps, const CheckContext& context) {
  std::set<std::string> unknown;
  for (const auto* set : {&caps.bounding, &caps.effective, &caps.inheritable, &caps.permitted, &caps.ambient})
    for (const std::string& name : *set)
      if (!capability_number(name)) unknown.insert(name);
  for (const std::string& name : unknown)
    context.warn("process.capabilities: " + quoted(name) + " is no capability of this runtime, ignored");
  // capabilities(7): an ambient capability must be permitted and inheritable. The usual default configuration
  // lists ambient capabilities that are not inheritable; only what is not even permitted is worth a word.
  auto lists = [](const std::vector<std::string>& set, const std::string& name) {
    return std::find(set.begin(), set.end(), name) != set.end();
  };
  for (const std::string& name : caps.ambient)
    if (!unknown.count(name) && !lists(caps.permitted, name))
      context.warn("process.capabilities.ambient: " + quoted(name) + " is not permitted, ignored");
}

Result<> check_rlimits(const std::vector<Rlimit>& limits) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < limits.size(); i++) {
    const Rlimit& limit = limits[i];
    std::string member = at("process.rlimits", i);
    if (limit.type.empty()) return broken(member + ".type", "missing");
    if (!seen.insert(limit.type).second) return broken(member, quoted(limit.type) + " is listed twice");
    if (limit.soft > limit.hard)
      return broken(member, limit.type + ": soft " + std::to_string(limit.soft) + " is over hard " +
                                std::to_string(limit.hard));
  }
  return {};
}

Result<> check_scheduler(const Scheduler& s) {
  if (s.policy.empty()) return broken("process.scheduler.policy", "missing");
  if (s.nice < -20 || s.nice > 19)
    return broken("process.scheduler.nice", std::to_string(s.nice) + " is not from -20 to 19");
  if (s.priority != 0 && s.policy != "SCHED_FIFO" && s.policy != "SCHED_RR")
    return broken("process.scheduler.priority", "only SCHED_FIFO and SCHED_RR have one");
  if (s.policy != "SCHED_DEADLINE" && (s.runtime || s.deadline || s.period))
    return broken("process.scheduler", "runtime, deadline and period belong to SCHED_DEADLINE only");
  return {};
}

Result<> check_io_priority(const IoPriority& p) {
  constexpr std::string_view kClasses[] = {"IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"};
  if (std::ranges::find(kClasses, p.io_class) == std::end(kClasses))
    return broken("process.ioPriority.class", quoted(p.io_class) + " is none of IOPRIO_CLASS_RT, _BE, _IDLE");
  if (p.priority < 0 || p.priority > 7)
    return broken("process.ioPriority.priority", std::to_string(p.priority) + " is not from 0 to 7");
  return {};
}

// "0-3, 7": spaces around and empty parts are let through, as the field's runtimes do.
Result<> check_cpu_list(const std::string& list, const std::string& member) {
  std::string_view rest = list;
  while (!rest.empty()) {
    std::string_view part = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (part.empty()) continue;
    uint64_t bounds[2] = {0, 0};
    size_t dash = part.find('-');
    std::string_view ends[2] = {part.substr(0, dash),
                                dash == std::string_view::npos ? part : part.substr(dash + 1)};
    for (int i = 0; i < 2; i++) {
      bool digits = !ends[i].empty() && ends[i].size() < 8 &&
                    ends[i].find_first_not_of("0123456789") == std::string_view::npos;
      if (!digits) return broken(member, quoted(part) + " is neither a CPU nor a range of CPUs");
      for (char c : ends[i]) bounds[i] = bounds[i] * 10 + static_cast<uint64_t>(c - '0');
    }
    if (bounds[0] > bounds[1]) return broken(member, quoted(part) + " ends before it begins");
  }
  return {};
}

Result<> check_hooks(const std::vector<Hook>& hooks, const char* kind) {
  for (size_t i = 0; i < hooks.size(); i++) {
    std::string member = at(std::string("hooks.") + kind, i);
    if (!is_absolute(hooks[i].path))
      return broken(member + ".path", quoted(hooks[i].path) + " is not an absolute path");
    if (hooks[i].timeout && *hooks[i].timeout <= 0)
      return broken(member + ".timeout", std::to_string(*hooks[i].timeout) + " is not greater than zero");
  }
  return {};
}

Result<> check_all_hooks(const Hooks& hooks) {
  TRY_VOID(check_hooks(hooks.prestart, "prestart"));
  TRY_VOID(check_hooks(hooks.create_runtime, "createRuntime"));
  TRY_VOID(check_hooks(hooks.create_container, "createContainer"));
  TRY_VOID(check_hooks(hooks.start_container, "startContainer"));
  TRY_VOID(check_hooks(hooks.poststart, "poststart"));
  return check_hooks(hooks.poststop, "poststop");
}

}  // namespace

Result<> check_process(const Process& process, std::vector<std::string>* warnings) {
  CheckContext context{warnings};
  if (process.args.empty()) return broken("process.args", "empty, name the program to start");
  if (process.cwd.empty()) return broken("process.cwd", "missing");
  if (!is_absolute(process.cwd))
    return broken("process.cwd", quoted(process.cwd) + " is not an absolute path");
  TRY_VOID(check_user(process.user, context));
  for (const std::string& variable : process.env)
    if (variable.find('=') == std::string::npos || variable.starts_with('='))
      context.warn("process.env: " + quoted(variable) + " is not NAME=VALUE");
  if (process.capabilities) warn_unknown_capabilities(*process.capabilities, context);
  TRY_VOID(check_rlimits(process.rlimits));
  if (process.oom_score_adj && (*process.oom_score_adj < -1000 || *process.oom_score_adj > 1000))
    return broken("process.oomScoreAdj",
                  std::to_string(*process.oom_score_adj) + " is not from -1000 to 1000");
  if (process.scheduler) TRY_VOID(check_scheduler(*process.scheduler));
  if (process.io_priority) TRY_VOID(check_io_priority(*process.io_priority));
  if (process.exec_cpu_affinity) {
    TRY_VOID(check_cpu_list(process.exec_cpu_affinity->initial, "process.execCPUAffinity.initial"));
    TRY_VOID(check_cpu_list(process.exec_cpu_affinity->final, "process.execCPUAffinity.final"));
  }
  return {};
}

Result<> check_spec(const Spec& spec, std::vector<std::string>* warnings) {
  CheckContext context{warnings};
  TRY_VOID(check_version(spec.oci_version));
  if (spec.root.path.empty())
    return broken("root.path", "missing, name the directory of the root file system");
  if (!spec.process) return broken("process", "missing, say what to start");
  TRY_VOID(check_process(*spec.process, warnings));
  for (const auto& [key, value] : spec.annotations)
    if (key.empty()) return broken("annotations", "a key is empty");
  TRY_VOID(check_all_hooks(spec.hooks));
  TRY_VOID(check_mounts(spec, context));
  return check_linux(spec, context);
}

}  // namespace onggi::oci
