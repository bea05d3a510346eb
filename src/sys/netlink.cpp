#include "sys/netlink.h"

#include <sys/socket.h>

#include <cstring>
#include <memory>

namespace onggi::sys {

namespace {

constexpr size_t kReceiveBytes = 64u << 10;

uint32_t big32(uint32_t v) { return __builtin_bswap32(v); }

std::string_view as_bytes(const auto& value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

// The kernel's words in an extended acknowledgement (NLMSGERR_ATTR_MSG); empty without.
std::string kernel_words(const nlmsghdr* h) {
  if (!(h->nlmsg_flags & NLM_F_ACK_TLVS)) return "";
  auto* e = static_cast<const nlmsgerr*>(NLMSG_DATA(const_cast<nlmsghdr*>(h)));
  size_t body = sizeof *e;
  // Without NLM_F_CAPPED the whole failed request comes back before the attributes.
  if (!(h->nlmsg_flags & NLM_F_CAPPED)) body += e->msg.nlmsg_len - sizeof e->msg;
  std::string words;
  each_attribute(attributes_of(h, body), [&](uint16_t type, std::string_view data) {
    if (type == NLMSGERR_ATTR_MSG && !data.empty())
      words = std::string(data.data(), ::strnlen(data.data(), data.size()));
  });
  return words;
}

}  // namespace

void NetlinkBatch::begin_bytes(uint16_t type, uint16_t flags, std::string_view body, std::string what) {
  buffer_.resize(NLMSG_ALIGN(buffer_.size()));
  requests_.push_back({buffer_.size(), std::move(what), (flags & NLM_F_ACK) != 0});
  nlmsghdr h = {};
  h.nlmsg_type = type;
  h.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  buffer_ += as_bytes(h);
  buffer_ += body;
}

void NetlinkBatch::put(uint16_t attribute, std::string_view data) {
  buffer_.resize(NLA_ALIGN(buffer_.size()));
  nlattr a = {static_cast<uint16_t>(NLA_HDRLEN + data.size()), attribute};
  buffer_ += as_bytes(a);
  buffer_ += data;
}
void NetlinkBatch::put_string(uint16_t attribute, std::string_view text) {
  put(attribute, std::string(text) + '\0');
}
void NetlinkBatch::put_u8(uint16_t attribute, uint8_t value) { put(attribute, as_bytes(value)); }
void NetlinkBatch::put_u16(uint16_t attribute, uint16_t value) { put(attribute, as_bytes(value)); }
void NetlinkBatch::put_u32(uint16_t attribute, uint32_t value) { put(attribute, as_bytes(value)); }
void NetlinkBatch::put_u32be(uint16_t attribute, uint32_t value) { put_u32(attribute, big32(value)); }
void NetlinkBatch::put_u64be(uint16_t attribute, uint64_t value) {
  uint64_t big = __builtin_bswap64(value);
  put(attribute, as_bytes(big));
}

size_t NetlinkBatch::open(uint16_t attribute, std::string_view body) {
  put(attribute, body);
  return buffer_.size() - body.size() - NLA_HDRLEN;
}

void NetlinkBatch::close_nested(size_t at) {
  auto length = static_cast<uint16_t>(buffer_.size() - at);
  memcpy(buffer_.data() + at, &length, sizeof length);
}

void NetlinkBatch::acknowledge_last() {
  requests_.back().acknowledged = true;
  auto* h = reinterpret_cast<nlmsghdr*>(buffer_.data() + requests_.back().at);
  h->nlmsg_flags = static_cast<uint16_t>(h->nlmsg_flags | NLM_F_ACK);
}

Result<NetlinkSocket> NetlinkSocket::open(int protocol, const std::vector<unsigned>& groups) {
  NetlinkSocket s;
  s.fd_ = UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!s.fd_) return fail(Error::os("open a netlink socket", ""));
  int on = 1;
  (void)::setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)::setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  // Without a number of its own a socket hears of nothing: 0 is the sender that broadcasts leave out.
  sockaddr_nl own = {};
  own.nl_family = AF_NETLINK;
  if (!groups.empty() && ::bind(s.fd_.get(), reinterpret_cast<sockaddr*>(&own), sizeof own) < 0)
    return fail(Error::os("bind a netlink socket", ""));
  for (unsigned group : groups)
    if (::setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
      return fail(Error::os("join a netlink group", std::to_string(group)));
  return s;
}

// Numbers the requests of the batch and closes their lengths.
Result<> NetlinkSocket::send(NetlinkBatch& batch) {
  batch.buffer_.resize(NLMSG_ALIGN(batch.buffer_.size()));
  for (size_t n = 0; n < batch.requests_.size(); n++) {
    size_t at = batch.requests_[n].at;
    size_t end = n + 1 < batch.requests_.size() ? batch.requests_[n + 1].at : batch.buffer_.size();
    auto* h = reinterpret_cast<nlmsghdr*>(batch.buffer_.data() + at);
    h->nlmsg_len = static_cast<uint32_t>(end - at);
    h->nlmsg_seq = sequence_ + static_cast<uint32_t>(n);
  }
  // A large transaction needs room; the limit for unprivileged sockets may be smaller.
  if (batch.buffer_.size() > (100u << 10)) {
    int bytes = static_cast<int>(batch.buffer_.size() * 2);
    (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
    (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  }
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  if (::sendto(fd_.get(), batch.buffer_.data(), batch.buffer_.size(), 0, reinterpret_cast<sockaddr*>(&kernel),
               sizeof kernel) < 0)
    return fail(
        Error::os("send to the kernel by netlink", batch.requests_.empty() ? "" : batch.requests_[0].what));
  return {};
}

Result<> NetlinkSocket::run(NetlinkBatch& batch) {
  if (batch.empty()) return {};
  TRY_VOID(send(batch));
  uint32_t first = std::exchange(sequence_, sequence_ + static_cast<uint32_t>(batch.count()));
  size_t missing = 0;
  for (const auto& r : batch.requests_) missing += r.acknowledged;
  auto buffer = std::make_unique<char[]>(kReceiveBytes);
  Result<> outcome;
  size_t worst = SIZE_MAX;
  while (missing > 0) {
    ssize_t n = ::recv(fd_.get(), buffer.get(), kReceiveBytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os("read netlink's answers", batch.what(0)));
    auto left = static_cast<unsigned>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.get()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      uint32_t number = h->nlmsg_seq - first;
      if (h->nlmsg_type != NLMSG_ERROR || number >= batch.count()) continue;
      int e = -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
      // A transaction that fails as a whole is answered once, by its first message.
      bool whole = e && !batch.requests_[number].acknowledged;
      missing = whole ? 0 : missing - 1;
      if (!e || number >= worst) continue;
      worst = number;
      std::string words = kernel_words(h);
      outcome =
          fail(Error::os(batch.what(number), "", e).wrap(words.empty() ? "netlink" : "netlink: " + words));
    }
  }
  return outcome;
}

Result<> NetlinkSocket::dump(NetlinkBatch& batch, const std::function<void(const nlmsghdr*)>& each) {
  TRY_VOID(send(batch));
  uint32_t number = sequence_++;
  auto buffer = std::make_unique<char[]>(kReceiveBytes);
  for (;;) {
    ssize_t n = ::recv(fd_.get(), buffer.get(), kReceiveBytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Error::os(batch.what(0), ""));
    auto left = static_cast<unsigned>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.get()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_seq != number) continue;
      if (h->nlmsg_type == NLMSG_DONE) return {};
      if (h->nlmsg_type == NLMSG_ERROR) {
        int e = -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
        return e ? fail(Error::os(batch.what(0), "", e)) : Result<>();
      }
      each(h);
    }
  }
}

void each_attribute(std::string_view data, const std::function<void(uint16_t, std::string_view)>& each) {
  while (data.size() >= NLA_HDRLEN) {
    nlattr a;
    memcpy(&a, data.data(), sizeof a);
    if (a.nla_len < NLA_HDRLEN || a.nla_len > data.size()) return;
    each(a.nla_type & NLA_TYPE_MASK, data.substr(NLA_HDRLEN, a.nla_len - NLA_HDRLEN));
    data.remove_prefix(std::min<size_t>(data.size(), NLA_ALIGN(a.nla_len)));
  }
}

std::string_view attributes_of(const nlmsghdr* h, size_t body) {
  std::string_view all(reinterpret_cast<const char*>(h) + NLMSG_HDRLEN, h->nlmsg_len - NLMSG_HDRLEN);
  all.remove_prefix(std::min<size_t>(all.size(), NLMSG_ALIGN(body)));
  return all;
}

}  // namespace onggi::sys
