// checkpoint and restore as libexec/onggi/onggi-criu does them.
#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/file.h"
#include "rtcli/command.h"
#include "rtcli/foreground.h"
#include "runtime/checkpoint.h"

namespace onggi::rtcli {

namespace {

std::vector<Option> shared_options() {
  return {{"image-path", 0, true, "DIR", "directory of the checkpoint's images (default: checkpoint)"},
          {"work-path", 0, true, "DIR", "directory of criu's log (default: the image path)"},
          {"tcp-established", 0, false, "", "allow open TCP connections"},
          {"tcp-close", 0, false, "", "leave out open TCP connections; they are closed when restored"},
          {"ext-unix-sk", 0, false, "", "allow external Unix sockets"},
          {"shell-job", 0, false, "", "allow a process with the caller's terminal"},
          {"file-locks", 0, false, "", "save and restore file locks"},
          {"manage-cgroups-mode", 0, true, "soft|full|strict|ignore",
           "what happens to cgroups below the container's (default: soft)"},
          {"empty-ns", 0, true, "network", "recreate the namespace, but not its content"},
          {"auto-dedup", 0, false, "", "free pages of earlier dumps that are not needed any more"},
          {"lazy-pages", 0, false, "", "memory is moved on demand, over userfaultfd"}};
}

std::vector<Option> checkpoint_options() {
  std::vector<Option> list = shared_options();
  list.insert(
      list.end(),
      {{"parent-path", 0, true, "DIR", "earlier pre-dump to build on, relative to the image path"},
       {"leave-running", 'R', false, "", "let the container run on"},
       {"pre-dump", 0, false, "", "dump memory only, and let the container run on"},
       {"tcp-skip-in-flight", 0, false, "", "leave out TCP connections that are being made"},
       {"link-remap", 0, false, "", "allow open files that were deleted, by a temporary link"},
       {"network-lock", 0, true, "iptables|nftables|skip", "how packets are held back while dumping"},
       {"page-server", 0, true, "ADDRESS:PORT", "send memory there, or with --lazy-pages serve it there"},
       {"status-fd", 0, true, "FD",
        "with --lazy-pages: a zero byte is written when pages can be asked for"}});
  return list;
}

std::vector<Option> restore_options() {
  std::vector<Option> list = shared_options();
  list.insert(list.end(),
              {{"bundle", 'b', true, "PATH", "directory with config.json (default: the current one)"},
               {"console-socket", 0, true, "PATH", "Unix socket that receives the terminal's master"},
               {"pidfd-socket", 0, true, "PATH", "Unix socket that receives a pidfd of the process"},
               {"pid-file", 0, true, "FILE", "file to write the process id to"},
               {"detach", 'd', false, "", "return as soon as the container runs"},
               {"keep", 0, false, "", "keep the container's state after it has exited"},
               {"no-subreaper", 0, false, "", "do not adopt orphans of the container"},
               {"no-pivot", 0, false, "", "(refused: criu restores by pivot_root only)"},
               {"lsm-profile", 0, true, "TYPE:NAME", "security profile to restore with"},
               {"lsm-mount-context", 0, true, "LABEL", "mount context to restore with"}});
  return list;
}

Result<> fill_shared(const Args& a, runtime::CriuOptions& o) {
  o.image_path = a.get("image-path", "checkpoint");
  o.work_path = a.get("work-path");
  o.tcp_established = TRY(a.flag("tcp-established"));
  o.tcp_close = TRY(a.flag("tcp-close"));
  o.ext_unix_sk = TRY(a.flag("ext-unix-sk"));
  o.shell_job = TRY(a.flag("shell-job"));
  o.file_locks = TRY(a.flag("file-locks"));
  o.auto_dedup = TRY(a.flag("auto-dedup"));
  o.lazy_pages = TRY(a.flag("lazy-pages"));
  o.manage_cgroups_mode = a.get("manage-cgroups-mode", "soft");
  for (const auto& ns : a.all("empty-ns")) {
    if (ns != "network")
      return fail(Error::invalid("option --empty-ns: '" + ns + "': only network can be left empty"));
    o.empty_network = true;
  }
  return {};
}

// "ADDRESS:PORT"; an IPv6 address may stand in brackets.
Result<> set_page_server(const std::string& text, runtime::CheckpointOptions& o) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0)
    return fail(Error::invalid("option --page-server: '" + text + "' is not ADDRESS:PORT"));
  uint64_t port = TRY(parse_u64(text.substr(colon + 1), "option --page-server: port"));
  if (port == 0 || port > 65535) return fail(Error::invalid("option --page-server: port 1 to 65535"));
  o.page_server_address = text.substr(0, colon);
  if (o.page_server_address.size() > 2 && o.page_server_address.front() == '[' &&
      o.page_server_address.back() == ']')
    o.page_server_address = o.page_server_address.substr(1, o.page_server_address.size() - 2);
  o.page_server_port = static_cast<uint16_t>(port);
  return {};
}

