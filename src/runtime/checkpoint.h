// `checkpoint` and `restore`: a container's processes to image files and back, by CRIU (criu.org).
//
// CRIU sees the processes; what it cannot know is told to it here, from the configuration: which mounts come
// from outside (bind mounts, masked files, device nodes of user namespaces), which namespaces the container
// shares with others, where its standard streams lead, which cgroup it is to live in. Linked into
// libexec/onggi/onggi-criu only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "oci/runtime_spec.h"
#include "runtime/container.h"
#include "runtime/criu_rpc.h"

namespace onggi::runtime {

struct CriuOptions {
  std::string image_path;  // directory of the images
  std::string work_path;   // directory of logs; empty: image_path
  bool tcp_established = false, tcp_close = false, ext_unix_sk = false, shell_job = false, file_locks = false,
       auto_dedup = false, lazy_pages = false, empty_network = false;
  std::string manage_cgroups_mode = "soft";  // soft, full, strict, ignore
};

struct CheckpointOptions : CriuOptions {
  std::string id;
  std::string parent_path;  // relative to image_path, as the images refer to it
  bool leave_running = false, pre_dump = false, link_remap = false, tcp_skip_in_flight = false;
  std::string network_lock;         // iptables, nftables, skip; empty: what the host has
  int status_fd = -1;               // a zero byte is written when lazy pages can be asked for
  std::string page_server_address;  // with a port: pages go there instead of into files
  uint16_t page_server_port = 0;
};
// Dumps a running or paused container. Without leave_running and pre_dump it is then deleted, as runc and
// crun do (its images are what is left of it). When the dump fails, the container goes on as before, and what
// was written into a fresh image directory is removed, but for the log.
Result<> checkpoint_container(const RuntimeContext& context, const CheckpointOptions& options);

struct RestoreOptions : CriuOptions {
  std::string id;
  std::string bundle;
  std::string console_socket, pidfd_socket, pid_file;
  std::string lsm_profile, lsm_mount_context;
  bool detach = false;
};
// A new container `id` whose processes come from the images. When it fails, nothing of it is left.
Result<Started> restore_container(const RuntimeContext& context, const RestoreOptions& options);

// --- criu_request.cpp: what both directions share ---

// Field numbers of criu_opts (rpc.proto of criu 4.1; unknown ones are ignored by older versions).
enum CriuField : uint32_t {
  kImagesDirFd = 1,
  kPid = 2,
  kLeaveRunning = 3,
  kExtUnixSk = 4,
  kTcpEstablished = 5,
  kEvasiveDevices = 6,
  kShellJob = 7,
  kFileLocks = 8,
  kLogLevel = 9,
  kLogFile = 10,
  kPageServer = 11,
  kNotifyScripts = 12,
  kRoot = 13,
  kParentImages = 14,
  kTrackMem = 15,
  kAutoDedup = 16,
  kWorkDirFd = 17,
  kLinkRemap = 18,
  kExtMount = 23,
  kManageCgroups = 24,
  kCgroupRoot = 25,
  kRestoreSibling = 26,
  kInheritFd = 27,
  kManageCgroupsMode = 34,
  kExternal = 37,
  kEmptyNs = 38,
  kJoinNs = 39,
  kFreezeCgroup = 44,
  kTcpSkipInFlight = 46,
  kLazyPages = 48,
  kOrphanPtsMaster = 50,
  kConfigFile = 51,
  kTcpClose = 52,
  kLsmProfile = 53,
  kLsmMountContext = 63,
  kNetworkLock = 64
};

constexpr const char* kDescriptorsFile = "descriptors.json";
constexpr const char* kManifestFile = "onggi-images.json";  // {"core-1.img": 1756, ...}

// The open directories of one request, and its log.
struct CriuDirectories {
  UniqueFd images, work;
  std::string log_path;
  bool fresh = false;  // no image was there before
  bool made = false;   // the image directory itself was not
};
// `make`: the directories are made when they do not exist (0700).
Result<CriuDirectories> open_criu_directories(const CriuOptions& options, const char* log_file, bool make);
// Refuses what CRIU cannot do or what nobody would notice to be missing.
Result<> check_criu_can(const RuntimeContext& context, const oci::Spec& spec);
// The fields that both requests have, but for the directories.
Result<ProtoWriter> common_request(const CriuOptions& options, const char* log_file, const oci::Spec& spec);
// criu opens these descriptors of this process by itself, so they must stay open.
void add_directories(ProtoWriter& request, const CriuDirectories& directories);
// The sizes of all image files, as text for kManifestFile; and the check of it: criu does not notice every
// file that was cut short (4.1 loops for ever on short pages). Images without that file are other programs',
// and pass.
Result<std::string> image_manifest(int images);
Result<> check_images(int images, const std::string& name);
// Adds the last errors of criu's log to the error, and where the log is.
Error explain_criu_failure(Error error, const std::string& log_path);

void add_pair(ProtoWriter& request, CriuField field, std::string_view first, std::string_view second);

// Mounts that come from outside, by name: bind mounts (name: destination), masked files and device nodes
// (name: path). The name is what the images call the mount by.
// For restore: name -> what to mount there.
std::map<std::string, std::string> external_sources(const oci::Spec& spec);
// For the dump: where the mount is in the container of `init` now -> name.
Result<std::map<std::string, std::string>> external_mounts(const oci::Spec& spec, int init);

// The namespaces that are dumped by name only: (kind in /proc/PID/ns, name in the images).
struct ExternalNamespace {
  const oci::Namespace* ns;
  const char* kind;
  const char* name;
};
std::vector<ExternalNamespace> external_namespaces(const oci::Spec& spec);

// Where descriptors 0-2 of `init` lead: "pipe:[N]", "file[MOUNT:INODE]" (a file of another mount namespace;
// hexadecimal, criu's notation), or the path.
Result<std::vector<std::string>> standard_streams(int init);

}  // namespace onggi::runtime
