// DNS packets (RFC 1035, 6891) to questions and back. The wire format is ldns's; what a hostile client may
// hand it is bounded before: one question, at most an OPT beside it, 4 KiB. Pure: the fuzz target of the name
// service.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "keeper/name_table.h"

namespace onggi::keeper {

inline constexpr size_t kMaxQuery = 4096;     // bytes
inline constexpr size_t kMaxUdp = 1232;       // what is promised by EDNS (no fragments)
inline constexpr size_t kMaxMessage = 65535;  // over TCP

struct Question {
  uint16_t id = 0, type = 0;
  std::string name;  // lower case, without the final dot
  Wanted wanted = Wanted::kOther;
  bool recursion = false, has_edns = false;
  size_t udp_size = 512;  // bytes that the client takes over UDP
  std::string packet;     // as it came
};

enum class Reply : uint8_t { kOk = 0, kFormat = 1, kFailure = 2, kNoName = 3, kNotBuilt = 4, kRefused = 5 };

// nullopt: no question (a reply, too short, too long): it is dropped. Otherwise `error` says whether it can
// be answered.
std::optional<Question> parse_question(std::string_view packet, Reply& error);
// At most `limit` bytes: longer answers are cut off and say so.
std::string build_reply(const Question& question, const Answer& answer, Reply code, size_t limit);
// Does the reply of another server answer this question, that was sent with number `id`? Its number is put
// back.
bool fits_question(std::string& reply, const Question& question, uint16_t id);

}  // namespace onggi::keeper
