// spec, features: documents that need no container.
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "oci/emit.h"
#include "oci/features.h"
#include "policy/default_spec.h"
#include "policy/seccomp.h"
#include "rtcli/command.h"
#include "sys/cgroup.h"

namespace onggi::rtcli {

Result<int> run_spec(const Invocation& i) {
  bool rootless = TRY(i.args.flag("rootless"));
  bool cgroup_v2 = sys::cgroup_mode() == sys::CgroupMode::kV2;
  oci::Spec spec =
      rootless ? policy::rootless_spec(::geteuid(), ::getegid(), cgroup_v2) : policy::default_spec(cgroup_v2);
  UniqueFd bundle = TRY(open_at(AT_FDCWD, i.args.get("bundle", "."), O_PATH | O_DIRECTORY));
  // O_EXCL: a configuration that somebody wrote is never lost.
  auto written =
      write_file_at(bundle.get(), "config.json", oci::emit_spec(spec) + "\n", O_CREAT | O_EXCL, 0666);
  if (!written && written.error().kind() == ErrorKind::kExists)
    return fail(Error(ErrorKind::kExists, "spec: config.json exists already, remove it first", EEXIST));
  if (!written) return fail(std::move(written).error());
  return 0;
}

Result<int> run_features(const Invocation&) {
  oci::FeatureFacts facts;
  facts.seccomp_actions = policy::seccomp_actions();
  facts.seccomp_operators = policy::seccomp_operators();
  facts.seccomp_archs = policy::seccomp_architectures();
  facts.seccomp_known_flags = policy::seccomp_known_flags();
  facts.seccomp_supported_flags = policy::seccomp_supported_flags();
  facts.annotations = {{"org.onggi.runtime.version", ONGGI_VERSION}};
  // Properties of the container's systemd unit; the only annotations that this runtime acts upon.
  facts.potentially_unsafe_annotations = {"org.systemd.property."};
  TRY_VOID(print(oci::emit_features(facts) + "\n"));
  return 0;
}

}  // namespace onggi::rtcli
