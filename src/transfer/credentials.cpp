#include "transfer/credentials.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "image/reference.h"
#include "sys/process.h"

namespace onggi {

// One entry of "auths" and the members that are needed of the whole file. The rest of the file is kept as
// text.
struct AuthEntry {
  std::string auth, username, password, identity_token;
};
template <>
struct JsonFields<AuthEntry> {
  using T = AuthEntry;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::auth>("auth"), json_field<&T::username>("username"),
       json_field<&T::password>("password"), json_field<&T::identity_token>("identitytoken")});
};
struct AuthFile {
  std::vector<std::pair<std::string, AuthEntry>> auths;
  std::vector<std::pair<std::string, std::string>> helpers;
  std::string store;
};
template <>
struct JsonFields<AuthFile> {
  using T = AuthFile;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::auths>("auths"), json_field<&T::helpers>("credHelpers"),
                              json_field<&T::store>("credsStore")});
};
struct HelperAnswer {
  std::string server_url, username, secret;
};
template <>
struct JsonFields<HelperAnswer> {
  using T = HelperAnswer;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::server_url>("ServerURL"), json_field<&T::username>("Username"),
                              json_field<&T::secret>("Secret")});
};

namespace transfer {

namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kTokenUser = "<token>";  // what helpers say for an identity token
constexpr int kHelperMs = 60'000;                   // a helper may ask a person to unlock a key ring

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string docker_file() {
  std::string directory = environment("DOCKER_CONFIG");
  if (directory.empty()) directory = environment("HOME") + "/.docker";
  return directory + "/config.json";
}

std::vector<std::string> candidate_files(const std::string& auth_file) {
  if (!auth_file.empty()) return {auth_file};
  std::vector<std::string> files = {docker_file()};
  if (std::string runtime = environment("XDG_RUNTIME_DIR"); !runtime.empty())
    files.push_back(runtime + "/containers/auth.json");
  else
    files.push_back("/run/containers/" + std::to_string(::getuid()) + "/auth.json");
  return files;
}

// Keys under which a registry may stand: with and without scheme and the old paths.
std::vector<std::string> keys_of(const std::string& registry) {
  if (registry == image::kDefaultRegistry)
    return {"https://index.docker.io/v1/", "docker.io", "index.docker.io", "https://index.docker.io/v2/"};
  return {registry,
          "https://" + registry,
          "http://" + registry,
          "https://" + registry + "/",
          registry + "/",
          "https://" + registry + "/v1/",
          "https://" + registry + "/v2/"};
}

Result<Credentials> decode(const AuthEntry& entry, const std::string& file) {
  Credentials c{entry.username, entry.password, entry.identity_token};
  if (!entry.auth.empty()) {
    std::string text = TRY_CTX(base64_decode(entry.auth), file + ": auths");
    size_t colon = text.find(':');
    if (colon == std::string::npos)
      return fail(Error::invalid(file + ": auths: an 'auth' entry is not 'user:password' in base64"));
    c.username = text.substr(0, colon);
    c.password = text.substr(colon + 1);
    while (c.password.ends_with('\0')) c.password.pop_back();
  }
  return c;
}

// --- helpers ---

Result<std::string> find_helper(const std::string& name) {
  // The name is part of a file name and comes from a file that others may have written.
  if (name.empty() || name.find('/') != std::string::npos || name.starts_with('.'))
    return fail(Error::invalid("credential helper '" + name + "': not a plain name"));
  std::string program = "docker-credential-" + name;
  std::string path = environment("PATH");
  for (size_t start = 0; start <= path.size();) {
    size_t colon = std::min(path.find(':', start), path.size());
    std::string candidate = path.substr(start, colon - start) + "/" + program;
    if (candidate.starts_with('/') && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    start = colon + 1;
  }
  return fail(Error::not_found("credential helper: '" + program + "' is not in $PATH"));
}

struct HelperRun {
  std::string output;
  int code = 0;
};

Result<HelperRun> run_helper(const std::string& name, const char* action, const std::string& input) {
  std::string program = TRY(find_helper(name));
  int in[2], out[2];
  if (::pipe2(in, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  UniqueFd in_read(in[0]), in_write(in[1]);
  if (::pipe2(out, O_CLOEXEC) < 0) return fail(Error::os("make a pipe", ""));
  UniqueFd out_read(out[0]), out_write(out[1]);
  const char* argv[] = {program.c_str(), action, nullptr};
  sys::SpawnArgs args;
  args.exec_path = program.c_str();
  args.argv = argv;
  args.envp = environ;
  args.stdio[0] = in_read.get();
  args.stdio[1] = out_write.get();
  sys::Spawned process = TRY_CTX(sys::spawn(args), "credential helper");
  in_read.reset();
  out_write.reset();
  (void)write_all(in_write.get(), input, "helper");  // one that does not read says so by its exit code
  in_write.reset();
  auto text = read_fd(out_read.get(), program, 1 << 20);
  if (!sys::wait_exited(process.pidfd.get(), kHelperMs)) (void)sys::pidfd_signal(process.pidfd.get(), 9);
  sys::ExitStatus status = TRY(sys::wait_pidfd(process.pidfd.get()));
  if (!text) return fail(std::move(text).error());
  return HelperRun{*std::move(text), status.code()};
}

Result<std::optional<Credentials>> ask_helper(const std::string& name, const std::string& key) {
  HelperRun run = TRY(run_helper(name, "get", key + "\n"));
  if (run.code != 0) {
    // The protocol's words for "none here".
    if (run.output.find("credentials not found") != std::string::npos) return std::nullopt;
    return fail(Error(ErrorKind::kOs, "credential helper docker-credential-" + name + " failed (exit code " +
                                          std::to_string(run.code) +
                                          "): " + std::string(trim(run.output).substr(0, 300))));
  }
  HelperAnswer answer = TRY(json_parse<HelperAnswer>(run.output, "docker-credential-" + name));
  if (answer.username == kTokenUser) return Credentials{"", "", answer.secret};
  return Credentials{answer.username, answer.secret, ""};
}

Result<std::optional<Credentials>> look_in(const std::string& file, const std::string& registry) {
  auto text = read_file(file, 1 << 20);
  if (!text) {
    if (text.error().kind() == ErrorKind::kNotFound) return std::nullopt;
    return fail(std::move(text).error());
  }
  if (trim(*text).empty()) return std::nullopt;
  AuthFile parsed = TRY(json_parse<AuthFile>(*text, file));
  std::vector<std::string> keys = keys_of(registry);
  for (const auto& [host, helper] : parsed.helpers)
    if (std::find(keys.begin(), keys.end(), host) != keys.end()) return ask_helper(helper, keys.front());
  for (const std::string& key : keys)
    for (const auto& [host, entry] : parsed.auths) {
      if (host != key) continue;
      Credentials c = TRY(decode(entry, file));
      // Docker leaves an empty entry as a marker when the secret is in the store.
      if (!c.username.empty() || !c.identity_token.empty()) return c;
    }
  if (!parsed.store.empty()) return ask_helper(parsed.store, keys.front());
  return std::nullopt;
}

// --- writing ---

// Copies a JSON value as it was, so that members that this program does not know survive.
void copy_value(JsonWriter& w, JsonValue v) {
  switch (v.kind()) {
    case JsonValue::Kind::kNull:
      w.null();
      return;
    case JsonValue::Kind::kBool:
      w.boolean(v.boolean());
      return;
    case JsonValue::Kind::kNumber:
      if (auto n = v.as_int64())
        w.number(*n);
      else if (auto u = v.as_uint64())
        w.unsigned_number(*u);
      else
        w.raw(v.describe().substr(sizeof "the number " - 1));
      return;
    case JsonValue::Kind::kString:
      w.string(v.string());
      return;
    case JsonValue::Kind::kArray:
      w.begin_array();
      for (size_t i = 0; i < v.size(); i++) copy_value(w, v.element(i));
      w.end_array();
      return;
    case JsonValue::Kind::kObject:
      w.begin_object();
      for (size_t i = 0; i < v.size(); i++) {
        w.key(v.member_name(i));
        copy_value(w, v.member(i));
      }
      w.end_object();
      return;
  }
}

void write_entry(JsonWriter& w, const std::string& key, const Credentials& c) {
  w.key(key);
  w.begin_object();
  if (!c.username.empty()) w.member("auth", base64_encode(c.username + ":" + c.password));
  if (!c.identity_token.empty()) w.member("identitytoken", c.identity_token);
  w.end_object();
}

// The file's text with the registry's entries replaced; `c` null: removed.
std::string edit(JsonValue root, const std::string& registry, const Credentials* c) {
  std::vector<std::string> keys = keys_of(registry);
  JsonWriter w("\t");
  w.begin_object();
  bool seen = false;
  auto auths = [&](const JsonValue* old) {
    seen = true;
    w.key("auths");
    w.begin_object();
    for (size_t i = 0; old && i < old->size(); i++) {
      if (std::find(keys.begin(), keys.end(), old->member_name(i)) != keys.end()) continue;
      w.key(old->member_name(i));
      copy_value(w, old->member(i));
    }
    if (c) write_entry(w, keys.front(), *c);
    w.end_object();
  };
  for (size_t i = 0; i < root.size(); i++) {
    JsonValue member = root.member(i);
    if (root.member_name(i) == "auths" && member.kind() == JsonValue::Kind::kObject) {
      auths(&member);
      continue;
    }
    w.key(root.member_name(i));
    copy_value(w, member);
  }
  if (!seen) auths(nullptr);
  w.end_object();
  return w.take() + "\n";
}

// Replaced by rename, so that a kill leaves the old file or the new one.
Result<> write_auth_file(const std::string& file, const std::string& text) {
  std::string directory = file.substr(0, file.rfind('/'));
  for (size_t slash = 1; slash != std::string::npos;) {
    slash = directory.find('/', slash + 1);
    if (::mkdir(directory.substr(0, slash).c_str(), 0700) < 0 && errno != EEXIST)
      return fail(Error::os("create the directory", directory));
  }
  UniqueFd at = TRY(open_at(AT_FDCWD, directory, O_RDONLY | O_DIRECTORY));
  return replace_file_at(at.get(), file.substr(file.rfind('/') + 1), text, 0600);
}

std::string file_to_edit(const std::string& auth_file) {
  std::vector<std::string> files = candidate_files(auth_file);
  for (const std::string& file : files)
    if (::access(file.c_str(), F_OK) == 0) return file;
  return files.front();
}

}  // namespace

Result<std::optional<Credentials>> find_credentials(const std::string& registry,
                                                    const std::string& auth_file) {
  for (const std::string& file : candidate_files(auth_file))
    if (auto found = TRY(look_in(file, registry))) return found;
  return std::nullopt;
}

static Result<std::string> helper_for(const AuthFile& parsed, const std::string& registry) {
  std::vector<std::string> keys = keys_of(registry);
  for (const auto& [host, helper] : parsed.helpers)
    if (std::find(keys.begin(), keys.end(), host) != keys.end()) return helper;
  return parsed.store;
}

Result<> store_credentials(const std::string& registry, const Credentials& c, const std::string& auth_file) {
  std::string file = file_to_edit(auth_file);
  std::string text = "{}";
  if (::access(file.c_str(), F_OK) == 0) text = TRY(read_file(file, 1 << 20));
  if (trim(text).empty()) text = "{}";
  AuthFile parsed = TRY(json_parse<AuthFile>(text, file));
  std::string helper = TRY(helper_for(parsed, registry));
  JsonDocument document = TRY(JsonDocument::parse(text, file));
  if (helper.empty()) return write_auth_file(file, edit(document.root(), registry, &c));
  JsonWriter w;
  json_write(w, HelperAnswer{keys_of(registry).front(),
                             c.identity_token.empty() ? c.username : std::string(kTokenUser),
                             c.identity_token.empty() ? c.password : c.identity_token});
  HelperRun run = TRY(run_helper(helper, "store", w.text()));
  if (run.code != 0)
    return fail(Error(ErrorKind::kOs, "credential helper docker-credential-" + helper + " could not store: " +
                                          std::string(trim(run.output).substr(0, 300))));
  Credentials marker;  // as docker: an empty entry says that there is something in the store
  return write_auth_file(file, edit(document.root(), registry, &marker));
}

Result<bool> erase_credentials(const std::string& registry, const std::string& auth_file) {
  std::string file = file_to_edit(auth_file);
  if (::access(file.c_str(), F_OK) != 0) return false;
  std::string text = TRY(read_file(file, 1 << 20));
  AuthFile parsed = TRY(json_parse<AuthFile>(text, file));
  std::vector<std::string> keys = keys_of(registry);
  bool had = std::any_of(parsed.auths.begin(), parsed.auths.end(), [&keys](const auto& entry) {
    return std::find(keys.begin(), keys.end(), entry.first) != keys.end();
  });
  if (std::string helper = TRY(helper_for(parsed, registry)); !helper.empty()) {
    HelperRun run = TRY(run_helper(helper, "erase", keys.front() + "\n"));
    had = had || run.code == 0;
  }
  if (!had) return false;
  JsonDocument document = TRY(JsonDocument::parse(text, file));
  TRY_VOID(write_auth_file(file, edit(document.root(), registry, nullptr)));
  return true;
}

std::string base64_encode(std::string_view data) {
  std::string out;
  for (size_t i = 0; i < data.size(); i += 3) {
    uint32_t group = 0;
    size_t n = std::min<size_t>(3, data.size() - i);
    for (size_t j = 0; j < 3; j++) group = group << 8 | (j < n ? static_cast<unsigned char>(data[i + j]) : 0);
    for (size_t j = 0; j < 4; j++) out += j <= n ? kAlphabet[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

Result<std::string> base64_decode(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (char c : text) {
    size_t value = kAlphabet.find(c);
    if (value == std::string_view::npos) return fail(Error::invalid("not valid base64"));
    bits = bits << 6 | static_cast<uint32_t>(value);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xff);
  }
  return out;
}

}  // namespace transfer
}  // namespace onggi
