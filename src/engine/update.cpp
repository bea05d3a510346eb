// Order: the record first, then the kernel. A command that dies between leaves a record of what was asked,
// and the next start brings the kernel up to it; the other way round the limits would be lost at a restart.
#include "engine/update.h"

#include "engine/events.h"
#include "engine/runtime_call.h"

namespace onggi::engine {

namespace {

// The runtime's words for what differs between two settings; nothing that did not change is written again.
std::vector<std::string> runtime_words(const oci::Resources& was, const oci::Resources& now) {
  std::vector<std::string> words;
  auto number = [&](const char* option, const auto& before, const auto& after) {
    if (after && after != before) {
      words.emplace_back(option);
      words.push_back(std::to_string(*after));
    }
  };
  auto text = [&](const char* option, const std::string& before, const std::string& after) {
    if (after != before) words.insert(words.end(), {option, after});
  };
  oci::MemoryResources m0 = was.memory.value_or(oci::MemoryResources{}),
                       m1 = now.memory.value_or(oci::MemoryResources{});
  oci::CpuResources c0 = was.cpu.value_or(oci::CpuResources{}), c1 = now.cpu.value_or(oci::CpuResources{});
  number("--memory", m0.limit, m1.limit);
  number("--memory-swap", m0.swap, m1.swap);
  number("--memory-reservation", m0.reservation, m1.reservation);
  number("--cpu-share", c0.shares, c1.shares);
  number("--cpu-period", c0.period, c1.period);
  number("--cpu-quota", c0.quota, c1.quota);
  number("--cpu-rt-period", c0.realtime_period, c1.realtime_period);
  number("--cpu-rt-runtime", c0.realtime_runtime, c1.realtime_runtime);
  text("--cpuset-cpus", c0.cpus, c1.cpus);
  text("--cpuset-mems", c0.mems, c1.mems);
  if (now.pids && (!was.pids || was.pids->limit != now.pids->limit))
    number("--pids-limit", std::optional<int64_t>(), now.pids->limit);
  std::optional<uint16_t> w0, w1;
  if (was.block_io) w0 = was.block_io->weight;
  if (now.block_io) w1 = now.block_io->weight;
  number("--blkio-weight", w0, w1);
  return words;
}

Result<> tell_kernel(Engine& engine, const std::string& id, const ContainerConfig& was,
                     const ContainerConfig& now) {
  auto words = runtime_words(build_resources(was, engine.host()), build_resources(now, engine.host()));
  if (words.empty()) return {};
  words.insert(words.begin(), "update");
  words.push_back(id);
  TRY_VOID(call_runtime(engine.paths(), words));
  return {};
}

}  // namespace

Result<> update_container(Engine& engine, const std::string& id,
                          const std::function<Result<>(ContainerConfig& config)>& change) {
  ContainerDir dir = TRY(engine.containers().open(id));
  TRY_VOID(dir.lock());
  ContainerConfig old = TRY(dir.config()), config = old;
  TRY_VOID(change(config));
  if (config.auto_remove && config.restart.name != "no" && config.restart.name != old.restart.name)
    return fail(Error::invalid(
        "Restart policy cannot be updated because AutoRemove is enabled for the container " + old.name));
  TRY_VOID(dir.save_config(config));
  if (TRY(dir.state()).status == "running")
    if (auto done = tell_kernel(engine, id, old, config); !done) {
      // Some limits may have been written before the one that was refused.
      (void)tell_kernel(engine, id, config, old);
      TRY_VOID(dir.save_config(old));
      return fail(std::move(done).error().wrap("update the container " + old.name));
    }
  record_event(engine.paths(), {"container", "update", id, config.name, config.image, {}, ""});
  return {};
}

}  // namespace onggi::engine
