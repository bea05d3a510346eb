#include "stack/update.h"

#include <unistd.h>

#include <algorithm>

#include "engine/clock.h"
#include "engine/events.h"
#include "engine/lifecycle.h"
#include "stack/apply.h"
#include "stack/complete.h"
#include "stack/identity.h"
#include "stack/networks.h"
#include "stack/request.h"
#include "stack/schema.h"

namespace onggi::stack {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int kPollMicroseconds = 10'000;  // of states that nobody announces

int64_t duration_member(const Node& owner, const char* name, int64_t otherwise) {
  return owner.get(name) ? duration_of(owner.text_of(name)).value_or(otherwise) : otherwise;
}

// How long a health check may take to say yes: its start period, then all its tries; at least ten seconds.
int64_t longest_wait(const engine::HealthConfig& h) {
  constexpr int64_t kDefault = 30 * kSecond, kLeast = 10 * kSecond;
  int64_t interval = h.interval ? h.interval : kDefault, timeout = h.timeout ? h.timeout : kDefault,
          tries = h.retries ? h.retries : 3;
  return std::max(kLeast, h.start_period + (tries + 1) * (interval + timeout));
}

// One service's update: which old container each new one replaced, so that all can be turned back.
class Update {
 public:
  Update(engine::Engine& engine, const Project& project, const Node& service, const std::string& hash,
         const UpOptions& options, const Told& told, UpdateOrder order)
      : engine_(engine),
        project_(project),
        service_(service),
        hash_(hash),
        options_(options),
        told_(told),
        order_(std::move(order)) {}

  Result<> run(const std::vector<ContainerAction>& actions) {
    size_t step = order_.parallelism <= 0 ? actions.size() : static_cast<size_t>(order_.parallelism);
    for (size_t at = 0; at < actions.size(); at += step) {
      if (at && order_.delay_ns) ::usleep(static_cast<useconds_t>(order_.delay_ns / 1000));
      size_t first = pairs_.size();
      Result<> done;
      for (size_t i = at; done && i < std::min(at + step, actions.size()); i++) done = begin(actions[i]);
      for (size_t i = first; done && i < pairs_.size(); i++) done = finish(pairs_[i]);
      if (!done) {
        if (order_.failure_action == "continue") {
          told_(actions[at].name, "Failed: " + done.error().text());
          continue;
        }
        return failed(std::move(done).error());
      }
    }
    // All new ones are good: now the old may go.
    for (const auto& p : pairs_)
      TRY_VOID(engine::remove_container(engine_, p.old.id, {.force = true, .volumes = !p.carried}));
    return {};
  }

 private:
  struct Pair {
    Replica old;
    std::string old_name, name, id;  // id: of the new one; empty until it is created
    bool carried = false;            // anonymous volumes went over to the new one
  };

  Result<> begin(const ContainerAction& action) {
    Pair& p = pairs_.emplace_back();
    p.old = TRY(read_replica(engine_, action.id));
    p.old_name = p.old.name;
    p.name = action.name;
    if (!order_.start_first && p.old.status != "created" && p.old.status != "exited") {
      TRY_VOID(engine::stop_container(engine_, p.old.id, options_.stop_timeout));
      told_(p.old_name, "Stopped");
    }
    if (p.old.name == p.name)
      TRY_VOID(engine::rename_container(engine_, p.old.id, p.old.id.substr(0, 12) + "_" + p.name));
    p.carried = !order_.start_first && !options_.renew_volumes;
    p.id = TRY(make_replica(engine_, project_, service_, action.number, p.name, hash_,
                            p.carried ? &p.old : nullptr, options_.renew_volumes));
    if (options_.no_start) return {};
    if (order_.start_first) TRY_VOID(hold(engine_, p.id));
    TRY(engine::start_container(engine_, p.id, {}));
    told_(p.name, order_.start_first ? "Started beside the old one" : "Started");
    return {};
  }

  Result<> finish(Pair& p) {
    if (options_.no_start) return {};
    auto good = wait_until_good(engine_, p.id, order_.monitor_ns);
    if (!good) return fail(std::move(good).error().wrap("container " + p.name));
    if (!order_.start_first) return {};
    TRY_VOID(admit(engine_, p.id));
    TRY_VOID(drain_and_stop(engine_, p.old, options_.stop_timeout));
    told_(p.name, "Took over");
    return {};
  }

  Result<> failed(Error error) {
    if (order_.failure_action == "pause")
      return fail(std::move(error).wrap("update of service " + service_.key +
                                        " stopped (failure_action: pause), old and new containers are left"));
    std::string text = "update of service " + service_.key + " failed: " + error.text();
    Result<> back = roll_back();
    if (!back)
      return fail(Error(ErrorKind::kBusy, text + "; and going back failed, too: " + back.error().text()));
    return fail(Error(ErrorKind::kBusy, text + "; rolled back: the previous version runs again"));
  }

