#include "engine/create.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/scope.h"
#include "engine/clock.h"
#include "engine/container_files.h"
#include "engine/events.h"
#include "engine/granted_files.h"
#include "engine/network_store.h"
#include "engine/volumes.h"
#include "engine/writable.h"

namespace onggi::engine {

namespace {

constexpr const char* kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string_view variable_name(std::string_view entry) { return entry.substr(0, entry.find('=')); }

// Later entries replace earlier ones of the same name, in place.
void put_variable(std::vector<std::string>& env, const std::string& entry) {
  for (auto& old : env)
    if (variable_name(old) == variable_name(entry)) {
      old = entry;
      return;
    }
  env.push_back(entry);
}

std::vector<std::string> merge_environment(const ContainerConfig& c, const std::vector<std::string>& image) {
  std::vector<std::string> env = {kDefaultPath};
  for (const auto& entry : image) put_variable(env, entry);
  if (c.tty) put_variable(env, "TERM=xterm");
  for (const auto& entry : c.env) {
    // "NAME" alone, when the client had no value for it, removes the image's.
    if (entry.find('=') == std::string::npos)
      std::erase_if(env, [&](const auto& old) { return variable_name(old) == entry; });
    else
      put_variable(env, entry);
  }
  return env;
}

Result<bool> fits_platform(const image::ImageRecord& image, const std::string& wanted) {
  if (wanted.empty()) return true;
  oci::Platform platform = TRY(oci::parse_platform(wanted));
  return platform.architecture == image.config.architecture &&
         (platform.os.empty() || platform.os == image.config.os) &&
         (platform.variant.empty() || platform.variant == image.config.variant);
}

Error wrong_platform(const image::ImageRecord& image, const CreateRequest& request) {
  return Error::not_found("image " + request.config.image + " is here for " + image.config.os + "/" +
                          image.config.architecture + ", not for " + request.platform +
                          "; leave --pull never out to fetch it");
}

Result<image::ImageRecord> find_image(Engine& engine, const CreateRequest& request) {
  image::Store* store = TRY(engine.images());
  const std::string& name = request.config.image;
  if (request.pull != "always") {
    auto found = store->resolve(name);
    if (!found && found.error().kind() != ErrorKind::kNotFound) return found;
    if (found && TRY(fits_platform(*found, request.platform))) return found;
    if (request.pull == "never" || !request.pull_image)
      return found ? fail(wrong_platform(*found, request)) : std::move(found);
  }
  TRY_VOID(request.pull_image(name, request.platform));
  return store->resolve(name);
}

// container:ID modes: what is joined must run in the user namespace of the same range.
Result<> share_range(Engine& engine, ContainerConfig& c) {
  for (std::string* mode : {&c.network, &c.pid_mode, &c.ipc_mode, &c.uts_mode}) {
    if (!mode->starts_with("container:")) continue;
    ContainerDir other = TRY_CTX(engine.containers().find(mode->substr(10)), "share namespaces");
    *mode = "container:" + other.id();
    ContainerConfig config = TRY(other.config());
    std::string owner = config.shares_range_of.empty() ? other.id() : config.shares_range_of;
    if (!c.shares_range_of.empty() && c.shares_range_of != owner)
      return fail(Error::invalid(
          "share namespaces: the containers have different ranges of ids; all of network, pid, "
          "ipc and uts must come from containers that share one range"));
    c.shares_range_of = owner;
    c.id_base = config.id_base;
    c.security.host_userns |= config.security.host_userns;
  }
  return {};
}

// "NAME[:ro]": the same mounts, unless something is to be mounted there already.
Result<> take_volumes_from(Engine& engine, ContainerConfig& c) {
  for (const auto& from : c.volumes_from) {
    size_t colon = from.find(':');
    std::string mode = colon == std::string::npos ? "" : from.substr(colon + 1);
    if (!mode.empty() && mode != "ro" && mode != "rw")
      return fail(Error::invalid("invalid --volumes-from '" + from + "' (CONTAINER[:ro|rw])"));
    ContainerDir other = TRY_CTX(engine.containers().find(from.substr(0, colon)), "--volumes-from");
    for (MountConfig m : TRY(other.config()).mounts) {
      bool taken = std::any_of(c.mounts.begin(), c.mounts.end(),
                               [&](const auto& own) { return own.target == m.target; });
      if (taken || m.type == "tmpfs") continue;
      m.read_only |= mode == "ro";
      m.anonymous = false;  // it goes with the container that brought it
      c.mounts.push_back(std::move(m));
    }
  }
  return {};
}

// Without a word about networks a container is on the default one, where there are bridges.
Result<> default_network_mode(Engine& engine, ContainerConfig& c) {
  if (!c.endpoints.empty()) c.network = "bridge";
  if (c.network.empty()) c.network = engine.paths().rootless ? "none" : "bridge";
  if (c.network != "bridge") {
    if ((c.ports.empty() && !c.publish_all) || c.network == "host") return {};
    return fail(Error::invalid("conflicting options: port publishing and the network mode " + c.network));
  }
  if (engine.paths().rootless)
    return fail(Error::unsupported(
        "--network bridge: a rootless engine has no bridges (none, host, container:NAME)"));
  if (c.endpoints.empty()) c.endpoints.push_back({.network = kDefaultNetwork});
  return {};
}

bool asks_for_limits(const ResourceConfig& r) {
  JsonWriter asked, nothing;
  json_write(asked, r);
  json_write(nothing, ResourceConfig{});
  return asked.text() != nothing.text();
}

}  // namespace

Result<> merge_image(CreateRequest& request, const oci::ImageConfig& image) {
  ContainerConfig& c = request.config;
  const oci::ContainerDefaults& d = image.config;
  if (request.entrypoint) {
    c.entrypoint = *request.entrypoint;
  } else {
    c.entrypoint = d.entrypoint;
    if (c.command.empty()) c.command = d.cmd;
  }
  if (c.entrypoint.empty() && c.command.empty())
    return fail(Error::invalid(
        "no command specified: the image has neither entrypoint nor command; give one after its name"));
  c.env = merge_environment(c, d.env);
  if (c.working_dir.empty()) c.working_dir = d.working_dir;
  if (c.working_dir.empty()) c.working_dir = "/";
  if (c.working_dir[0] != '/')
    return fail(Error::invalid("the working directory '" + c.working_dir +
                               "' is invalid, it needs to be an absolute path"));
  if (c.user.empty()) c.user = d.user;
  if (c.stop_signal.empty()) c.stop_signal = d.stop_signal;
  for (const auto& port : d.exposed_ports)
    if (std::find(c.expose.begin(), c.expose.end(), port) == c.expose.end()) c.expose.push_back(port);
  StringMap labels = d.labels;
  for (const auto& [name, value] : c.labels) {
    std::erase_if(labels, [&](const auto& old) { return old.first == name; });
    labels.push_back({name, value});
  }
  c.labels = std::move(labels);
  if (c.health.test.empty() && d.healthcheck) {
    const auto& h = *d.healthcheck;
    c.health.test = h.test;
    if (!c.health.interval) c.health.interval = h.interval;
    if (!c.health.timeout) c.health.timeout = h.timeout;
    if (!c.health.start_period) c.health.start_period = h.start_period;
    if (!c.health.start_interval) c.health.start_interval = h.start_interval;
    if (!c.health.retries) c.health.retries = h.retries;
  }
  for (const auto& path : d.volumes) {
    bool taken =
        std::any_of(c.mounts.begin(), c.mounts.end(), [&](const auto& m) { return m.target == path; });
    if (taken) continue;
    MountConfig m;
    m.type = "volume";
    m.target = path;
    m.anonymous = true;
    c.mounts.push_back(std::move(m));
  }
  return {};
}

Result<Created> create_container(Engine& engine, CreateRequest request) {
  image::ImageRecord image = TRY(find_image(engine, request));
  TRY_VOID(take_volumes_from(engine, request.config));
  TRY_VOID(merge_image(request, image.config));
  ContainerConfig& c = request.config;
  c.created = now_rfc3339();
  c.image_id = image.id.text();
  TRY_VOID(default_network_mode(engine, c));
  c.security.host_userns |= c.security.privileged;
  TRY_VOID(share_range(engine, c));
  Created created;
  if (c.pid_mode == "host" || c.pid_mode.starts_with("container:")) c.init = false;
  Rollback undo;
  auto claim = TRY(engine.containers().claim(c));
  image::Store* store = TRY(engine.images());
  TRY_VOID(store->hold(c.id, image.id));
  undo.push([&] { (void)store->release(c.id); });
  if (!engine.host().cgroups && asks_for_limits(c.resources))
    created.warnings.push_back(
        "limits of memory, CPU, processes and I/O are not applied: this user has no cgroup of "
        "their own (a systemd user manager gives one: log in, or loginctl enable-linger)");
  std::string warning;
  TRY_VOID(make_writable(engine, c, claim.dir.fd(), warning));
  if (!warning.empty()) created.warnings.push_back(warning);
  TRY_VOID(reserve_endpoints(engine, c, undo));
  TRY_VOID(write_own_files(engine, c, claim.dir.fd(), false));
  TRY_VOID(keep_granted_files(claim.dir.fd(), request.file_contents));
  TRY_VOID(create_volumes_of(engine, c, undo));
  TRY_VOID(claim.commit(c));
  undo.commit();
  record_event(engine.paths(), {"container", "create", c.id, c.name, c.image, {}});
  created.id = c.id;
  created.name = c.name;
  return created;
}

}  // namespace onggi::engine
