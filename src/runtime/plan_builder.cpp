#include "runtime/plan_builder.h"

#include <cstring>

#include "runtime/process_attributes.h"

namespace onggi::runtime {

Step& PlanBuilder::add(Op op) {
  steps_.push_back({});
  steps_.back().op = op;
  return steps_.back();
}

uint32_t PlanBuilder::string(std::string_view s) {
  auto offset = static_cast<uint32_t>(arena_.size());
  arena_.insert(arena_.end(), s.begin(), s.end());
  arena_.push_back('\0');
  return offset;
}

uint32_t PlanBuilder::blob(const void* data, size_t size) {
  arena_.resize((arena_.size() + 7) / 8 * 8);
  auto offset = static_cast<uint32_t>(arena_.size());
  const char* bytes = static_cast<const char*>(data);
  arena_.insert(arena_.end(), bytes, bytes + size);
  return offset;
}

void PlanBuilder::set_program(const std::vector<std::string>& argv, const std::vector<std::string>& envp,
                              const std::vector<std::string>& candidates) {
  auto fill = [this](std::vector<uint64_t>& to, const std::vector<std::string>& from) {
    to.clear();
    for (const auto& s : from) to.push_back(string(s));
  };
  fill(argv_, argv);
  fill(envp_, envp);
  fill(candidates_, candidates);
}

std::vector<char> PlanBuilder::image() const {
  std::vector<char> out(arena_);
  auto align = [&] { out.resize((out.size() + 7) / 8 * 8); };
  auto append = [&](const void* data, size_t size) {
    align();
    auto offset = static_cast<uint32_t>(out.size());
    out.insert(out.end(), static_cast<const char*>(data), static_cast<const char*>(data) + size);
    return offset;
  };
  auto pointers = [&](std::vector<uint64_t> list, size_t spare) {
    list.resize(list.size() + spare, 0);
    return append(list.data(), list.size() * sizeof(uint64_t));
  };
  PlanHeader header;
  header.step_count = static_cast<uint32_t>(steps_.size());
  header.steps = append(steps_.data(), steps_.size() * sizeof(Step));
  header.argc = static_cast<uint32_t>(argv_.size());
  header.argv = pointers(argv_, 1);
  header.envc = static_cast<uint32_t>(envp_.size());
  header.envp = pointers(envp_, 2);
  header.candidate_count = static_cast<uint32_t>(candidates_.size());
  header.candidates = pointers(candidates_, 1);
  header.size = static_cast<uint32_t>(out.size());
  memcpy(out.data(), &header, sizeof header);
  return out;
}

namespace {

std::string describe_mount(const PlanBuilder& b, const Step& s) {
  const auto& m = b.read<MountStep>(s.str);
  std::string what = s.op == Op::kMountBind ? "bind mount " : "mount ";
  what += b.text(s.op == Op::kMountBind ? m.source : m.fstype ? m.fstype : m.fallback);
  what += " on ";
  what += b.text(m.destination);
  return what;
}

std::string describe_identity(const PlanBuilder& b, const Step& s) {
  switch (s.op) {
    case Op::kNop:
      return "do nothing";
    case Op::kCloseRangeCloexec:
      return "mark descriptors close-on-exec";
    case Op::kSetns:
      return "join a namespace (setns)";
    case Op::kUnshare:
      return "create new namespaces (unshare)";
    case Op::kEnterTime:
      return "enter the new time namespace";
    case Op::kClone:
      return "create the process in its namespaces (clone3)";
    case Op::kSetIds:
      return "set user " + std::to_string(s.a) + " and group " + std::to_string(s.b);
    case Op::kSetGroups:
      return "set additional groups";
    case Op::kKeepCaps:
      return "keep capabilities over the change of user";
    case Op::kDumpable:
      return "make the process not dumpable";
    case Op::kChdir:
      return "enter the root filesystem";
    case Op::kFchdir:
      return "enter a directory";
    case Op::kChrootHere:
      return "change the root directory";
    case Op::kJoinCgroup:
      return "join the cgroup";
    case Op::kWriteFd:
      return std::string("write ") + b.text(s.str);
    case Op::kSync:
      return "wait for the runtime";
    case Op::kWriteProc:
      return std::string("set ") + b.text(s.str) + " to '" + b.text(s.str_b) + "'";
    case Op::kSetHostname:
      return std::string("set hostname ") + b.text(s.str);
    case Op::kSetDomainname:
      return std::string("set domainname ") + b.text(s.str);
    case Op::kLoopbackUp:
      return "bring the loopback interface up";
    default:
      return "";
  }
}

std::string describe_mounts(const PlanBuilder& b, const Step& s) {
  switch (s.op) {
    case Op::kMakePropagation:
      return "make mounts private";
    case Op::kAttachRoot:
      return "mount the root filesystem";
    case Op::kMountNew:
    case Op::kMountBind:
      return describe_mount(b, s);
    case Op::kOpenDev:
      return "open /dev";
    case Op::kDevice:
      return std::string("make device ") + b.text(b.read<DeviceStep>(s.str).path);
    case Op::kSymlink:
      return std::string("make symlink ") + b.text(s.str_b);
    case Op::kPtmx:
      return "make /dev/ptmx";
    case Op::kMask:
      return std::string("mask ") + b.text(s.str);
    case Op::kReadonly:
      return std::string("make read-only ") + b.text(s.str);
    case Op::kRootAttr:
      return "set attributes of the root mount";
    case Op::kPathAttr:
      return std::string("set mount attributes of ") + b.text(s.str);
    case Op::kPivot:
      return "pivot_root";
    case Op::kRootPropagation:
      return "set propagation of the root mount";
    case Op::kTouch:
      return std::string("make file ") + b.text(s.str);
    case Op::kMkdir:
      return std::string("make directory ") + b.text(s.str);
    default:
      return "";
  }
}

std::string describe_process(const Step& s) {
  switch (s.op) {
    case Op::kSetsid:
      return "start a session (setsid)";
    case Op::kConsole:
      return "set up the console";
    case Op::kKeyring:
      return "join a new session keyring";
    case Op::kFixStdio:
      return "change the owner of standard streams";
    case Op::kRlimit:
      return std::string("set resource limit ") + rlimit_name(static_cast<int>(s.a)) + " to " +
             std::to_string(s.b) + ":" + std::to_string(s.c);
    case Op::kSchedAttr:
      return "set the scheduler";
    case Op::kIoPriority:
      return "set the I/O priority";
    case Op::kMemoryPolicy:
      return "set the memory policy";
    case Op::kAffinity:
      return "set the CPU affinity";
    case Op::kPersonality:
      return "set the personality";
    case Op::kUmask:
      return "set the umask";
    case Op::kCapBound:
      return "drop capabilities from the bounding set";
    case Op::kCapSet:
      return "set capabilities";
    case Op::kCapAmbient:
      return "set ambient capabilities";
    case Op::kNoNewPrivs:
      return "set no_new_privs";
    case Op::kSeccomp:
      return "load the seccomp filter";
    case Op::kCwd:
      return "change to the working directory (process.cwd)";
    case Op::kHome:
      return "find HOME in /etc/passwd";
    case Op::kFindExec:
    case Op::kExec:
      return "exec";
    case Op::kReady:
      return "report readiness";
    case Op::kWaitStart:
      return "wait for start";
    default:
      return "";
  }
}

}  // namespace

std::string PlanBuilder::describe(uint32_t index) const {
  if (index >= steps_.size()) return "start the child program";
  const Step& s = steps_[index];
  std::string words = s.op < Op::kMakePropagation ? describe_identity(*this, s)
                      : s.op < Op::kSetsid        ? describe_mounts(*this, s)
                                                  : describe_process(s);
  return words.empty() ? "step " + std::to_string(index) : words;
}

}  // namespace onggi::runtime
