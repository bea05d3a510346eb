// Speaks to one `criu swrk` process: requests and answers of criu's rpc.proto over a SOCK_SEQPACKET pair.
//
// Of protobuf's wire format this needs varints and length-delimited fields, both ways, which is less code
// than a generated library's start-up. Owns the process: a session that is destroyed ends it and reaps it, so
// that criu never outlives the command that asked for it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sys/process.h"

namespace onggi::runtime {

// Appends fields of one protobuf message. Numbers are not negative.
class ProtoWriter {
 public:
  void number(uint32_t field, uint64_t value);
  void text(uint32_t field, std::string_view bytes);
  void message(uint32_t field, const ProtoWriter& inner) { text(field, inner.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void varint(uint64_t value);
  std::string bytes_;
};

struct ProtoField {
  uint32_t number = 0;
  uint64_t value = 0;      // varint and fixed-width fields
  std::string_view bytes;  // length-delimited fields; a view into the message
};

// Walks the fields of a message; kInternal when it is not one (cut short, overlong varint, unknown wire
// type).
class ProtoReader {
 public:
  explicit ProtoReader(std::string_view bytes) : rest_(bytes) {}
  // False at the end.
  Result<bool> next(ProtoField& field);

 private:
  Result<uint64_t> varint();
  std::string_view rest_;
};

// criu_req_type
enum class CriuRequest : uint8_t { kDump = 1, kRestore = 2, kPreDump = 4 };

// A criu_notify: criu waits at this point until it is answered.
struct CriuEvent {
  std::string script;  // "post-dump", "setup-namespaces", "post-restore", "orphan-pts-master", "status-ready"
  int pid = 0;         // of the root task, where the script has one
  UniqueFd fd;         // what came with it (the terminal's master)
};

struct CriuAnswer {
  bool notify = false;
  bool success = false;
  int pid = 0;          // restore: the root task
  int error = 0;        // cr_errno
  std::string message;  // cr_errmsg
  CriuEvent event;
};
Result<CriuAnswer> parse_criu_answer(std::string_view packet);

class CriuSession {
 public:
  // Starts criu, which waits for its request. It gets the descriptors in `inherit` under the same numbers.
  // `quiet`: its standard streams are /dev/null (its log and its answers say more); otherwise this process's,
  // which restored processes can inherit. kNotFound when it is not installed.
  static Result<CriuSession> start(const std::vector<int>& inherit, bool quiet);
  CriuSession(CriuSession&&) noexcept = default;
  CriuSession& operator=(CriuSession&&) noexcept = default;
  ~CriuSession();

  [[nodiscard]] int pid() const { return process_.pid; }
  // Sends the request and answers notifications until criu is done. An error of `on_event` tells criu to
  // undo, and is what this returns. kOs with criu's own words when it failed.
  Result<CriuAnswer> call(CriuRequest kind, const ProtoWriter& options,
                          const std::function<Result<>(CriuEvent&)>& on_event);
  // Ends the process, if it has not, and reaps it.
  void finish();

 private:
  CriuSession() = default;
  Result<> send(const ProtoWriter& message);
  Result<CriuAnswer> receive();

  UniqueFd socket_;
  sys::Spawned process_;
};

// In $PATH, then where packages put it although an engine's $PATH may lack them (sbin). Empty: not there.
std::string find_program(const std::string& name);

}  // namespace onggi::runtime
