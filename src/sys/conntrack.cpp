#include "sys/conntrack.h"

#include <netinet/in.h>
// After the C library's own.
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cstring>
#include <vector>

namespace onggi::sys {

namespace {

nfgenmsg body(uint8_t family) {
  nfgenmsg m = {};
  m.nfgen_family = family;
  m.version = NFNETLINK_V0;
  return m;
}

uint16_t be16(std::string_view data) {
  return data.size() == 2
             ? static_cast<uint16_t>(static_cast<uint8_t>(data[0]) << 8 | static_cast<uint8_t>(data[1]))
             : uint16_t{0};
}
uint32_t be32(std::string_view data) {
  uint32_t v = 0;
  if (data.size() == 4) memcpy(&v, data.data(), 4);
  return __builtin_bswap32(v);
}

void read_tuple(std::string_view data, IpAddress& from, IpAddress& to, uint16_t& from_port, uint16_t& to_port,
                uint8_t& protocol) {
  each_attribute(data, [&](uint16_t type, std::string_view inner) {
    each_attribute(inner, [&](uint16_t field, std::string_view value) {
      if (type == CTA_TUPLE_IP && (field == CTA_IP_V4_SRC || field == CTA_IP_V6_SRC))
        from = IpAddress::from_bytes(value);
      if (type == CTA_TUPLE_IP && (field == CTA_IP_V4_DST || field == CTA_IP_V6_DST))
        to = IpAddress::from_bytes(value);
      if (type != CTA_TUPLE_PROTO) return;
      if (field == CTA_PROTO_NUM && !value.empty()) protocol = static_cast<uint8_t>(value[0]);
      if (field == CTA_PROTO_SRC_PORT) from_port = be16(value);
      if (field == CTA_PROTO_DST_PORT) to_port = be16(value);
    });
  });
}

// `original`: the tuple's own bytes, by which an entry is named when it is deleted.
Flow read_flow(const nlmsghdr* h, std::string& original) {
  Flow f;
  uint8_t ignored = 0;
  each_attribute(attributes_of(h, sizeof(nfgenmsg)), [&](uint16_t type, std::string_view data) {
    if (type == CTA_TUPLE_ORIG) {
      original = data;
      read_tuple(data, f.source, f.destination, f.source_port, f.destination_port, f.protocol);
    }
    if (type == CTA_TUPLE_REPLY)
      read_tuple(data, f.reply_source, f.reply_destination, f.reply_source_port, f.reply_destination_port,
                 ignored);
    if (type == CTA_STATUS) f.status = be32(data);
    if (type == CTA_MARK) f.mark = be32(data);
    if (type != CTA_PROTOINFO) return;
    each_attribute(data, [&](uint16_t protocol, std::string_view inner) {
      if (protocol != CTA_PROTOINFO_TCP) return;
      each_attribute(inner, [&](uint16_t field, std::string_view value) {
        if (field == CTA_PROTOINFO_TCP_STATE && !value.empty()) f.tcp_state = static_cast<uint8_t>(value[0]);
      });
    });
  });
  return f;
}

Result<> dump(NetlinkSocket& socket, const std::function<void(const nlmsghdr*)>& each) {
  NetlinkBatch batch;
  batch.begin(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP, body(AF_UNSPEC),
              "list tracked connections");
  return socket.dump(batch, each);
}

}  // namespace

Result<> each_flow(NetlinkSocket& socket, const std::function<void(const Flow&)>& each) {
  std::string original;
  return dump(socket, [&](const nlmsghdr* h) { each(read_flow(h, original)); });
}

Result<> forget_flows(NetlinkSocket& socket, const std::function<bool(const Flow&)>& which) {
  std::vector<std::pair<uint8_t, std::string>> found;
  TRY_VOID(dump(socket, [&](const nlmsghdr* h) {
    std::string original;
    Flow f = read_flow(h, original);
    if (which(f)) found.emplace_back(f.source.is_v4() ? AF_INET : AF_INET6, std::move(original));
  }));
  for (const auto& [family, original] : found) {
    NetlinkBatch batch;
    batch.begin(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_ACK, body(family),
                "forget a tracked connection");
    size_t at = batch.open(CTA_TUPLE_ORIG | NLA_F_NESTED, original);
    batch.close_nested(at);
    (void)socket.run(batch);  // ended meanwhile
  }
  return {};
}

}  // namespace onggi::sys
