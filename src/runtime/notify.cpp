#include "runtime/notify.h"

#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "sys/unix_socket.h"

namespace onggi::runtime {

Result<> send_seccomp_listener(const oci::Seccomp& seccomp, int listener, int pid, const std::string& state) {
  if (seccomp.listener_path.empty())
    return fail(Error::invalid("linux.seccomp.listenerPath: is required when an action is SCMP_ACT_NOTIFY"));
  UniqueFd socket = TRY_CTX(sys::connect_unix(seccomp.listener_path), "linux.seccomp.listenerPath");
  JsonWriter w;
  w.begin_object();
  w.member("ociVersion", oci::kSpecVersion);
  w.member_strings("fds", {"seccompFd"});
  w.member_number("pid", pid);
  if (!seccomp.listener_metadata.empty()) w.member("metadata", seccomp.listener_metadata);
  w.key("state");
  w.raw(state);
  w.end_object();
  return sys::send_descriptor(socket.get(), listener, w.text());
}

bool apparmor_enabled() {
  auto text = read_file("/sys/module/apparmor/parameters/enabled", 64);
  return text && !text->empty() && (*text)[0] == 'Y';
}

bool selinux_enabled() { return ::access("/sys/fs/selinux/enforce", F_OK) == 0; }

}  // namespace onggi::runtime