  // Old ones first where they share the port with the new, so that somebody always answers.
  Result<> roll_back() {
    Result<> worst;
    for (auto it = pairs_.rbegin(); it != pairs_.rend(); ++it) {
      Pair& p = *it;
      bool ran = p.old.status == "running" || p.old.status == "restarting";
      auto start_old = [&]() -> Result<> {
        if (!ran) return {};
        TRY(engine::start_container(engine_, p.old.id, {}));
        if (order_.start_first) TRY_VOID(wait_until_good(engine_, p.old.id, 0));
        return admit(engine_, p.old.id);  // it may have been drained
      };
      auto remove_new = [&]() -> Result<> {
        std::string id = p.id;
        if (id.empty()) {
          auto found = engine_.containers().resolve(p.name);  // it was made and its creator failed after
          if (found && *found != p.old.id) id = *found;
        }
        return id.empty() ? Result<>()
                          : engine::remove_container(engine_, id, {.force = true, .volumes = !p.carried});
      };
      for (bool old : {order_.start_first, !order_.start_first})
        if (auto r = old ? start_old() : remove_new(); !r) worst = std::move(r);
      if (auto now = read_replica(engine_, p.old.id); now && now->name != p.old_name)
        if (auto r = engine::rename_container(engine_, p.old.id, p.old_name); !r) worst = std::move(r);
      told_(p.old_name, "Rolled back");
    }
    return worst;
  }

  engine::Engine& engine_;
  const Project& project_;
  const Node& service_;
  const std::string& hash_;
  const UpOptions& options_;
  const Told& told_;
  UpdateOrder order_;
  std::vector<Pair> pairs_;
};

}  // namespace

UpdateOrder update_order(const Node& service, size_t replicas) {
  UpdateOrder order;
  const Node none = Node::map();
  const Node* deploy = service.get("deploy");
  const Node& u = deploy && deploy->get("update_config") ? *deploy->get("update_config") : none;
  // Soon, and late enough to see a program that ends at once.
  constexpr int64_t kMonitor = kSecond, kShort = kSecond / 2;
  order.parallelism = static_cast<int>(u.integer_of("parallelism", 1));
  order.delay_ns = duration_member(u, "delay", 0);
  order.failure_action = u.text_of("failure_action", "rollback");
  // What can only be there once cannot start before the old one has gone.
  bool single = service.get("container_name") || service.text_of("network_mode") == "host";
  if (const Node* networks = service.get("networks"))
    for (const auto& n : networks->items)
      single |= n.get("ipv4_address") || n.get("ipv6_address") || n.get("mac_address");
  order.start_first =
      !single && u.text_of("order", replicas > 1 ? "start-first" : "stop-first") == "start-first";
  order.monitor_ns = duration_member(u, "monitor", order.start_first ? kMonitor : kShort);
  return order;
}

Result<> wait_until_good(engine::Engine& engine, const std::string& id, int64_t monitor_ns) {
  int64_t begin = engine::now_nanoseconds();
  for (;;) {
    auto r = read_replica(engine, id);
    if (!r) return fail(std::move(r).error().wrap("it is gone"));
    int64_t waited = engine::now_nanoseconds() - begin;
    bool ended_well = r->status == "exited" && r->state.exit_code == 0 &&
                      r->config.restart.name != "always" && r->config.restart.name != "unless-stopped";
    if (ended_well) return {};
    if (r->status == "exited" || r->status == "restarting" || r->state.restarts > 0)
      return fail(Error::busy("it ended (exit code " + std::to_string(r->state.exit_code) +
                              "); see: onggi logs " + r->name));
    if (r->health == "healthy") return {};
    if (r->health == "unhealthy") return fail(Error::busy("it is unhealthy; see: onggi why " + r->name));
    if (r->health.empty() && waited >= monitor_ns) return {};
    if (!r->health.empty() && waited > std::max(longest_wait(r->config.health), monitor_ns))
      return fail(Error::busy("it was not healthy within " + std::to_string(waited / kSecond) + " s"));
    ::usleep(kPollMicroseconds);
  }
}

Result<> drain_and_stop(engine::Engine& engine, const Replica& replica, std::optional<int> timeout) {
  if (replica.status != "running") return engine::stop_container(engine, replica.id, timeout);
  constexpr int kDefault = 10;  // seconds
  int seconds = timeout.value_or(replica.config.stop_timeout.value_or(kDefault));
  drain(engine, replica, seconds);
  return engine::stop_container(engine, replica.id, timeout);
}

Result<> update_service(engine::Engine& engine, const Project& project, const Node& service,
                        const std::vector<ContainerAction>& actions, const std::string& hash,
                        const UpOptions& options, const Told& told) {
  auto scaled = options.scale.find(service.key);
  size_t replicas = scaled != options.scale.end()
                        ? static_cast<size_t>(scaled->second)
                        : static_cast<size_t>(std::max<int64_t>(0, replicas_of(service)));
  return Update(engine, project, service, hash, options, told, update_order(service, replicas)).run(actions);
}

}  // namespace onggi::stack
