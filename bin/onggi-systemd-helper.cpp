// onggi-systemd-helper: asks systemd over D-Bus to make, change or stop the scope of a container.
//
// A program of its own because libsystemd is a shared library and the runtime is static; the runtime executes
// it only for --systemd-cgroup.
//
//   onggi-systemd-helper [--user] start|set UNIT [NAME SIGNATURE COUNT VALUE...]...
//   onggi-systemd-helper [--user] stop UNIT
//
// Properties are what runtime/systemd_properties.h makes. Exit code 0: done; 1: systemd refused, the reason
// stands on standard error in one line; 2: usage; 3: no bus. `start` and `stop` return when the job is
// finished. Stopping a unit that does not exist succeeds.
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* kDestination = "org.freedesktop.systemd1";
constexpr const char* kPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr uint64_t kPatienceUsec = 30ull * 1000000;

struct Property {
  std::string name, signature;
  std::vector<std::string> values;
};

struct Bus {
  sd_bus* bus = nullptr;
  ~Bus() { sd_bus_flush_close_unref(bus); }
};
struct Message {
  sd_bus_message* m = nullptr;
  ~Message() { sd_bus_message_unref(m); }
};
struct BusError {
  sd_bus_error e = SD_BUS_ERROR_NULL;
  ~BusError() { sd_bus_error_free(&e); }
};

int complain(const char* what, const std::string& unit, int r, const BusError* error = nullptr) {
  const char* reason = error && error->e.message ? error->e.message : strerror(-r);
  fprintf(stderr, "%s '%s': %s\n", what, unit.c_str(), reason);
  return 1;
}