Result<> set_status_fd(const Args& a, runtime::CheckpointOptions& o) {
  auto text = a.find("status-fd");
  if (!text) return {};
  uint64_t fd = TRY(parse_u64(*text, "option --status-fd"));
  int flags = fd < 1u << 20 ? ::fcntl(static_cast<int>(fd), F_GETFL) : -1;
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
    return fail(Error::invalid("option --status-fd: descriptor " + *text + " is not open for writing"));
  if (!o.lazy_pages) return fail(Error::invalid("option --status-fd: has no meaning without --lazy-pages"));
  o.status_fd = static_cast<int>(fd);
  return {};
}

Result<int> checkpoint(const Invocation& i) {
  runtime::CheckpointOptions o;
  o.id = i.args.rest()[0];
  TRY_VOID(fill_shared(i.args, o));
  o.parent_path = i.args.get("parent-path");
  o.leave_running = TRY(i.args.flag("leave-running"));
  o.pre_dump = TRY(i.args.flag("pre-dump"));
  o.link_remap = TRY(i.args.flag("link-remap"));
  o.tcp_skip_in_flight = TRY(i.args.flag("tcp-skip-in-flight"));
  o.network_lock = i.args.get("network-lock");
  if (auto server = i.args.find("page-server")) TRY_VOID(set_page_server(*server, o));
  TRY_VOID(set_status_fd(i.args, o));
  TRY_VOID(runtime::checkpoint_container(i.context, o));
  return 0;
}

Result<int> restore(const Invocation& i) {
  runtime::RestoreOptions o;
  o.id = i.args.rest()[0];
  TRY_VOID(fill_shared(i.args, o));
  bool no_pivot = TRY(i.args.flag("no-pivot"));
  if (no_pivot)
    return fail(
        Error::unsupported("option --no-pivot: criu restores the root by pivot_root only; leave it out"));
  o.bundle = i.args.get("bundle");
  o.console_socket = i.args.get("console-socket");
  o.pidfd_socket = i.args.get("pidfd-socket");
  o.pid_file = i.args.get("pid-file");
  o.lsm_profile = i.args.get("lsm-profile");
  o.lsm_mount_context = i.args.get("lsm-mount-context");
  o.detach = TRY(i.args.flag("detach"));
  bool keep = TRY(i.args.flag("keep")), no_subreaper = TRY(i.args.flag("no-subreaper"));
  if (!no_subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  Foreground foreground;
  if (!o.detach) TRY_VOID(foreground.prepare());
  runtime::Started started = TRY(runtime::restore_container(i.context, o));
  if (o.detach) return 0;
  flush_warnings();
  int code = TRY(foreground.wait(std::move(started)));
  if (!keep) TRY_VOID(runtime::delete_container(i.context, o.id, true));
  return code;
}

}  // namespace

std::span<const Command> criu_commands() {
  static constexpr Command kCommands[] = {
      {"checkpoint", "ID", "save a running container by CRIU", checkpoint_options, 1, 1, checkpoint},
      {"restore", "ID", "restore a container by CRIU", restore_options, 1, 1, restore}};
  return kCommands;
}

}  // namespace onggi::rtcli
