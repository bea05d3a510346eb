#include "keeper/dns_message.h"

#include <ldns/ldns.h>

#include <cstring>
#include <memory>

namespace onggi::keeper {

namespace {

constexpr size_t kHeader = 12;
constexpr size_t kMaxName = 255;

template <class T, void (*F)(T*)>
struct Free {
  void operator()(T* p) const { F(p); }
};
using Packet = std::unique_ptr<ldns_pkt, Free<ldns_pkt, ldns_pkt_free>>;
using Rr = std::unique_ptr<ldns_rr, Free<ldns_rr, ldns_rr_free>>;
using Rdf = std::unique_ptr<ldns_rdf, Free<ldns_rdf, ldns_rdf_deep_free>>;

uint16_t at16(std::string_view p, size_t at) {
  return static_cast<uint16_t>(static_cast<uint8_t>(p[at]) << 8 | static_cast<uint8_t>(p[at + 1]));
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

// Labels with dots between them; one with a dot or an odd byte in it is no container's name.
std::optional<std::string> name_text(const ldns_rdf* rdf) {
  std::string name;
  const uint8_t* data = ldns_rdf_data(rdf);
  size_t size = ldns_rdf_size(rdf);
  for (size_t at = 0; at < size && data[at];) {
    size_t length = data[at];
    if (length > 63 || at + 1 + length > size) return std::nullopt;
    if (!name.empty()) name += '.';
    for (size_t n = 0; n < length; n++) {
      char c = static_cast<char>(data[at + 1 + n]);
      if (c <= ' ' || c == '.' || c > '~') return std::nullopt;
      name += c;
    }
    at += 1 + length;
  }
  return lower(name);
}

Wanted wanted_of(uint16_t type) {
  switch (type) {
    case LDNS_RR_TYPE_A:
      return Wanted::kA;
    case LDNS_RR_TYPE_AAAA:
      return Wanted::kAaaa;
    case LDNS_RR_TYPE_ANY:
      return Wanted::kAny;
    case LDNS_RR_TYPE_PTR:
      return Wanted::kPtr;
    case LDNS_RR_TYPE_SRV:
      return Wanted::kSrv;
    default:
      return Wanted::kOther;
  }
}

Rr record(const std::string& owner, ldns_rr_type type) {
  Rr rr(ldns_rr_new());
  Rdf name(ldns_dname_new_frm_str(owner.empty() ? "." : owner.c_str()));
  if (!rr || !name) return nullptr;
  ldns_rr_set_owner(rr.get(), name.release());
  ldns_rr_set_type(rr.get(), type);
  ldns_rr_set_class(rr.get(), LDNS_RR_CLASS_IN);
  ldns_rr_set_ttl(rr.get(), 0);  // what a name means changes with every start and stop
  return rr;
}

void push(ldns_rr* rr, ldns_rdf* data) {
  if (data && !ldns_rr_push_rdf(rr, data)) ldns_rdf_deep_free(data);
}

Rr address_record(const std::string& owner, const IpAddress& a) {
  Rr rr = record(owner, a.is_v4() ? LDNS_RR_TYPE_A : LDNS_RR_TYPE_AAAA);
  if (rr)
    push(rr.get(),
         ldns_rdf_new_frm_data(a.is_v4() ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, a.size(), a.bytes().data()));
  return rr;
}

Rr name_record(const std::string& owner, const std::string& name) {
  Rr rr = record(owner, LDNS_RR_TYPE_PTR);
  if (rr) push(rr.get(), ldns_dname_new_frm_str(name.c_str()));
  return rr;
}

Rr service_record(const std::string& owner, const Answer::Service& s) {
  Rr rr = record(owner, LDNS_RR_TYPE_SRV);
  if (!rr) return rr;
  for (uint16_t number : {uint16_t{0}, uint16_t{0}, s.port})
    push(rr.get(), ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, number));
  push(rr.get(), ldns_dname_new_frm_str(s.target.c_str()));
  return rr;
}

void add(ldns_pkt* packet, Rr rr) {
  if (rr && ldns_pkt_push_rr(packet, LDNS_SECTION_ANSWER, rr.get())) (void)rr.release();
}

std::string wire(const ldns_pkt* packet) {
  uint8_t* data = nullptr;
  size_t size = 0;
  std::string out;
  if (ldns_pkt2wire(&data, packet, &size) == LDNS_STATUS_OK) out.assign(reinterpret_cast<char*>(data), size);
  ::free(data);
  return out;
}

Packet reply_packet(const Question& q, Reply code) {
  Packet p(ldns_pkt_new());
  if (!p) return p;
  ldns_pkt_set_id(p.get(), q.id);
  ldns_pkt_set_qr(p.get(), true);
  ldns_pkt_set_rd(p.get(), q.recursion);
  ldns_pkt_set_ra(p.get(), true);
  ldns_pkt_set_rcode(p.get(), static_cast<ldns_pkt_rcode>(code));
  // The question goes back as it came, capitals included (clients compare).
  ldns_pkt* asked = nullptr;
  if (ldns_wire2pkt(&asked, reinterpret_cast<const uint8_t*>(q.packet.data()), q.packet.size()) ==
      LDNS_STATUS_OK) {
    ldns_rr_list* list = ldns_pkt_question(asked);
    for (size_t n = 0; n < ldns_rr_list_rr_count(list); n++) {
      ldns_rr* copy = ldns_rr_clone(ldns_rr_list_rr(list, n));
      if (copy && !ldns_pkt_push_rr(p.get(), LDNS_SECTION_QUESTION, copy)) ldns_rr_free(copy);
    }
    ldns_pkt_free(asked);
  }
  if (q.has_edns) ldns_pkt_set_edns_udp_size(p.get(), kMaxUdp);
  return p;
}

}  // namespace

std::optional<Question> parse_question(std::string_view packet, Reply& error) {
  if (packet.size() < kHeader || packet.size() > kMaxQuery || (packet[2] & 0x80)) return std::nullopt;
  Question q;
  q.id = at16(packet, 0);
  q.recursion = packet[2] & 1;
  q.packet = packet;
  error = Reply::kFormat;
  bool query = (packet[2] >> 3 & 15) == 0;
  if (!query) error = Reply::kNotBuilt;
  // One question, nothing else but what EDNS (or a cookie's or signature's record) adds.
  if (!query || at16(packet, 4) != 1 || at16(packet, 6) || at16(packet, 8) || at16(packet, 10) > 1) return q;
  ldns_pkt* raw = nullptr;
  if (ldns_wire2pkt(&raw, reinterpret_cast<const uint8_t*>(packet.data()), packet.size()) != LDNS_STATUS_OK)
    return q;
  Packet parsed(raw);
  ldns_rr_list* list = ldns_pkt_question(raw);
  if (!list || ldns_rr_list_rr_count(list) != 1) return q;
  const ldns_rr* rr = ldns_rr_list_rr(list, 0);
  if (!ldns_rr_owner(rr) || ldns_rdf_size(ldns_rr_owner(rr)) > kMaxName) return q;
  q.type = static_cast<uint16_t>(ldns_rr_get_type(rr));
  q.wanted = ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN ? wanted_of(q.type) : Wanted::kOther;
  // A name that cannot be a container's is another server's to answer.
  q.name = name_text(ldns_rr_owner(rr)).value_or(std::string(1, '\x01'));
  q.has_edns = ldns_pkt_edns(raw);
  constexpr size_t kLeast = 512;
  if (q.has_edns)
    q.udp_size = std::max<size_t>(kLeast, std::min<size_t>(ldns_pkt_edns_udp_size(raw), kMaxQuery));
  error = Reply::kOk;
  return q;
}

std::string build_reply(const Question& q, const Answer& answer, Reply code, size_t limit) {
  Packet p = reply_packet(q, code);
  if (!p) return "";
  if (code == Reply::kOk) {
    for (const auto& a : answer.addresses) add(p.get(), address_record(q.name, a));
    for (const auto& n : answer.names) add(p.get(), name_record(q.name, n));
    for (const auto& s : answer.services) add(p.get(), service_record(q.name, s));
    ldns_pkt_set_aa(p.get(), answer.kind != Answer::Kind::kForward);
  }
  std::string out = wire(p.get());
  if (out.size() <= limit && !out.empty()) return out;
  Packet cut = reply_packet(q, code);
  if (!cut) return "";
  ldns_pkt_set_tc(cut.get(), true);
  return wire(cut.get());
}

bool fits_question(std::string& reply, const Question& q, uint16_t id) {
  if (reply.size() < kHeader || !(reply[2] & 0x80) || at16(reply, 0) != id || at16(reply, 4) > 1)
    return false;
  // The question's bytes come back as they were, but for capitals.
  size_t end = kHeader;
  while (end < q.packet.size() && q.packet[end]) end += 1u + static_cast<uint8_t>(q.packet[end]);
  end += 5;
  if (at16(reply, 4) == 1) {
    if (end > q.packet.size() || end > reply.size()) return false;
    for (size_t n = kHeader; n < end; n++)
      if ((reply[n] ^ q.packet[n]) & ~0x20) return false;
  } else if ((reply[3] & 15) == 0) {
    return false;  // only an error may leave it out
  }
  reply[0] = static_cast<char>(q.id >> 8);
  reply[1] = static_cast<char>(q.id);
  return true;
}

}  // namespace onggi::keeper
