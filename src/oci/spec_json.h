// The specification's member names, one table per object, in the order in which the reference's Go types
// print them. parse.cpp and emit.cpp both work from these tables. Internal to oci/.
//
// kAlways marks what is printed even when zero: members that the specification requires, whose absence a
// reader would refuse.
#pragma once

#include "base/json.h"
#include "oci/runtime_spec.h"

namespace onggi {

// Namespace types go by their names. There is no type that could stand for a missing one.
template <>
struct JsonOps<oci::NamespaceType> {
  static bool read(JsonReader& r, JsonValue value, oci::NamespaceType& out) {
    std::string name;
    if (!r.read(value, name)) return false;
    auto type = oci::namespace_type(name);
    if (!type)
      return r.error("'" + name +
                     "' is no namespace type (pid, network, mount, ipc, uts, user, cgroup, time)");
    out = *type;
    return true;
  }
  static void write(JsonWriter& w, oci::NamespaceType in) { w.string(oci::to_string(in)); }
  static bool is_default(oci::NamespaceType) { return false; }
};

namespace spec_json {

// An object whose keys are one member of each element: {"eth0": {...}} -> [{name: "eth0", ...}].
template <class T, auto Key>
inline constexpr JsonType kKeyed = {
    [](JsonReader& r, JsonValue value, void* out) {
      if (!r.expect(value, JsonValue::Kind::kObject)) return false;
      for (size_t i = 0; i < value.size(); i++) {
        T& item = static_cast<std::vector<T>*>(out)->emplace_back();
        r.push(value.member_name(i));
        if (!JsonOps<T>::read(r, value.member(i), item)) return false;
        r.pop();
        item.*Key = std::string(value.member_name(i));
      }
      return true;
    },
    [](JsonWriter& w, const void* in) {
      w.begin_object();
      for (const T& item : *static_cast<const std::vector<T>*>(in)) {
        w.key(item.*Key);
        json_write(w, item);
      }
      w.end_object();
    },
    [](const void* in) { return static_cast<const std::vector<T>*>(in)->empty(); }};

}  // namespace spec_json

#define ONGGI_FIELDS(type, ...)                                           \
  template <>                                                             \
  struct JsonFields<oci::type> {                                          \
    using T = oci::type;                                                  \
    static constexpr auto kTable = std::to_array<JsonRow>({__VA_ARGS__}); \
  }
#define F(member, name) json_field<&T::member>(name)
#define REQUIRED(member, name) json_field<&T::member>(name, JsonEmit::kAlways)

// --- process ---
ONGGI_FIELDS(ConsoleSize, REQUIRED(height, "height"), REQUIRED(width, "width"));
ONGGI_FIELDS(User, REQUIRED(uid, "uid"), REQUIRED(gid, "gid"), F(umask, "umask"),
             F(additional_gids, "additionalGids"));
ONGGI_FIELDS(Capabilities, F(bounding, "bounding"), F(effective, "effective"), F(inheritable, "inheritable"),
             F(permitted, "permitted"), F(ambient, "ambient"));
ONGGI_FIELDS(Rlimit, REQUIRED(type, "type"), REQUIRED(hard, "hard"), REQUIRED(soft, "soft"));
ONGGI_FIELDS(Scheduler, REQUIRED(policy, "policy"), F(nice, "nice"), F(priority, "priority"),
             F(flags, "flags"), F(runtime, "runtime"), F(deadline, "deadline"), F(period, "period"));
ONGGI_FIELDS(IoPriority, REQUIRED(io_class, "class"), REQUIRED(priority, "priority"));
ONGGI_FIELDS(ExecCpuAffinity, F(initial, "initial"), F(final, "final"));
ONGGI_FIELDS(Process, F(terminal, "terminal"), F(console_size, "consoleSize"), REQUIRED(user, "user"),
             F(args, "args"), F(env, "env"), REQUIRED(cwd, "cwd"), F(capabilities, "capabilities"),
             F(rlimits, "rlimits"), F(no_new_privileges, "noNewPrivileges"),
             F(apparmor_profile, "apparmorProfile"), F(oom_score_adj, "oomScoreAdj"),
             F(scheduler, "scheduler"), F(selinux_label, "selinuxLabel"), F(io_priority, "ioPriority"),
             F(exec_cpu_affinity, "execCPUAffinity"));

// --- root, mounts, hooks ---
ONGGI_FIELDS(Root, REQUIRED(path, "path"), F(readonly, "readonly"));
ONGGI_FIELDS(IdMapping, REQUIRED(container_id, "containerID"), REQUIRED(host_id, "hostID"),
             REQUIRED(size, "size"));
ONGGI_FIELDS(Mount, REQUIRED(destination, "destination"), F(type, "type"), F(source, "source"),
             F(options, "options"), F(uid_mappings, "uidMappings"), F(gid_mappings, "gidMappings"));
ONGGI_FIELDS(Hook, REQUIRED(path, "path"), F(args, "args"), F(env, "env"), F(timeout, "timeout"));
ONGGI_FIELDS(Hooks, F(prestart, "prestart"), F(create_runtime, "createRuntime"),
             F(create_container, "createContainer"), F(start_container, "startContainer"),
             F(poststart, "poststart"), F(poststop, "poststop"));

// --- resources ---
ONGGI_FIELDS(DeviceRule, REQUIRED(allow, "allow"), F(type, "type"), F(major, "major"), F(minor, "minor"),
             F(access, "access"));
ONGGI_FIELDS(MemoryResources, F(limit, "limit"), F(reservation, "reservation"), F(swap, "swap"),
             F(kernel, "kernel"), F(kernel_tcp, "kernelTCP"), F(swappiness, "swappiness"),
             F(disable_oom_killer, "disableOOMKiller"), F(use_hierarchy, "useHierarchy"),
             F(check_before_update, "checkBeforeUpdate"));
ONGGI_FIELDS(CpuResources, F(shares, "shares"), F(quota, "quota"), F(burst, "burst"), F(period, "period"),
             F(realtime_runtime, "realtimeRuntime"), F(realtime_period, "realtimePeriod"), F(cpus, "cpus"),
             F(mems, "mems"), F(idle, "idle"));
ONGGI_FIELDS(PidsResources, F(limit, "limit"));
ONGGI_FIELDS(WeightDevice, REQUIRED(major, "major"), REQUIRED(minor, "minor"), F(weight, "weight"),
             F(leaf_weight, "leafWeight"));
ONGGI_FIELDS(ThrottleDevice, REQUIRED(major, "major"), REQUIRED(minor, "minor"), REQUIRED(rate, "rate"));
ONGGI_FIELDS(BlockIoResources, F(weight, "weight"), F(leaf_weight, "leafWeight"),
             F(weight_device, "weightDevice"), F(throttle_read_bps, "throttleReadBpsDevice"),
             F(throttle_write_bps, "throttleWriteBpsDevice"), F(throttle_read_iops, "throttleReadIOPSDevice"),
             F(throttle_write_iops, "throttleWriteIOPSDevice"));
ONGGI_FIELDS(HugepageLimit, REQUIRED(page_size, "pageSize"), REQUIRED(limit, "limit"));
ONGGI_FIELDS(InterfacePriority, REQUIRED(name, "name"), REQUIRED(priority, "priority"));
ONGGI_FIELDS(NetworkResources, F(class_id, "classID"), F(priorities, "priorities"));
// The key of the map is the device.
ONGGI_FIELDS(RdmaLimit, F(hca_handles, "hcaHandles"), F(hca_objects, "hcaObjects"));
ONGGI_FIELDS(Resources, F(devices, "devices"), F(memory, "memory"), F(cpu, "cpu"), F(pids, "pids"),
             F(block_io, "blockIO"), F(hugepage_limits, "hugepageLimits"), F(network, "network"),
             {"rdma", json_locate<&T::rdma>, &spec_json::kKeyed<oci::RdmaLimit, &oci::RdmaLimit::device>,
              JsonEmit::kOmitDefault},
             F(unified, "unified"));

// --- linux ---
ONGGI_FIELDS(Namespace, json_field<&T::type>("type", JsonEmit::kAlways, true), F(path, "path"));
ONGGI_FIELDS(Device, REQUIRED(path, "path"), REQUIRED(type, "type"), REQUIRED(major, "major"),
             REQUIRED(minor, "minor"), F(file_mode, "fileMode"), F(uid, "uid"), F(gid, "gid"));
ONGGI_FIELDS(TimeOffset, F(secs, "secs"), F(nanosecs, "nanosecs"));
// The key of the map is the name on the host.
ONGGI_FIELDS(NetDevice, F(new_name, "name"));
ONGGI_FIELDS(SeccompArg, REQUIRED(index, "index"), REQUIRED(value, "value"), F(value_two, "valueTwo"),
             REQUIRED(op, "op"));
ONGGI_FIELDS(SyscallRule, REQUIRED(names, "names"), REQUIRED(action, "action"), F(errno_ret, "errnoRet"),
             F(args, "args"));
ONGGI_FIELDS(Seccomp, REQUIRED(default_action, "defaultAction"), F(default_errno_ret, "defaultErrnoRet"),
             F(architectures, "architectures"), F(flags, "flags"), F(listener_path, "listenerPath"),
             F(listener_metadata, "listenerMetadata"), F(syscalls, "syscalls"));
ONGGI_FIELDS(IntelRdt, F(clos_id, "closID"), F(schemata, "schemata"), F(l3_cache_schema, "l3CacheSchema"),
             F(mem_bw_schema, "memBwSchema"), F(enable_monitoring, "enableMonitoring"),
             F(enable_cmt, "enableCMT"), F(enable_mbm, "enableMBM"));
ONGGI_FIELDS(MemoryPolicy, REQUIRED(mode, "mode"), REQUIRED(nodes, "nodes"), F(flags, "flags"));
ONGGI_FIELDS(Personality, REQUIRED(domain, "domain"), F(flags, "flags"));
ONGGI_FIELDS(Linux, F(uid_mappings, "uidMappings"), F(gid_mappings, "gidMappings"), F(sysctl, "sysctl"),
             F(resources, "resources"), F(cgroups_path, "cgroupsPath"), F(namespaces, "namespaces"),
             F(devices, "devices"),
             {"netDevices", json_locate<&T::net_devices>,
              &spec_json::kKeyed<oci::NetDevice, &oci::NetDevice::name>, JsonEmit::kOmitDefault},
             F(seccomp, "seccomp"), F(rootfs_propagation, "rootfsPropagation"),
             F(masked_paths, "maskedPaths"), F(readonly_paths, "readonlyPaths"), F(mount_label, "mountLabel"),
             F(intel_rdt, "intelRdt"), F(memory_policy, "memoryPolicy"), F(personality, "personality"),
             F(time_offsets, "timeOffsets"));

namespace spec_json {

// A Spec without `linux` differs from one with an empty `linux`, so this row is about the whole Spec.
inline constexpr JsonType kLinux = {
    [](JsonReader& r, JsonValue value, void* out) {
      auto* spec = static_cast<oci::Spec*>(out);
      spec->has_linux = true;
      return JsonOps<oci::Linux>::read(r, value, spec->linux);
    },
    [](JsonWriter& w, const void* in) { json_write(w, static_cast<const oci::Spec*>(in)->linux); },
    [](const void* in) { return !static_cast<const oci::Spec*>(in)->has_linux; }};
inline void* whole(void* owner) { return owner; }

}  // namespace spec_json

ONGGI_FIELDS(Spec, REQUIRED(oci_version, "ociVersion"), F(process, "process"), F(root, "root"),
             F(hostname, "hostname"), F(domainname, "domainname"), F(mounts, "mounts"), F(hooks, "hooks"),
             F(annotations, "annotations"),
             {"linux", spec_json::whole, &spec_json::kLinux, JsonEmit::kOmitDefault});

#undef REQUIRED
#undef F
#undef ONGGI_FIELDS

}  // namespace onggi
