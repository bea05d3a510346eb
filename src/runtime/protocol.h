// The protocol between the engine and `onggi-runtime monitor`, version 1.
//
// The engine executes `onggi-runtime [global options] monitor --control-fd N`, where N is one end of a
// SOCK_SEQPACKET pair; later it can connect to DIR/control.sock (same protocol, as often as it likes: the
// monitor outlives the engine). Every packet is one message: a MessageHeader, then `length` bytes of payload.
// All integers are little endian; strings are UTF-8 without a terminator, each preceded by its u32 length. A
// packet that is too short, too long (kMaxMessage) or of another version is answered by kError and ignored.
//
//   engine -> monitor
//     kCreate   CreateBody, then the strings: id, bundle, directory, log ("" : none; a path; or
//               "journald:ID:NAME"), the words of the exit command (none: no command), and, after an empty
//               string, the words of the rotation command. Once, as the first message. With it may come one
//               descriptor (SCM_RIGHTS): a detached mount, which the monitor attaches at BUNDLE/rootfs. It
//               must then have been started in a mount namespace of its own.
//     kStart    no payload. After kCreated. If every control connection ends before it, the container ends.
//     kSignal   u32 signal number
//     kResize   u16 rows, u16 columns (containers with a terminal)
//     kStdin    bytes for standard input; kCloseStdin ends it
//   monitor -> engine
//     kCreated  u32 pid of the container's init in the monitor's pid namespace
//     kStarted  no payload
//     kOom      u64 OOM kills of the container's cgroup so far
//     kExited   ExitBody, then the string: reason in words
//     kError    string: what failed and why. After a failed kCreate or kStart the monitor ends.
//
// When the container has ended and all is told, the monitor executes the exit command in its own place (same
// pid): the engine's way to record the end, and to remove or restart the container, without a daemon.
//
// Files in DIR (mode 0700): control.sock, attach.sock, pid, and, once the container has ended, exit.json
// {"pid","exitCode","signal","oomKills","reason","finishedAt"}, written atomically before kExited is sent.
//
// attach.sock (SOCK_SEQPACKET): the monitor sends packets whose first byte is the stream (1 stdout, 2 stderr)
// and the rest output; a client sends packets whose first byte is 0 (input follows), 1 (u16 rows, u16
// columns), 2 (end of input), or 3 (this client wants every byte: output waits for it). Any other client that
// does not read is dropped when its socket buffer is full: who merely watches cannot slow a service down.
// Input waits for the container to read it.
//
// Log: one JSON object per line, {"log":"text\n","stream":"stdout","time":"RFC 3339"}; lines over 16 KiB are
// cut into objects without "\n". When the file would grow over `log_max_bytes` it becomes PATH.1, PATH.1
// becomes PATH.2, up to log_max_files files in all. After each rotation the rotation command is executed with
// PATH.1 as its last word; it may replace PATH.1 by PATH.1.gz under a flock of the directory.
#pragma once

#include <cstdint>

namespace onggi::runtime {

inline constexpr uint16_t kProtocolVersion = 1;
inline constexpr uint32_t kMaxMessage = 65536;  // bytes, header included

enum class MonitorMessage : uint16_t {
  kCreate = 1,
  kStart,
  kSignal,
  kResize,
  kStdin,
  kCloseStdin,
  kCreated = 64,
  kStarted,
  kOom,
  kExited,
  kError,
};

struct MessageHeader {
  uint16_t version = kProtocolVersion;
  MonitorMessage type = MonitorMessage::kError;
  uint32_t length = 0;  // of the payload, bytes
};
static_assert(sizeof(MessageHeader) == 8);

struct CreateBody {
  uint64_t log_max_bytes = 16u << 20;
  uint32_t log_max_files = 3;
  uint32_t terminal = 0;    // 1: process.terminal is true
  uint32_t stdin_open = 0;  // 1: standard input is a pipe fed by kStdin and attach; 0: /dev/null
  // Id on this host that gets the pipes of standard output and error, so that a program inside can open
  // /dev/stdout: the container's root. 0: they stay root's.
  uint32_t stdio_owner = 0;
};
static_assert(sizeof(CreateBody) == 24);

struct ExitBody {
  int32_t exit_code = 0;  // 0-255; 128 + signal when a signal ended it
  int32_t signal = 0;     // 0: none
  uint64_t oom_kills = 0;
};
static_assert(sizeof(ExitBody) == 16);

}  // namespace onggi::runtime
