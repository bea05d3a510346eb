// Netlink as one message: several requests, one sendmsg, answers matched by number.
//
// The kernel works through all requests of a message, also after one that failed; what depends on it fails,
// too, so the first error is the cause. Only requests that ask for it (all do, unless said otherwise) are
// acknowledged; the acknowledgement of the last one says that all are done.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace onggi::sys {

class NetlinkBatch {
 public:
  // Begins a request: `flags` beside NLM_F_REQUEST; `what` is the operation for an error's text.
  template <class Body>
  void begin(uint16_t type, uint16_t flags, const Body& body, std::string what) {
    begin_bytes(type, flags, {reinterpret_cast<const char*>(&body), sizeof body}, std::move(what));
  }
  void begin_bytes(uint16_t type, uint16_t flags, std::string_view body, std::string what);
  void put(uint16_t attribute, std::string_view data);
  void put_string(uint16_t attribute, std::string_view text);  // with its NUL
  void put_u8(uint16_t attribute, uint8_t value);
  void put_u16(uint16_t attribute, uint16_t value);
  void put_u32(uint16_t attribute, uint32_t value);
  void put_u32be(uint16_t attribute, uint32_t value);  // nfnetlink's byte order
  void put_u64be(uint16_t attribute, uint64_t value);
  // A nested attribute; `close` takes what `open` gave. `body`: a fixed part before the attributes.
  [[nodiscard]] size_t open(uint16_t attribute, std::string_view body = {});
  void close_nested(size_t at);

  void acknowledge_last();  // asks for an answer to the request that was begun last

  [[nodiscard]] bool empty() const { return requests_.empty(); }
  [[nodiscard]] size_t count() const { return requests_.size(); }
  [[nodiscard]] std::string_view bytes() const { return buffer_; }
  [[nodiscard]] const std::string& what(size_t n) const { return requests_[n].what; }

 private:
  friend class NetlinkSocket;
  struct Request {
    size_t at;
    std::string what;
    bool acknowledged;
  };
  std::string buffer_;
  std::vector<Request> requests_;
};

class NetlinkSocket {
 public:
  // `protocol`: NETLINK_ROUTE, NETLINK_NETFILTER; `groups`: multicast groups by number.
  static Result<NetlinkSocket> open(int protocol, const std::vector<unsigned>& groups = {});

  // Sends all requests and waits for their answers. The error of the first that failed, with the kernel's
  // own words where it gave any.
  Result<> run(NetlinkBatch& batch);
  // A dump: `each` gets every answer's header.
  Result<> dump(NetlinkBatch& batch, const std::function<void(const nlmsghdr*)>& each);
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Result<> send(NetlinkBatch& batch);
  UniqueFd fd_;
  uint32_t sequence_ = 1;
};

// Attributes of a message: calls `each(type without flags, data)`; stops at what is malformed.
void each_attribute(std::string_view attributes, const std::function<void(uint16_t, std::string_view)>& each);
// What follows a header and a body of `body` bytes.
std::string_view attributes_of(const nlmsghdr* header, size_t body);

}  // namespace onggi::sys
