// The device policy, its v1 writes, and its eBPF program executed by a small interpreter against device
// tuples.
#include "runtime/cgroup_devices.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "sys/bpf.h"

namespace onggi::runtime {
namespace {

enum : uint32_t { kM = BPF_DEVCG_ACC_MKNOD, kR = BPF_DEVCG_ACC_READ, kW = BPF_DEVCG_ACC_WRITE };

// Executes the instructions that a device program may hold; -1 for anything that the kernel would refuse as
// well.
int64_t interpret(const std::vector<bpf_insn>& program, char type, uint32_t major, uint32_t minor,
                  uint32_t access) {
  const uint32_t context[3] = {access << 16 | (type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR), major,
                               minor};
  uint64_t r[11] = {};
  bool written[11] = {};
  r[1] = 0xc0ffee;  // the context pointer
  written[1] = true;
  for (size_t pc = 0; pc < program.size();) {
    const bpf_insn& i = program[pc++];
    uint64_t operand =
        BPF_SRC(i.code) == BPF_X ? r[i.src_reg] : static_cast<uint64_t>(static_cast<int64_t>(i.imm));
    if (BPF_SRC(i.code) == BPF_X && BPF_CLASS(i.code) != BPF_LDX && !written[i.src_reg]) return -1;
    switch (BPF_CLASS(i.code)) {
      case BPF_LDX:
        if (r[i.src_reg] != 0xc0ffee || i.off % 4 || i.off > 8 || BPF_SIZE(i.code) != BPF_W) return -1;
        r[i.dst_reg] = context[i.off / 4];
        written[i.dst_reg] = true;
        break;
      case BPF_ALU:
      case BPF_ALU64: {
        uint64_t& d = r[i.dst_reg];
        switch (BPF_OP(i.code)) {
          case BPF_MOV:
            d = operand;
            break;
          case BPF_AND:
            d &= operand;
            break;
          case BPF_RSH:
            d = static_cast<uint32_t>(d) >> operand;
            break;
          default:
            return -1;
        }
        if (BPF_CLASS(i.code) == BPF_ALU) d = static_cast<uint32_t>(d);
        written[i.dst_reg] = true;
        break;
      }
      case BPF_JMP:
      case BPF_JMP32: {
        if (BPF_OP(i.code) == BPF_EXIT) return written[0] ? static_cast<int64_t>(r[0]) : -1;
        uint64_t left = r[i.dst_reg], right = operand;
        if (BPF_CLASS(i.code) == BPF_JMP32)
          left = static_cast<uint32_t>(left), right = static_cast<uint32_t>(right);
        bool taken;
        switch (BPF_OP(i.code)) {
          case BPF_JEQ:
            taken = left == right;
            break;
          case BPF_JNE:
            taken = left != right;
            break;
          default:
            return -1;
        }
        if (taken) {
          if (i.off < 0) return -1;
          pc += static_cast<size_t>(i.off);
        }
        break;
      }
      default:
        return -1;
    }
  }
  return -1;  // ran off the end
}

oci::DeviceRule rule(bool allow, std::string type = "", int64_t major = -1, int64_t minor = -1,
                     std::string access = "rwm") {
  oci::DeviceRule r{allow, std::move(type), {}, {}, std::move(access)};
  if (major >= 0) r.major = major;
  if (minor >= 0) r.minor = minor;
  return r;
}

DevicePolicy policy(const std::vector<oci::DeviceRule>& rules) {
  auto p = device_policy(rules);
  EXPECT_TRUE(p) << p.error().text();
  return p.value_or(DevicePolicy{});
}

std::string text(const Result<std::vector<DeviceWrite>>& writes) {
  if (!writes) return "error: " + writes.error().text();
  std::string out;
  for (const DeviceWrite& w : *writes) out += (w.allow ? "+" : "-") + w.text + "\n";
  return out;
}

const std::string kDefaultWrites =
    "-a\n+b *:* m\n+c *:* m\n"
    "+c 1:3 rwm\n+c 1:5 rwm\n+c 1:7 rwm\n+c 1:8 rwm\n+c 1:9 rwm\n+c 5:0 rwm\n+c 5:1 rwm\n+c 5:2 rwm\n+c "
    "136:* rwm\n";

std::string sorted(std::string lines) {
  std::vector<std::string> all;
  for (size_t at; (at = lines.find('\n')) != std::string::npos; lines.erase(0, at + 1))
    all.push_back(lines.substr(0, at + 1));
  std::sort(all.begin(), all.end());
  std::string out;
  for (const std::string& l : all) out += l;
  return out;
}

TEST(DevicePolicy, DefaultsAreAllowedEvenWhenEverythingIsDenied) {
  EXPECT_EQ(sorted(text(device_writes_v1(policy({})))), sorted(kDefaultWrites));
  EXPECT_EQ(sorted(text(device_writes_v1(policy({rule(false)})))), sorted(kDefaultWrites));
  EXPECT_TRUE(text(device_writes_v1(policy({}))).starts_with("-a\n"))
      << "the default is set before the exceptions";
}

TEST(DevicePolicy, OrderMatters) {
  // Allowed, then everything denied: only what follows counts.
  EXPECT_EQ(
      sorted(text(device_writes_v1(policy({rule(true, "b", 8, 0), rule(false), rule(true, "c", 10, 229)})))),
      sorted(kDefaultWrites + "+c 10:229 rwm\n"));
  // A later rule denies one of the defaults (but not to mknod, which another default rule gives).
  std::string denied = text(device_writes_v1(policy({rule(false), rule(false, "c", 1, 9, "rw")})));
  EXPECT_NE(denied.find("c 1:9 m\n"), std::string::npos) << denied;
  EXPECT_EQ(denied.find("c 1:9 r"), std::string::npos) << denied;
  // Allow everything, deny one disk.
  EXPECT_EQ(text(device_writes_v1(policy({rule(true), rule(false, "b", 8, 0)}))), "+a\n-b 8:0 rwm\n");
}

TEST(DevicePolicy, RefusesNonsense) {
  EXPECT_FALSE(device_policy({rule(true, "x", 1, 2)}));
  EXPECT_FALSE(device_policy({rule(true, "c", 1, 2, "rx")}));
  EXPECT_FALSE(device_policy({rule(true, "c", int64_t{1} << 40, 2)}));
  auto bad = device_policy({rule(false), rule(true, "c", 1, 2, "q")});
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().text().find("devices[1]"), std::string::npos) << bad.error().text();
}

TEST(DevicePolicy, V1CannotPunchHoles) {
  auto hole = device_writes_v1(policy({rule(false), rule(true, "c", 10), rule(false, "c", 10, 229)}));
  ASSERT_FALSE(hole);
  EXPECT_NE(hole.error().text().find("c 10:229"), std::string::npos) << hole.error().text();
  // The other way round it is no hole: the wide rule takes back the narrow one.
  EXPECT_EQ(sorted(text(device_writes_v1(
                policy({rule(false), rule(true, "c", 10, 229), rule(false, "c", 10, -1, "rw")})))),
            sorted(kDefaultWrites + "+c 10:229 m\n"));
}

TEST(DevicePolicy, UpdateWritesOnlyDifferences) {
  std::string now =
      "b *:* m\nc *:* m\nc 1:3 rwm\nc 1:5 rwm\nc 1:7 rwm\nc 1:8 rwm\nc 1:9 rwm\nc 5:0 rwm\nc 5:1 rwm\nc 5:2 "
      "rwm\n"
      "c 136:* rwm\nc 10:229 rwm\nb 8:0 rm\n";
  EXPECT_EQ(text(device_update_v1(now, policy({rule(false), rule(true, "b", 8, 0, "rw")}))),
            "+b 8:0 w\n-c 10:229 rwm\n");
  EXPECT_EQ(text(device_update_v1(
                now, policy({rule(false), rule(true, "c", 10, 229), rule(true, "b", 8, 0, "rm")}))),
            "");
  EXPECT_TRUE(text(device_update_v1("a *:* rwm\n", policy({}))).starts_with("-a\n"));
  EXPECT_FALSE(device_update_v1("nonsense\n", policy({})));
}

TEST(DeviceProgram, DefaultsAgainstTuples) {
  auto program = device_program(policy({rule(false)}));
  struct {
    char type;
    uint32_t major, minor, access;
    int64_t want;
  } cases[] = {
      {'c', 1, 3, kR | kW, 1},    {'c', 1, 3, kM, 1},         {'c', 1, 5, kR, 1},
      {'c', 1, 7, kW, 1},         {'c', 1, 8, kR, 1},         {'c', 1, 9, kR, 1},
      {'c', 5, 0, kR | kW, 1},    {'c', 5, 1, kR | kW, 1},    {'c', 5, 2, kR | kW, 1},
      {'c', 136, 0, kR, 1},       {'c', 136, 999, kW, 1},     {'c', 1, 1, kR, 0},  // /dev/mem
      {'c', 1, 11, kR, 0},        {'b', 8, 0, kR, 0},         {'b', 8, 0, kM, 1},
      {'b', 1, 3, kR, 0},         {'c', 10, 200, kR | kW, 0}, {'c', 10, 200, kM, 1},
      {'c', 10, 200, kM | kR, 0},
  };
  for (const auto& c : cases)
    EXPECT_EQ(interpret(program, c.type, c.major, c.minor, c.access), c.want)
        << c.type << " " << c.major << ":" << c.minor << " " << c.access;
}

// Every list of rules over a small world gives what "the last rule that matches decides, per kind of access"
// says.
TEST(DeviceProgram, AgreesWithTheDefinition) {
  const std::vector<oci::DeviceRule> pool = {rule(true),
                                             rule(false),
                                             rule(true, "c", 10, -1, "r"),
                                             rule(false, "c", 10, 229, "rw"),
                                             rule(true, "b", 8, 0, "w"),
                                             rule(true, "a", 10, 229, "m"),
                                             rule(false, "", 8),
                                             rule(true, "c", 4294967295, 4294967295, "rwm"),
                                             rule(false, "c", 1, 9, "r")};
  auto wanted = [](const DevicePolicy& p, char type, uint32_t major, uint32_t minor, uint32_t access) {
    for (uint32_t bit : {kM, kR, kW}) {
      if (!(access & bit)) continue;
      bool allowed = p.allow_by_default;
      for (const DeviceAccess& a : p.rules) {
        if (a.type != 'a' && a.type != type) continue;
        if ((a.major >= 0 && a.major != major) || (a.minor >= 0 && a.minor != minor)) continue;
        if (bit == kM ? a.mknod : bit == kR ? a.read : a.write) allowed = a.allow;
      }
      if (!allowed) return 0;
    }
    return 1;
  };
  size_t checked = 0;
  for (size_t a = 0; a < pool.size(); a++)
    for (size_t b = 0; b < pool.size(); b++)
      for (size_t c = 0; c < pool.size(); c++) {
        DevicePolicy p = policy({pool[a], pool[b], pool[c]});
        auto program = device_program(p);
        for (char type : {'b', 'c'})
          for (auto [major, minor] :
               {std::pair{10u, 229u}, {10u, 1u}, {8u, 0u}, {8u, 1u}, {1u, 9u}, {UINT32_MAX, UINT32_MAX}})
            for (uint32_t access = 1; access < 8; access++, checked++)
              ASSERT_EQ(interpret(program, type, major, minor, access), wanted(p, type, major, minor, access))
                  << a << b << c << type << major << ":" << minor << " " << access;
      }
  EXPECT_EQ(checked, 9u * 9 * 9 * 2 * 6 * 7);
}

TEST(DeviceProgram_NeedsRoot, KernelAcceptsIt) {
  auto loaded = sys::load_device_program(
      device_program(policy({rule(false), rule(true, "c", 10, -1, "r"), rule(false, "c", 10, 229)})));
  if (!loaded && (loaded.error().os_errno() == EPERM || loaded.error().os_errno() == ENOSYS))
    GTEST_SKIP() << "bpf(2) is not available here: " << loaded.error().text();
  EXPECT_TRUE(loaded) << loaded.error().text();
}

}  // namespace
}  // namespace onggi::runtime
