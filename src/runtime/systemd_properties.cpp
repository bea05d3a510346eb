#include "runtime/systemd_properties.h"

#include <limits>
#include <optional>

#include "base/file.h"
#include "runtime/cgroup_convert.h"

namespace onggi::runtime {
namespace {

constexpr uint64_t kInfinity = std::numeric_limits<uint64_t>::max();

class Properties {
 public:
  void add(std::string name, std::string signature, std::vector<std::string> values) {
    all_.push_back({std::move(name), std::move(signature), std::move(values)});
  }
  void number(std::string name, uint64_t value) { add(std::move(name), "t", {std::to_string(value)}); }
  void limit(std::string name, int64_t value) {
    number(std::move(name), value < 0 ? kInfinity : static_cast<uint64_t>(value));
  }
  void boolean(std::string name, bool value) { add(std::move(name), "b", {value ? "true" : "false"}); }
  Result<> bits(std::string name, std::string_view list, std::string_view what) {
    std::vector<uint8_t> mask = TRY(bits_from_id_list(list, what));
    std::vector<std::string> values;
    for (uint8_t byte : mask) values.push_back(std::to_string(byte));
    add(std::move(name), "ay", std::move(values));
    return {};
  }
  [[nodiscard]] std::vector<SystemdProperty> take() { return std::move(all_); }

