// What happened, for `events`: one JSON object per line in RUN/events.jsonl, appended without a lock
// (O_APPEND, one write). Bounded: over 4 MiB the file becomes events.jsonl.1 and a new one begins.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/paths.h"
#include "oci/runtime_spec.h"

namespace onggi::engine {

struct Event {
  std::string type;    // "container", "image", "volume", "network"
  std::string action;  // "create", "start", "die", ...
  std::string id, name, image;
  oci::StringMap attributes;
  std::string time;  // RFC 3339; record_event fills it
};

// Never fails the operation it tells of.
void record_event(const Paths& paths, Event event);

struct EventRange {
  int64_t since = 0, until = 0;  // nanoseconds since the epoch; 0: from the first kept, to now
  bool follow = false;           // goes on (to `until` when that is set)
};
// Hands over the raw line and the event; false from the callee ends it. Malformed lines are left out.
Result<> read_events(const Paths& paths, const EventRange& range,
                     const std::function<bool(const std::string& line, const Event& event)>& each);

}  // namespace onggi::engine

namespace onggi {
template <>
struct JsonFields<engine::Event> {
  using T = engine::Event;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::type>("type"), json_field<&T::action>("action"), json_field<&T::id>("id"),
       json_field<&T::name>("name"), json_field<&T::image>("image"), json_field<&T::attributes>("attributes"),
       json_field<&T::time>("time")});
};
}  // namespace onggi