int append_basic(sd_bus_message* m, char type, const std::string& text) {
  const char* s = text.c_str();
  switch (type) {
    case 's':
    case 'o':
      return sd_bus_message_append_basic(m, type, s);
    case 'b': {
      int v = text == "true";
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'd': {
      double v = strtod(s, nullptr);
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'y': {
      auto v = static_cast<uint8_t>(strtoul(s, nullptr, 10));
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'n': {
      auto v = static_cast<int16_t>(strtol(s, nullptr, 10));
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'q': {
      auto v = static_cast<uint16_t>(strtoul(s, nullptr, 10));
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'i': {
      auto v = static_cast<int32_t>(strtol(s, nullptr, 10));
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'u': {
      auto v = static_cast<uint32_t>(strtoul(s, nullptr, 10));
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 'x': {
      int64_t v = strtoll(s, nullptr, 10);
      return sd_bus_message_append_basic(m, type, &v);
    }
    case 't': {
      uint64_t v = strtoull(s, nullptr, 10);
      return sd_bus_message_append_basic(m, type, &v);
    }
    default:
      return -EINVAL;
  }
}

int append_array(sd_bus_message* m, const Property& p) {
  const char* element = p.signature.c_str() + 1;
  int r = sd_bus_message_open_container(m, 'a', element);
  if (r < 0) return r;
  if (p.signature == "a(ss)") {
    for (size_t i = 0; i + 1 < p.values.size(); i += 2)
      if ((r = sd_bus_message_append(m, "(ss)", p.values[i].c_str(), p.values[i + 1].c_str())) < 0) return r;
  } else {
    for (const std::string& v : p.values)
      if ((r = append_basic(m, element[0], v)) < 0) return r;
  }
  return sd_bus_message_close_container(m);
}

// a(sv)
int append_properties(sd_bus_message* m, const std::vector<Property>& properties) {
  int r = sd_bus_message_open_container(m, 'a', "(sv)");
  for (const Property& p : properties) {
    if (r >= 0) r = sd_bus_message_open_container(m, 'r', "sv");
    if (r >= 0) r = sd_bus_message_append_basic(m, 's', p.name.c_str());
    if (r >= 0) r = sd_bus_message_open_container(m, 'v', p.signature.c_str());
    if (r >= 0) r = p.signature[0] == 'a' ? append_array(m, p) : append_basic(m, p.signature[0], p.values[0]);
    if (r >= 0) r = sd_bus_message_close_container(m);
    if (r >= 0) r = sd_bus_message_close_container(m);
  }
  return r < 0 ? r : sd_bus_message_close_container(m);
}

// The result of the job we wait for, among all that end meanwhile (ours may end before its name is known
// here).
struct Jobs {
  std::vector<std::pair<std::string, std::string>> removed;  // object path, result
};

int on_job_removed(sd_bus_message* m, void* data, sd_bus_error*) {
  uint32_t id;
  const char *path, *unit, *result;
  if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0)
    static_cast<Jobs*>(data)->removed.emplace_back(path, result);
  return 0;
}

uint64_t now_usec() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000 + static_cast<uint64_t>(t.tv_nsec) / 1000;
}

// "done", another result, or "" when time ran out.
std::string wait_for_job(sd_bus* bus, const Jobs& jobs, const std::string& path) {
  for (uint64_t end = now_usec() + kPatienceUsec;;) {
    for (const auto& [job, result] : jobs.removed)
      if (job == path) return result;
    int r = sd_bus_process(bus, nullptr);
    if (r < 0) return strerror(-r);
    if (r > 0) continue;
    uint64_t now = now_usec();
    if (now >= end) return "";
    sd_bus_wait(bus, end - now);
  }
}

int subscribe(sd_bus* bus, Jobs& jobs) {
  int r = sd_bus_match_signal(bus, nullptr, nullptr, kPath, kManager, "JobRemoved", on_job_removed, &jobs);
  if (r < 0) return r;
  BusError ignored;  // already subscribed, or a private connection that needs none
  sd_bus_call_method(bus, kDestination, kPath, kManager, "Subscribe", &ignored.e, nullptr, nullptr);
  return 0;
}

void reset_failed(sd_bus* bus, const std::string& unit) {
  BusError ignored;
  sd_bus_call_method(bus, kDestination, kPath, kManager, "ResetFailedUnit", &ignored.e, nullptr, "s",
                     unit.c_str());
}

int call_with_properties(sd_bus* bus, const char* method, const std::string& unit,
                         const std::vector<Property>& properties, Message& reply, BusError& error) {
  bool start = strcmp(method, "StartTransientUnit") == 0;
  Message call;
  int r = sd_bus_message_new_method_call(bus, &call.m, kDestination, kPath, kManager, method);
  if (r >= 0)
    r = start ? sd_bus_message_append(call.m, "ss", unit.c_str(), "replace")
              : sd_bus_message_append(call.m, "sb", unit.c_str(), 1);  // runtime: until the unit ends
  if (r >= 0) r = append_properties(call.m, properties);
  if (r >= 0 && start) r = sd_bus_message_append(call.m, "a(sa(sv))", 0);  // no auxiliary units
  return r < 0 ? r : sd_bus_call(bus, call.m, kPatienceUsec, &error.e, &reply.m);
}

int start(sd_bus* bus, const std::string& unit, const std::vector<Property>& properties) {
  Jobs jobs;
  if (int r = subscribe(bus, jobs); r < 0) return complain("watch the jobs of systemd for", unit, r);
  for (int attempt = 0;; attempt++) {
    Message reply;
    BusError error;
    int r = call_with_properties(bus, "StartTransientUnit", unit, properties, reply, error);
    // A failed unit of the same name lingers until it is reset.
    if (r < 0 && attempt == 0 && sd_bus_error_has_name(&error.e, "org.freedesktop.systemd1.UnitExists")) {
      reset_failed(bus, unit);
      continue;
    }
    if (r < 0) return complain("start the systemd unit", unit, r, &error);
    const char* job;
    if ((r = sd_bus_message_read(reply.m, "o", &job)) < 0) return complain("start the systemd unit", unit, r);
    std::string result = wait_for_job(bus, jobs, job);
    if (result == "done") return 0;
    reset_failed(bus, unit);
    fprintf(stderr, "start the systemd unit '%s': %s%s\n", unit.c_str(),
            result.empty() ? "" : "the job ended as ",
            result.empty() ? "no answer within 30 s" : result.c_str());
    return 1;
  }
}

int stop(sd_bus* bus, const std::string& unit) {
  Jobs jobs;
  if (int r = subscribe(bus, jobs); r < 0) return complain("watch the jobs of systemd for", unit, r);
  Message reply;
  BusError error;
  int r = sd_bus_call_method(bus, kDestination, kPath, kManager, "StopUnit", &error.e, &reply.m, "ss",
                             unit.c_str(), "replace");
  if (r < 0) {
    if (sd_bus_error_has_name(&error.e, "org.freedesktop.systemd1.NoSuchUnit")) return 0;
    return complain("stop the systemd unit", unit, r, &error);
  }
  const char* job;
  if ((r = sd_bus_message_read(reply.m, "o", &job)) < 0) return complain("stop the systemd unit", unit, r);
  std::string result = wait_for_job(bus, jobs, job);
  reset_failed(bus, unit);
  if (!result.empty()) return 0;  // whatever the result, the unit is down
  fprintf(stderr, "stop the systemd unit '%s': no answer within 30 s\n", unit.c_str());
  return 1;
}

int set(sd_bus* bus, const std::string& unit, const std::vector<Property>& properties) {
  Message reply;
  BusError error;
  int r = call_with_properties(bus, "SetUnitProperties", unit, properties, reply, error);
  return r < 0 ? complain("set properties of the systemd unit", unit, r, &error) : 0;
}

// The message bus; for root also systemd's own socket, where no bus daemon is installed.
int open_bus(bool user, Bus& out) {
  int r = user ? sd_bus_open_user(&out.bus) : sd_bus_open_system(&out.bus);
  if (r >= 0 || user) return r;
  int first = r;
  if ((r = sd_bus_new(&out.bus)) < 0) return first;
  if (sd_bus_set_address(out.bus, "unix:path=/run/systemd/private") < 0 || sd_bus_start(out.bus) < 0)
    return first;
  return 0;
}

bool parse_properties(int argc, char** argv, int at, std::vector<Property>& out) {
  while (at < argc) {
    if (argc - at < 3) return false;
    Property p{argv[at], argv[at + 1], {}};
    long count = strtol(argv[at + 2], nullptr, 10);
    at += 3;
    bool array = p.signature.size() > 1 && p.signature[0] == 'a';
    if (p.signature.empty() || count < 0 || count > argc - at ||
        (!array && (count != 1 || p.signature.size() != 1)))
      return false;
    for (long i = 0; i < count; i++) p.values.emplace_back(argv[at++]);
    out.push_back(std::move(p));
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  int at = 1;
  bool user = at < argc && strcmp(argv[at], "--user") == 0;
  if (user) at++;
  std::vector<Property> properties;
  std::string_view verb = at < argc ? argv[at] : "";
  if (argc - at < 2 || (verb != "start" && verb != "set" && verb != "stop") ||
      !parse_properties(argc, argv, at + 2, properties)) {
    fprintf(stderr,
            "usage: onggi-systemd-helper [--user] start|set|stop UNIT [NAME SIGNATURE COUNT VALUE...]...\n");
    return 2;
  }
  std::string unit = argv[at + 1];
  Bus bus;
  if (int r = open_bus(user, bus); r < 0) {
    fprintf(stderr, "connect to the %s bus: %s%s\n", user ? "user" : "system", strerror(-r),
            user ? "; XDG_RUNTIME_DIR or DBUS_SESSION_BUS_ADDRESS must name the session" : "");
    return 3;
  }
  if (verb == "start") return start(bus.bus, unit, properties);
  if (verb == "set") return set(bus.bus, unit, properties);
  return stop(bus.bus, unit);
}