 private:
  std::vector<SystemdProperty> all_;
};

// systemd counts a quota in microseconds of CPU for each second and rounds to per cents; rounding up here
// leaves room for the exact quota, which goes to the cgroup file.
void add_cpu_quota(Properties& p, int64_t quota, uint64_t period) {
  constexpr uint64_t kDefaultPeriod = 100000, kPercent = 10000;
  if (period != 0) p.number("CPUQuotaPeriodUSec", period);
  if (quota == 0) return;
  if (quota < 0) return p.number("CPUQuotaPerSecUSec", kInfinity);
  uint64_t divisor = period ? period : kDefaultPeriod;
  auto wide = static_cast<unsigned __int128>(static_cast<uint64_t>(quota)) * 1000000 / divisor;
  uint64_t per_second = wide > kInfinity - kPercent ? kInfinity - kPercent : static_cast<uint64_t>(wide);
  p.number("CPUQuotaPerSecUSec", (per_second + kPercent - 1) / kPercent * kPercent);
}

std::string driver_of(std::string_view proc_devices, bool block, int64_t major) {
  bool in_block = false;
  while (!proc_devices.empty()) {
    size_t end = proc_devices.find('\n');
    std::string_view line = trim(proc_devices.substr(0, end));
    proc_devices = end == std::string_view::npos ? std::string_view{} : proc_devices.substr(end + 1);
    if (line == "Block devices:") in_block = true;
    if (line == "Character devices:") in_block = false;
    size_t space = line.find(' ');
    if (in_block != block || space == std::string_view::npos) continue;
    if (line.substr(0, space) == std::to_string(major)) return std::string(trim(line.substr(space)));
  }
  return "";
}

// DevicePolicy=strict with the list of what is allowed. Rules that systemd cannot express leave it to our own
// device rules, which apply in any case.
void add_devices(Properties& p, const DevicePolicy& policy, std::string_view proc_devices) {
  auto writes = device_writes_v1(policy);
  p.add("DeviceAllow", "a(ss)", {});  // forgets the earlier list
  if (!writes || policy.allow_by_default) return p.add("DevicePolicy", "s", {"auto"});
  p.add("DevicePolicy", "s", {"strict"});
  std::vector<std::string> list;
  for (const DeviceWrite& w : *writes) {
    if (!w.allow) continue;  // the initial "deny everything"
    // "c 1:3 rwm"
    size_t colon = w.text.find(':'), space = w.text.rfind(' ');
    bool block = w.text[0] == 'b';
    std::string major = w.text.substr(2, colon - 2), minor = w.text.substr(colon + 1, space - colon - 1);
    std::string access = w.text.substr(space + 1), node;
    const char* kind = block ? "block" : "char";
    if (major == "*") {
      node = std::string(kind) + "-*";
    } else if (minor == "*") {
      auto number = parse_i64(major, "device");
      std::string driver = number ? driver_of(proc_devices, block, *number) : "";
      if (driver.empty()) continue;  // no such driver now, so nothing to open either
      node = std::string(kind) + "-" + driver;
    } else {
      node = std::string("/dev/") + kind + "/" + major + ":" + minor;
    }
    list.push_back(std::move(node));
    list.push_back(std::move(access));
  }
  p.add("DeviceAllow", "a(ss)", std::move(list));
}

Result<uint64_t> limit_text(std::string_view value, const std::string& key) {
  if (value == "max") return kInfinity;
  return parse_u64(value, "linux.resources.unified[\"" + key + "\"]");
}

Result<> add_unified(Properties& p, const oci::StringMap& unified) {
  bool idle = false;
  for (const auto& [key, value] : unified) idle |= key == "cpu.idle" && trim(value) == "1";
  for (const auto& [key, raw] : unified) {
    std::string value(trim(raw));
    std::string what = "linux.resources.unified[\"" + key + "\"]";
    if (key == "cpu.idle" && idle) p.number("CPUWeight", 0);
    if (key == "cpu.weight" && !idle) p.number("CPUWeight", TRY(parse_u64(value, what)));
    if (key == "cpu.max") {
      size_t space = value.find(' ');
      std::string quota = value.substr(0, space);
      uint64_t period =
          space == std::string::npos ? 0 : TRY(parse_u64(trim(std::string_view(value).substr(space)), what));
      add_cpu_quota(p, quota == "max" ? -1 : TRY(parse_i64(quota, what)), period);
    }
    if (key == "cpuset.cpus") TRY_VOID(p.bits("AllowedCPUs", value, what));
    if (key == "cpuset.mems") TRY_VOID(p.bits("AllowedMemoryNodes", value, what));
    if (key == "memory.high") p.number("MemoryHigh", TRY(limit_text(value, key)));
    if (key == "memory.low") p.number("MemoryLow", TRY(limit_text(value, key)));
    if (key == "memory.min") p.number("MemoryMin", TRY(limit_text(value, key)));
    if (key == "memory.max") p.number("MemoryMax", TRY(limit_text(value, key)));
    if (key == "memory.swap.max") p.number("MemorySwapMax", TRY(limit_text(value, key)));
    if (key == "pids.max") p.number("TasksMax", TRY(limit_text(value, key)));
    // Everything else has no property; the file itself is written afterwards.
  }
  return {};
}

Result<> add_memory(Properties& p, const oci::MemoryResources& m, bool v2) {
  if (!v2) {
    if (m.limit.value_or(0) != 0) p.limit("MemoryLimit", *m.limit);
    return {};
  }
  if (m.limit.value_or(0) != 0) p.limit("MemoryMax", *m.limit);
  if (m.reservation.value_or(0) != 0) p.limit("MemoryLow", *m.reservation);
  SwapMax swap = TRY(swap_max_from_memsw(m.swap.value_or(0), m.limit.value_or(0)));
  if (!swap.unset) p.limit("MemorySwapMax", swap.value);
  return {};
}

Result<> add_cpu(Properties& p, const oci::CpuResources& c, bool v2) {
  if (v2 && c.idle.value_or(0) == 1)
    p.number("CPUWeight", 0);
  else if (c.shares.value_or(0) != 0)
    p.number(v2 ? "CPUWeight" : "CPUShares", v2 ? cpu_weight_from_shares(*c.shares) : *c.shares);
  add_cpu_quota(p, c.quota.value_or(0), c.period.value_or(0));
  if (!c.cpus.empty() && v2) TRY_VOID(p.bits("AllowedCPUs", c.cpus, "linux.resources.cpu.cpus"));
  if (!c.mems.empty() && v2) TRY_VOID(p.bits("AllowedMemoryNodes", c.mems, "linux.resources.cpu.mems"));
  return {};
}

}  // namespace

Result<std::vector<SystemdProperty>> resource_properties(const oci::Resources& r, bool v2,
                                                         const DevicePolicy* devices,
                                                         std::string_view proc_devices) {
  Properties p;
  if (devices) add_devices(p, *devices, proc_devices);
  if (r.memory) TRY_VOID(add_memory(p, *r.memory, v2));
  if (r.cpu) TRY_VOID(add_cpu(p, *r.cpu, v2));
  if (!v2 && r.block_io && r.block_io->weight.value_or(0) != 0)
    p.number("BlockIOWeight", *r.block_io->weight);
  if (r.pids && r.pids->limit) p.limit("TasksMax", *r.pids->limit == 0 ? 1 : *r.pids->limit);
  if (v2) TRY_VOID(add_unified(p, r.unified));
  return p.take();
}

Result<SystemdUnit> parse_systemd_path(std::string_view path, std::string_view id, bool rootless) {
  SystemdUnit u;
  std::string prefix = "onggi";
  u.name = id;
  if (!path.empty()) {
    size_t first = path.find(':');
    size_t second = first == std::string_view::npos ? first : path.find(':', first + 1);
    if (second == std::string_view::npos || path.find(':', second + 1) != std::string_view::npos)
      return fail(Error::invalid(
          "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"" +
          std::string(path) + "\" instead"));
    u.slice = path.substr(0, first);
    prefix = path.substr(first + 1, second - first - 1);
    u.name = path.substr(second + 1);
  }
  if (u.slice.empty()) u.slice = rootless ? "user.slice" : "system.slice";
  TRY(expand_slice(u.slice));
  if (u.name.empty() || u.name.find('/') != std::string::npos || prefix.find('/') != std::string::npos)
    return fail(
        Error::invalid("linux.cgroupsPath: \"" + std::string(path) + "\" does not name a systemd unit"));
  // A slice holds units, not processes, so a container cannot be one.
  if (u.name.ends_with(".slice"))
    return fail(Error::invalid("linux.cgroupsPath: \"" + std::string(path) +
                               "\" names a slice; a container needs a scope, so its name must "
                               "not end in .slice"));
  u.unit = (prefix.empty() ? "" : prefix + "-") + u.name + ".scope";
  return u;
}

std::vector<SystemdProperty> unit_properties(const SystemdUnit& unit, int pid, bool v2) {
  Properties p;
  p.add("Description", "s", {"onggi container " + unit.name});
  p.add("Slice", "s", {unit.slice});
  p.boolean("Delegate", true);
  p.add("PIDs", "au", {std::to_string(pid)});
  for (const char* name :
       {"MemoryAccounting", "CPUAccounting", v2 ? "IOAccounting" : "BlockIOAccounting", "TasksAccounting"})
    p.boolean(name, true);
  p.boolean("DefaultDependencies", false);
  return p.take();
}

// --- annotations ---
namespace {

// GVariant text, as far as unit properties need it: booleans, integers and doubles with or without a type
// keyword, strings, and arrays of one of these with or without a type annotation ("@as []").
class VariantParser {
 public:
  explicit VariantParser(std::string_view text) : rest_(text) {}

