// Printing: the tables of spec_json.h, written out; and the shapes of `state` and `list`.
#include "oci/emit.h"

#include <algorithm>
#include <array>

#include "oci/spec_json.h"

namespace onggi::oci {
namespace {

template <class T>
std::string emit(const T& value, std::string_view indent) {
  JsonWriter w(indent);
  json_write(w, value);
  return w.take();
}

void write_state(JsonWriter& w, const ContainerState& s) {
  w.begin_object();
  w.member("ociVersion", s.oci_version);
  w.member("id", s.id);
  w.member_number("pid", s.pid);
  w.member("status", s.status);
  w.member("bundle", s.bundle);
  w.member("rootfs", s.rootfs);
  w.member("created", s.created);
  if (!s.annotations.empty()) {
    w.key("annotations");
    json_write(w, s.annotations);
  }
  w.member("owner", s.owner);
  w.end_object();
}

}  // namespace

std::string emit_spec(const Spec& spec, std::string_view indent) { return emit(spec, indent); }
std::string emit_process(const Process& process, std::string_view indent) { return emit(process, indent); }
std::string emit_resources(const Resources& resources, std::string_view indent) { return emit(resources, indent); }

std::string emit_state(const ContainerState& state, std::string_view indent) {
  JsonWriter w(indent);
  write_state(w, state);
  return w.take();
}

std::string emit_list_json(const std::vector<ContainerState>& states) {
  JsonWriter w;
  if (states.empty()) {
    w.null();
    return w.take();
  }
  w.begin_array();
  for (const ContainerState& state : states) write_state(w, state);
  w.end_array();
  return w.take();
}

std::string emit_list_table(const std::vector<ContainerState>& states) {
  constexpr size_t kColumns = 6, kLeastWidth = 12, kGap = 3;
  std::vector<std::array<std::string, kColumns>> rows{{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  for (const ContainerState& s : states)
    rows.push_back({s.id, std::to_string(s.pid), s.status, s.bundle, s.created, s.owner});
  std::array<size_t, kColumns> width{};
  for (const auto& row : rows)
    for (size_t i = 0; i < kColumns; i++) width[i] = std::max({width[i], row[i].size() + kGap, kLeastWidth});
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < kColumns; i++) {
      out += row[i];
      if (i + 1 < kColumns) out.append(width[i] - row[i].size(), ' ');
    }
    out += '\n';
  }
  return out;
}

}  // namespace onggi::oci
