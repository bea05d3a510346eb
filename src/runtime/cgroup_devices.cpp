#include "runtime/cgroup_devices.h"

#include <algorithm>

#include "base/file.h"

namespace onggi::runtime {
namespace {

// What every container may use, whatever the specification of it says: the default devices of config-linux.md
// "Default Devices", pseudo terminals, and making (not opening) any device node, which only CAP_MKNOD permits
// anyway and which package managers and image builders do.
struct DefaultRule {
  char type;
  int64_t major, minor;
  const char* access;
  const char* why;
};
constexpr DefaultRule kDefaults[] = {
    {'c', -1, -1, "m", "mknod of character devices; opening them stays denied"},
    {'b', -1, -1, "m", "mknod of block devices; opening them stays denied"},
    {'c', 1, 3, "rwm", "/dev/null"},
    {'c', 1, 5, "rwm", "/dev/zero"},
    {'c', 1, 7, "rwm", "/dev/full"},
    {'c', 1, 8, "rwm", "/dev/random"},
    {'c', 1, 9, "rwm", "/dev/urandom"},
    {'c', 5, 0, "rwm", "/dev/tty"},
    {'c', 5, 1, "rwm", "/dev/console"},
    {'c', 5, 2, "rwm", "/dev/ptmx"},
    {'c', 136, -1, "rwm", "/dev/pts/*"},
};

enum : unsigned { kMknod = 1, kRead = 2, kWrite = 4, kAll = 7 };  // as BPF_DEVCG_ACC_*

unsigned bits_of(const DeviceAccess& a) {
  return (a.read ? kRead : 0u) | (a.write ? kWrite : 0u) | (a.mknod ? kMknod : 0u);
}

bool is_everything(const DeviceAccess& a) {
  return a.type == 'a' && a.major < 0 && a.minor < 0 && bits_of(a) == kAll;
}

Result<> parse_access(std::string_view text, DeviceAccess& out, const std::string& where) {
  if (text.empty()) text = "rwm";
  for (char c : text) {
    if (c == 'r')
      out.read = true;
    else if (c == 'w')
      out.write = true;
    else if (c == 'm')
      out.mknod = true;
    else
      return fail(Error::invalid(where + ".access: '" + std::string(text) +
                                 "' may only hold the letters r, w and m"));
  }
  return {};
}

// The kernel's exceptions of v1, and what policies are reduced to for it.
struct Exception {
  char type;
  int64_t major, minor;
  unsigned bits;
};
bool same_device(const Exception& a, const Exception& b) {
  return a.type == b.type && a.major == b.major && a.minor == b.minor;
}
bool covers(const Exception& wide, const Exception& narrow) {
  return wide.type == narrow.type && (wide.major < 0 || wide.major == narrow.major) &&
         (wide.minor < 0 || wide.minor == narrow.minor);
}
bool overlaps(const Exception& a, const Exception& b) {
  return a.type == b.type && (a.major < 0 || b.major < 0 || a.major == b.major) &&
         (a.minor < 0 || b.minor < 0 || a.minor == b.minor);
}

std::string access_text(unsigned bits) {
  std::string text;
  if (bits & kRead) text += 'r';
  if (bits & kWrite) text += 'w';
  if (bits & kMknod) text += 'm';
  return text;
}
std::string device_text(const Exception& e) {
  return std::string(1, e.type) + " " + (e.major < 0 ? "*" : std::to_string(e.major)) + ":" +
         (e.minor < 0 ? "*" : std::to_string(e.minor));
}
DeviceWrite write_of(bool allow, const Exception& e, unsigned bits) {
  return {allow, device_text(e) + " " + access_text(bits)};
}

void add_exception(std::vector<Exception>& all, const Exception& e) {
  for (Exception& have : all) {
    if (same_device(have, e)) {
      have.bits |= e.bits;
      return;
    }
  }
  all.push_back(e);
}

// A rule that restores the default: takes the bits away from what it covers; a hole in something wider cannot
// be made.
Result<> remove_exception(std::vector<Exception>& all, const Exception& e, bool allow) {
  for (Exception& have : all) {
    if (covers(e, have)) {
      have.bits &= ~e.bits;
    } else if (overlaps(e, have) && (e.bits & have.bits)) {
      return fail(Error::invalid("linux.resources.devices: cgroup v1 cannot " +
                                 std::string(allow ? "allow " : "deny ") + device_text(e) + " within '" +
                                 device_text(have) +
                                 "' of another rule; list the devices one by one, or use cgroup v2"));
    }
  }
  std::erase_if(all, [](const Exception& x) { return x.bits == 0; });
  return {};
}

Result<std::vector<Exception>> exceptions_of(const DevicePolicy& policy) {
  std::vector<Exception> all;
  for (const DeviceAccess& rule : policy.rules) {
    for (char type : {'b', 'c'}) {
      if (rule.type != 'a' && rule.type != type) continue;
      Exception e{type, rule.major, rule.minor, bits_of(rule)};
      if (rule.allow != policy.allow_by_default)
        add_exception(all, e);
      else
        TRY_VOID(remove_exception(all, e, rule.allow));
    }
  }
  // The kernel grants an access only if one exception covers all of it, so a narrow one must repeat what a
  // wide one gives.
  for (Exception& narrow : all)
    for (const Exception& wide : all)
      if (covers(wide, narrow)) narrow.bits |= wide.bits;
  return all;
}

}  // namespace

Result<DevicePolicy> device_policy(const std::vector<oci::DeviceRule>& rules) {
  std::vector<DeviceAccess> parsed;
  size_t start = 0;
  DevicePolicy policy;
  for (size_t i = 0; i < rules.size(); i++) {
    const oci::DeviceRule& rule = rules[i];
    std::string where = "linux.resources.devices[" + std::to_string(i) + "]";
    DeviceAccess a;
    a.allow = rule.allow;
    if (!rule.type.empty() && rule.type != "a" && rule.type != "b" && rule.type != "c")
      return fail(Error::invalid(where + ".type: '" + rule.type + "' is none of \"a\", \"b\", \"c\""));
    a.type = rule.type.empty() ? 'a' : rule.type[0];
    a.major = rule.major.value_or(-1);
    a.minor = rule.minor.value_or(-1);
    if (a.major < -1 || a.minor < -1 || a.major > UINT32_MAX || a.minor > UINT32_MAX)
      return fail(Error::invalid(where + ": a device number is out of range"));
    TRY_VOID(parse_access(rule.access, a, where));
    parsed.push_back(a);
    if (is_everything(a)) {
      policy.allow_by_default = a.allow;
      start = parsed.size();
    }
  }
  // Default devices come before the specification's rules, so that these can deny one. The rules for mknod
  // come after: Docker denies single devices ("c 10:229 rwm"), and v1 could not take one out of a wildcard
  // that came first.
  auto add_defaults = [&](bool wildcards) -> Result<> {
    for (const DefaultRule& d : kDefaults) {
      if (policy.allow_by_default || (d.major < 0) != wildcards) continue;
      DeviceAccess a{true, d.type, d.major, d.minor};
      TRY_VOID(parse_access(d.access, a, ""));
      policy.rules.push_back(a);
    }
    return {};
  };
  TRY_VOID(add_defaults(false));
  policy.rules.insert(policy.rules.end(), parsed.begin() + static_cast<long>(start), parsed.end());
  TRY_VOID(add_defaults(true));
  return policy;
}

Result<std::vector<DeviceWrite>> device_writes_v1(const DevicePolicy& policy) {
  std::vector<Exception> exceptions = TRY(exceptions_of(policy));
  std::vector<DeviceWrite> writes;
  writes.push_back({policy.allow_by_default, "a"});
  for (const Exception& e : exceptions) writes.push_back(write_of(!policy.allow_by_default, e, e.bits));
  return writes;
}

// devices.list: "a *:* rwm" alone when everything is allowed (exceptions are not shown then), else one line
// per exception.
static Result<std::vector<Exception>> parse_devices_list(std::string_view list, bool& allow_by_default) {
  std::vector<Exception> all;
  allow_by_default = false;
  while (!list.empty()) {
    size_t end = list.find('\n');
    std::string_view line = trim(list.substr(0, end));
    list = end == std::string_view::npos ? std::string_view{} : list.substr(end + 1);
    if (line.empty()) continue;
    if (line[0] == 'a') {
      allow_by_default = true;
      continue;
    }
    size_t colon = line.find(':'), space = line.rfind(' ');
    if (line.size() < 7 || colon == std::string_view::npos || space == std::string_view::npos ||
        space < colon)
      return fail(Error::internal("read devices.list: cannot understand '" + std::string(line) + "'"));
    std::string_view major = line.substr(2, colon - 2), minor = line.substr(colon + 1, space - colon - 1);
    Exception e{line[0], -1, -1, 0};
    if (major != "*") e.major = static_cast<int64_t>(TRY(parse_u64(major, "devices.list")));
    if (minor != "*") e.minor = static_cast<int64_t>(TRY(parse_u64(minor, "devices.list")));
    DeviceAccess access;
    TRY_VOID(parse_access(line.substr(space + 1), access, "devices.list"));
    e.bits = bits_of(access);
    add_exception(all, e);
  }
  return all;
}

Result<std::vector<DeviceWrite>> device_update_v1(std::string_view devices_list, const DevicePolicy& policy) {
  bool now_allow = false;
  std::vector<Exception> now = TRY(parse_devices_list(devices_list, now_allow));
  if (now_allow != policy.allow_by_default || now_allow) return device_writes_v1(policy);
  std::vector<Exception> wanted = TRY(exceptions_of(policy));
  std::vector<DeviceWrite> writes;
  auto bits_in = [](const std::vector<Exception>& all, const Exception& e) {
    for (const Exception& x : all)
      if (same_device(x, e)) return x.bits;
    return 0u;
  };
  // What is new first, then what goes: an access allowed before and after is allowed at every moment.
  for (const Exception& e : wanted)
    if (unsigned missing = e.bits & ~bits_in(now, e)) writes.push_back(write_of(true, e, missing));
  for (const Exception& e : now)
    if (unsigned extra = e.bits & ~bits_in(wanted, e)) writes.push_back(write_of(false, e, extra));
  return writes;
}

// --- v2 ---
namespace {

bpf_insn insn(unsigned code, unsigned dst, unsigned src, int off, int32_t imm) {
  bpf_insn i{};
  i.code = static_cast<__u8>(code);
  i.dst_reg = dst & 15u;
  i.src_reg = src & 15u;
  i.off = static_cast<__s16>(off);
  i.imm = imm;
  return i;
}
constexpr unsigned kType = BPF_REG_2, kAccess = BPF_REG_3, kMajor = BPF_REG_4, kMinor = BPF_REG_5,
                   kScratch = BPF_REG_1;

void emit_return(std::vector<bpf_insn>& out, bool allow) {
  out.push_back(insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow));
  out.push_back(insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
}

// One rule: jumps over its body when the device is another one. In the body kAccess holds the kinds of access
// that no later rule has decided yet: a denied kind among them ends the program, allowed kinds are taken out,
// and none left means allowed.
void emit_rule(std::vector<bpf_insn>& out, const DeviceAccess& rule) {
  std::vector<bpf_insn> body;
  auto bits = static_cast<int32_t>(bits_of(rule));
  if (rule.allow) {
    body.push_back(
        insn(BPF_ALU | BPF_AND | BPF_K, kAccess, 0, 0, static_cast<int32_t>(kAll & ~bits_of(rule))));
    body.push_back(insn(BPF_JMP | BPF_JNE | BPF_K, kAccess, 0, 2, 0));
    emit_return(body, true);
  } else {
    body.push_back(insn(BPF_ALU | BPF_MOV | BPF_X, kScratch, kAccess, 0, 0));
    body.push_back(insn(BPF_ALU | BPF_AND | BPF_K, kScratch, 0, 0, bits));
    body.push_back(insn(BPF_JMP | BPF_JEQ | BPF_K, kScratch, 0, 2, 0));
    emit_return(body, false);
  }
  struct Test {
    bool wanted;
    unsigned reg;
    int32_t value;
  };
  const Test tests[] = {
      {rule.type != 'a', kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR},
      {rule.major >= 0, kMajor, static_cast<int32_t>(static_cast<uint32_t>(rule.major))},
      {rule.minor >= 0, kMinor, static_cast<int32_t>(static_cast<uint32_t>(rule.minor))},
  };
  int left = 0;
  for (const Test& t : tests) left += t.wanted;
  for (const Test& t : tests) {
    if (!t.wanted) continue;
    left--;
    out.push_back(insn(BPF_JMP32 | BPF_JNE | BPF_K, t.reg, 0, left + static_cast<int>(body.size()), t.value));
  }
  out.insert(out.end(), body.begin(), body.end());
}

}  // namespace

std::vector<bpf_insn> device_program(const DevicePolicy& policy) {
  std::vector<bpf_insn> out;
  // struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type); u32 major; u32 minor; } at R1.
  out.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kType, BPF_REG_1, 0, 0));
  out.push_back(insn(BPF_ALU | BPF_MOV | BPF_X, kAccess, kType, 0, 0));
  out.push_back(insn(BPF_ALU | BPF_AND | BPF_K, kType, 0, 0, 0xffff));
  out.push_back(insn(BPF_ALU | BPF_RSH | BPF_K, kAccess, 0, 0, 16));
  out.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kMajor, BPF_REG_1, 4, 0));
  out.push_back(insn(BPF_LDX | BPF_MEM | BPF_W, kMinor, BPF_REG_1, 8, 0));
  for (auto rule = policy.rules.rbegin(); rule != policy.rules.rend(); ++rule)
    if (bits_of(*rule) != 0) emit_rule(out, *rule);
  emit_return(out, policy.allow_by_default);
  return out;
}

}  // namespace onggi::runtime
