#include "engine/users.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/file.h"
#include "sys/path.h"

namespace onggi::engine {

namespace {

constexpr size_t kMaxFile = 1 << 20;  // bytes of passwd or group; a distribution's are some thousand

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at = 0;;) {
    size_t end = text.find(separator, at);
    parts.push_back(text.substr(at, end - at));
    if (end == std::string_view::npos) return parts;
    at = end + 1;
  }
}

// A decimal number below 2^32 - 1 (which setuid(2) reads as "unchanged").
std::optional<uint32_t> id_number(std::string_view text) {
  auto n = parse_u64(text, "id");
  if (!n || *n >= UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(*n);
}

bool is_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void add_group(ResolvedUser& user, uint32_t gid) {
  if (std::find(user.groups.begin(), user.groups.end(), gid) == user.groups.end()) user.groups.push_back(gid);
}

// The first line whose field `field` is `value`.
std::optional<std::vector<std::string_view>> find_line(std::string_view text, size_t field,
                                                       std::string_view value, size_t fields) {
  for (auto line : split(text, '\n')) {
    auto parts = split(line, ':');
    if (parts.size() >= fields && parts[field] == value) return parts;
  }
  return std::nullopt;
}

Result<uint32_t> resolve_group(const std::string& group, std::string_view name) {
  if (auto line = find_line(group, 0, name, 3))
    if (auto gid = id_number((*line)[2])) return *gid;
  if (is_number(name)) {
    if (auto gid = id_number(name)) return *gid;
    return fail(Error::invalid("group id '" + std::string(name) + "' is out of range (0 to 4294967294)"));
  }
  return fail(Error::not_found("unable to find group " + std::string(name) +
                               ": no matching entries in the image's /etc/group"));
}

// Fills uid, gid, home; the login name when there is one.
Result<std::string> resolve_login(const std::string& passwd, std::string_view name, ResolvedUser& out) {
  auto line = find_line(passwd, 0, name, 6);
  if (!line && is_number(name)) {
    auto uid = id_number(name);
    if (!uid)
      return fail(Error::invalid("user id '" + std::string(name) + "' is out of range (0 to 4294967294)"));
    out.uid = *uid;
    line = find_line(passwd, 2, std::to_string(*uid), 6);
    if (!line) return std::string();
  }
  if (!line)
    return fail(Error::not_found("unable to find user " + std::string(name) +
                                 ": no matching entries in the image's /etc/passwd"));
  auto uid = id_number((*line)[2]), gid = id_number((*line)[3]);
  if (!uid || !gid)
    return fail(
        Error::invalid("the image's /etc/passwd has an invalid entry for '" + std::string(name) + "'"));
  out.uid = *uid;
  out.gid = *gid;
  if (!(*line)[5].empty()) out.home = (*line)[5];
  return std::string((*line)[0]);
}

}  // namespace

Result<ResolvedUser> resolve_user_in(const std::string& passwd, const std::string& group,
                                     const std::string& user, const std::vector<std::string>& add) {
  ResolvedUser out;
  size_t colon = user.find(':');
  std::string who = user.substr(0, colon);
  std::string login = TRY(resolve_login(passwd, who.empty() ? "0" : who, out));
  if (colon != std::string::npos && colon + 1 < user.size()) {
    out.gid = TRY(resolve_group(group, std::string_view(user).substr(colon + 1)));
  } else if (!login.empty()) {
    for (auto line : split(group, '\n')) {
      auto parts = split(line, ':');
      if (parts.size() < 4) continue;
      auto members = split(parts[3], ',');
      auto gid = id_number(parts[2]);
      if (gid && *gid != out.gid && std::find(members.begin(), members.end(), login) != members.end())
        add_group(out, *gid);
    }
  }
  for (const auto& name : add) add_group(out, TRY(resolve_group(group, name)));
  return out;
}

Result<ResolvedUser> resolve_user(int root, const std::string& user, const std::vector<std::string>& add) {
  std::string texts[2];
  const char* files[] = {"/etc/passwd", "/etc/group"};
  for (int i = 0; i < 2; i++) {
    auto text = sys::read_file_in_root(root, files[i], kMaxFile);
    if (text)
      texts[i] = std::move(*text);
    else if (text.error().os_errno() != ENOENT && text.error().os_errno() != ENOTDIR)
      return fail(std::move(text).error().wrap("find the container's user"));
  }
  return resolve_user_in(texts[0], texts[1], user, add);
}

}  // namespace onggi::engine