  std::optional<SystemdProperty> parse() {
    SystemdProperty p;
    skip();
    std::string wanted;
    if (eat('@')) {
      while (!rest_.empty() && rest_[0] != ' ') wanted += take();
      skip();
    }
    if (eat('[')) {
      if (!array(p, wanted)) return std::nullopt;
    } else {
      std::string type = wanted, value;
      if (!basic(type, value)) return std::nullopt;
      p.signature = type;
      p.values.push_back(value);
    }
    skip();
    if (!rest_.empty()) return std::nullopt;
    return p;
  }

 private:
  void skip() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  char take() {
    char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }
  bool eat(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool array(SystemdProperty& p, std::string wanted) {
    std::string element = wanted.starts_with('a') ? wanted.substr(1) : "";
    if (!wanted.empty() &&
        (element.size() != 1 || std::string_view("bynqiuxtdso").find(element) == std::string_view::npos))
      return false;
    skip();
    while (!eat(']')) {
      std::string value;
      if (!basic(element, value)) return false;
      p.values.push_back(value);
      skip();
      if (eat(','))
        skip();
      else if (rest_.empty() || rest_[0] != ']')
        return false;
    }
    if (element.empty()) return false;  // "[]" alone has no type
    p.signature = "a" + element;
    return true;
  }

  // `type` may come in fixed; otherwise it is found out.
  bool basic(std::string& type, std::string& value) {
    if (rest_.empty()) return false;
    if (rest_[0] == '\'' || rest_[0] == '"') return set(type, "s", "so") && quoted(value);
    std::string word = next_word();
    if (word == "true" || word == "false") return value = word, set(type, "b", "b");
    static constexpr std::pair<std::string_view, const char*> kKeywords[] = {
        {"boolean", "b"}, {"byte", "y"},   {"int16", "n"},     {"uint16", "q"},
        {"int32", "i"},   {"uint32", "u"}, {"int64", "x"},     {"uint64", "t"},
        {"double", "d"},  {"string", "s"}, {"objectpath", "o"}};
    for (const auto& [keyword, code] : kKeywords) {
      if (word != keyword) continue;
      skip();
      return set(type, code, code) && basic(type, value);
    }
    bool real = word.find('.') != std::string::npos;
    if (!real && !integer(word)) return false;
    if (real && !decimal(word)) return false;
    value = word;
    return set(type, real ? "d" : "i", real ? "d" : "ynqiuxtd");
  }
  // An unset type becomes `natural`; a set one must be among `fitting`.
  static bool set(std::string& type, const char* natural, std::string_view fitting) {
    if (type.empty()) type = natural;
    return fitting.find(type) != std::string_view::npos;
  }
  std::string next_word() {
    std::string word;
    while (!rest_.empty() && std::string_view(" ,]\t").find(rest_[0]) == std::string_view::npos)
      word += take();
    return word;
  }
  bool quoted(std::string& value) {
    char quote = take();
    while (!rest_.empty()) {
      char c = take();
      if (c == quote) return true;
      if (c == '\\') {
        if (rest_.empty()) return false;
        c = take();
        c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
      }
      value += c;
    }
    return false;
  }
  // Decimal, or 0x hexadecimal, which becomes decimal.
  static bool integer(std::string& word) {
    if (word.starts_with("0x")) {
      uint64_t v = 0;
      if (word.size() == 2 || word.size() > 18) return false;
      for (char c : word.substr(2)) {
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return false;
        v = v * 16 + static_cast<uint64_t>(digit);
      }
      word = std::to_string(v);
      return true;
    }
    return parse_i64(word, "").has_value() || parse_u64(word, "").has_value();
  }
  static bool decimal(std::string_view word) {
    if (word.starts_with('-')) word.remove_prefix(1);
    size_t dot = word.find('.');
    return parse_u64(word.substr(0, dot), "").has_value() && parse_u64(word.substr(dot + 1), "").has_value();
  }

  std::string_view rest_;
};

// "1.5" seconds -> "1500000" microseconds.
std::optional<std::string> seconds_to_usec(const std::string& seconds) {
  constexpr uint64_t kMillion = 1000000;
  if (seconds.starts_with('-')) return std::nullopt;
  size_t dot = seconds.find('.');
  auto whole = parse_u64(seconds.substr(0, dot), "");
  std::string fraction = dot == std::string::npos ? "" : seconds.substr(dot + 1);
  fraction.resize(6, '0');
  auto micro = parse_u64(fraction, "");
  if (!whole || !micro || *whole > (kInfinity - *micro) / kMillion) return std::nullopt;
  return std::to_string(*whole * kMillion + *micro);
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

Result<std::vector<SystemdProperty>> annotation_properties(const oci::StringMap& annotations) {
  constexpr std::string_view kPrefix = "org.systemd.property.";
  std::vector<SystemdProperty> out;
  for (const auto& [key, value] : annotations) {
    if (!key.starts_with(kPrefix)) continue;
    std::string name = key.substr(kPrefix.size());
    bool letters = name.size() >= 3;
    for (char c : name) letters &= is_letter(c);
    if (!letters)
      return fail(Error::invalid("annotation " + key +
                                 ": the property name must have at least 3 letters and nothing but letters"));
    auto parsed = VariantParser(value).parse();
    if (!parsed)
      return fail(Error::invalid(
          "annotation " + key + "=" + value +
          ": value parse error: expected GVariant text such as 'text', uint32 5, true or ['a', 'b']"));
    if (name.ends_with("Sec") && name.size() > 3 && name[name.size() - 4] >= 'a' &&
        name[name.size() - 4] <= 'z') {
      std::optional<std::string> usec;
      if (std::string_view("ynqiuxtd").find(parsed->signature) != std::string_view::npos)
        usec = seconds_to_usec(parsed->values[0]);
      if (!usec)
        return fail(Error::invalid("annotation " + key + "=" + value +
                                   ": value parse error: not a number of seconds"));
      name.replace(name.size() - 3, 3, "USec");
      *parsed = {"", "t", {*usec}};
    }
    parsed->name = std::move(name);
    out.push_back(std::move(*parsed));
  }
  return out;
}

}  // namespace onggi::runtime
