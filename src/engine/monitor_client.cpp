#include "engine/monitor_client.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/file.h"
#include "sys/unix_socket.h"

namespace onggi::engine {

namespace {

std::string with_length(std::string_view text) {
  uint32_t size = static_cast<uint32_t>(text.size());
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + std::string(text);
}

std::string error_text(std::string_view payload) {
  return std::string(payload.size() > 4 ? payload.substr(4) : payload);
}

Result<UniqueFd> connect_packet(const std::string& path) { return sys::connect_unix(path, SOCK_SEQPACKET); }

}  // namespace

Result<> MonitorClient::send(runtime::MonitorMessage type, std::string_view payload) const {
  runtime::MessageHeader header;
  header.type = type;
  header.length = static_cast<uint32_t>(payload.size());
  iovec parts[] = {{&header, sizeof header}, {const_cast<char*>(payload.data()), payload.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (::sendmsg(socket_.get(), &message, MSG_NOSIGNAL) < 0) return fail(Error::os("talk to the monitor", ""));
  return {};
}

Result<MonitorMessage> MonitorClient::receive() const {
  static thread_local char packet[runtime::kMaxMessage];
  ssize_t n;
  do n = ::recv(socket_.get(), packet, sizeof packet, 0);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail(Error::os("listen to the monitor", ""));
  if (n == 0) return fail(Error::not_found("the monitor has ended"));
  runtime::MessageHeader header;
  if (static_cast<size_t>(n) < sizeof header)
    return fail(Error::internal("the monitor sent a short message"));
  memcpy(&header, packet, sizeof header);
  return MonitorMessage{header.type,
                        std::string(packet + sizeof header, static_cast<size_t>(n) - sizeof header)};
}

Result<MonitorMessage> MonitorClient::expect(runtime::MonitorMessage type) const {
  for (;;) {
    MonitorMessage m = TRY(receive());
    if (m.type == type) return m;
    if (m.type == runtime::MonitorMessage::kError) return fail(Error(ErrorKind::kOs, error_text(m.payload)));
    if (m.type == runtime::MonitorMessage::kExited)
      return fail(Error(ErrorKind::kOs, "the container ended before it was started"));
  }
}

Result<MonitorClient> MonitorClient::launch(const Paths& paths, const MonitorArgs& args) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return fail(Error::os("make a socket pair for the monitor", ""));
  MonitorClient client;
  client.socket_ = UniqueFd(pair[0]);
  UniqueFd theirs(pair[1]);
  UniqueFd null = TRY(open_at(AT_FDCWD, "/dev/null", O_RDWR));
  std::string control = std::to_string(theirs.get()), root = paths.runtime_root();
  std::vector<const char*> argv = {"onggi-runtime", "--root", root.c_str()};
  for (const char* word : {"monitor", "--control-fd", control.c_str()}) argv.push_back(word);
  argv.push_back(nullptr);
  int inherit = theirs.get();
  sys::SpawnArgs spawn;
  spawn.clone_flags = args.root_mount >= 0 ? CLONE_NEWNS : 0;
  spawn.exec_path = paths.runtime.c_str();
  spawn.argv = argv.data();
  spawn.envp = environ;
  spawn.inherit = &inherit;
  spawn.inherit_count = 1;
  spawn.directory = "/";
  spawn.cgroup_fd = args.cgroup;
  for (int& fd : spawn.stdio) fd = null.get();
  client.process_ = TRY_CTX(sys::spawn(spawn), "start the monitor " + paths.runtime);
  theirs.reset();
  std::string payload(reinterpret_cast<const char*>(&args.body), sizeof args.body);
  for (const std::string* field : {&args.id, &args.bundle, &args.directory, &args.log_path})
    payload += with_length(*field);
  for (const auto& word : args.exit_command) payload += with_length(word);
  if (!args.rotation_command.empty()) payload += with_length("");
  for (const auto& word : args.rotation_command) payload += with_length(word);
  runtime::MessageHeader header;
  header.type = runtime::MonitorMessage::kCreate;
  header.length = static_cast<uint32_t>(payload.size());
  std::string packet = std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload;
  if (args.root_mount >= 0)
    TRY_VOID(sys::send_descriptor(client.socket_.get(), args.root_mount, packet));
  else
    TRY_VOID(client.send(runtime::MonitorMessage::kCreate, payload));
  MonitorMessage created = TRY(client.expect(runtime::MonitorMessage::kCreated));
  if (created.payload.size() != 4) return fail(Error::internal("the monitor sent a malformed pid"));
  memcpy(&client.pid_, created.payload.data(), 4);
  return client;
}

Result<MonitorClient> MonitorClient::connect(const std::string& directory) {
  MonitorClient client;
  client.socket_ = TRY(connect_packet(directory + "/control.sock"));
  return client;
}

Result<> MonitorClient::start() {
  TRY_VOID(send(runtime::MonitorMessage::kStart, ""));
  TRY_VOID(expect(runtime::MonitorMessage::kStarted));
  return {};
}

Result<UniqueFd> connect_attach(const std::string& directory) {
  UniqueFd socket = TRY(connect_packet(directory + "/attach.sock"));
  constexpr char kEveryByte = 3;
  if (::send(socket.get(), &kEveryByte, 1, MSG_NOSIGNAL) < 0)
    return fail(Error::os("attach to the container", directory));
  return socket;
}

}  // namespace onggi::engine
