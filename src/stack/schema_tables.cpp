// The tables of the Compose specification (its schema/compose-spec.json, fields and types).
#include "stack/schema.h"

namespace onggi::stack {

namespace {

using Is = Type::Is;

constexpr Type kAny{.is = Is::kAny, .nullable = true};
constexpr Type kString{.is = Is::kString};
constexpr Type kBool{.is = Is::kBool};
constexpr Type kInteger{.is = Is::kInteger};
constexpr Type kNumber{.is = Is::kNumber};
constexpr Type kSize{.is = Is::kSize};
constexpr Type kDuration{.is = Is::kDuration};
constexpr Type kText{.is = Is::kText};
constexpr Type kTextOrNull{.is = Is::kText, .nullable = true};
constexpr Type kStringOrNull{.is = Is::kString, .nullable = true};
constexpr Type kStrings{.is = Is::kList, .element = &kString};
constexpr Type kUniqueStrings{.is = Is::kList, .element = &kString, .unique = true};
constexpr Type kUniqueTexts{.is = Is::kList, .element = &kText, .unique = true};
constexpr Type kStringOrList{.is = Is::kList, .element = &kString, .short_form = &kString, .unique = true};
constexpr Type kTextMap{.is = Is::kMap, .element = &kTextOrNull};
constexpr Type kDict{.is = Is::kMap, .element = &kTextOrNull, .list_form = &kStrings, .nullable = true};
constexpr Type kOptions{.is = Is::kMap, .element = &kTextOrNull, .nullable = true};
constexpr Type kCommand{.is = Is::kList, .element = &kText, .short_form = &kString, .nullable = true};
constexpr Type kTest{.is = Is::kList, .element = &kString, .short_form = &kString};

constexpr Type kHostAddresses{.is = Is::kList, .element = &kString, .short_form = &kString};
constexpr Type kExtraHosts{.is = Is::kMap, .element = &kHostAddresses, .list_form = &kUniqueStrings};

constexpr Field kUlimitFields[] = {{"soft", &kInteger, true}, {"hard", &kInteger, true}};
constexpr Type kUlimit{.is = Is::kObject, .fields = kUlimitFields, .short_form = &kInteger};
constexpr Type kUlimits{.is = Is::kMap, .element = &kUlimit};

constexpr Field kGrantFields[] = {
    {"source", &kString}, {"target", &kString}, {"uid", &kText}, {"gid", &kText}, {"mode", &kInteger}};
constexpr Type kGrant{.is = Is::kObject, .fields = kGrantFields, .short_form = &kString};
constexpr Type kGrants{.is = Is::kList, .element = &kGrant};

constexpr Field kBuildFields[] = {{"context", &kString},
                                  {"dockerfile", &kString},
                                  {"dockerfile_inline", &kString},
                                  {"entitlements", &kStrings},
                                  {"args", &kDict},
                                  {"ssh", &kDict},
                                  {"labels", &kDict},
                                  {"cache_from", &kStrings},
                                  {"cache_to", &kStrings},
                                  {"no_cache", &kBool},
                                  {"additional_contexts", &kDict},
                                  {"network", &kString},
                                  {"pull", &kBool},
                                  {"target", &kString},
                                  {"shm_size", &kSize},
                                  {"extra_hosts", &kExtraHosts},
                                  {"isolation", &kString},
                                  {"privileged", &kBool},
                                  {"secrets", &kGrants},
                                  {"tags", &kStrings},
                                  {"ulimits", &kUlimits},
                                  {"platforms", &kStrings}};
constexpr Type kBuild{.is = Is::kObject, .fields = kBuildFields, .short_form = &kString};

constexpr Field kRateFields[] = {{"path", &kString, true}, {"rate", &kSize, true}};
constexpr Type kRate{.is = Is::kObject, .fields = kRateFields};
constexpr Type kRates{.is = Is::kList, .element = &kRate};
constexpr Field kWeightFields[] = {{"path", &kString, true}, {"weight", &kInteger, true}};
constexpr Type kWeight{.is = Is::kObject, .fields = kWeightFields};
constexpr Type kWeights{.is = Is::kList, .element = &kWeight};
constexpr Field kBlkioFields[] = {{"device_read_bps", &kRates},  {"device_read_iops", &kRates},
                                  {"device_write_bps", &kRates}, {"device_write_iops", &kRates},
                                  {"weight", &kInteger},         {"weight_device", &kWeights}};
constexpr Type kBlkio{.is = Is::kObject, .fields = kBlkioFields};

constexpr Field kCredentialFields[] = {{"config", &kString}, {"file", &kString}, {"registry", &kString}};
constexpr Type kCredential{.is = Is::kObject, .fields = kCredentialFields};

constexpr Type kCondition{.is = Is::kString,
                          .words = "service_started service_healthy service_completed_successfully"};
constexpr Field kDependencyFields[] = {
    {"restart", &kBool}, {"required", &kBool}, {"condition", &kCondition, true}};
constexpr Type kDependency{.is = Is::kObject, .fields = kDependencyFields};
constexpr Type kDependsOn{.is = Is::kMap, .element = &kDependency, .list_form = &kUniqueStrings};

constexpr Field kDeviceFields[] = {
    {"source", &kString, true}, {"target", &kString}, {"permissions", &kString}};
constexpr Type kDevice{.is = Is::kObject, .fields = kDeviceFields, .short_form = &kString};
constexpr Type kDevices{.is = Is::kList, .element = &kDevice};

constexpr Field kEnvFileFields[] = {{"path", &kString, true}, {"format", &kString}, {"required", &kBool}};
constexpr Type kEnvFileEntry{.is = Is::kObject, .fields = kEnvFileFields, .short_form = &kString};
constexpr Type kEnvFile{.is = Is::kList, .element = &kEnvFileEntry, .short_form = &kString};

constexpr Field kExtendsFields[] = {{"service", &kString, true}, {"file", &kString}};
constexpr Type kExtends{.is = Is::kObject, .fields = kExtendsFields, .short_form = &kString};

constexpr Field kProviderFields[] = {{"type", &kString, true}, {"options", &kAny}};
constexpr Type kProvider{.is = Is::kObject, .fields = kProviderFields};

constexpr Type kRestartWords{.is = Is::kString};
constexpr Field kLoggingFields[] = {{"driver", &kString}, {"options", &kOptions}};
constexpr Type kLogging{.is = Is::kObject, .fields = kLoggingFields};

constexpr Field kServiceNetworkFields[] = {{"aliases", &kUniqueStrings},        {"interface_name", &kString},
                                           {"ipv4_address", &kString},          {"ipv6_address", &kString},
                                           {"link_local_ips", &kUniqueStrings}, {"mac_address", &kString},
                                           {"driver_opts", &kOptions},          {"priority", &kInteger},
                                           {"gw_priority", &kInteger}};
constexpr Type kServiceNetwork{.is = Is::kObject, .fields = kServiceNetworkFields, .nullable = true};
constexpr Type kServiceNetworks{
    .is = Is::kMap, .element = &kServiceNetwork, .list_form = &kUniqueStrings, .nullable = true};

constexpr Field kModelUseFields[] = {{"endpoint_var", &kString}, {"model_var", &kString}};
constexpr Type kModelUse{.is = Is::kObject, .fields = kModelUseFields, .nullable = true};
constexpr Type kModelUses{.is = Is::kMap, .element = &kModelUse, .list_form = &kUniqueStrings};

constexpr Field kPortFields[] = {{"name", &kString},        {"mode", &kString},    {"host_ip", &kString},
                                 {"target", &kInteger},     {"published", &kText}, {"protocol", &kString},
                                 {"app_protocol", &kString}};
constexpr Type kPort{.is = Is::kObject, .fields = kPortFields, .short_form = &kText};
constexpr Type kPorts{.is = Is::kList, .element = &kPort};

constexpr Field kHookFields[] = {{"command", &kCommand, true},
                                 {"user", &kString},
                                 {"privileged", &kBool},
                                 {"working_dir", &kString},
                                 {"environment", &kDict}};
constexpr Type kHook{.is = Is::kObject, .fields = kHookFields};
constexpr Type kHooks{.is = Is::kList, .element = &kHook};

constexpr Type kRecursive{.is = Is::kString, .words = "enabled disabled writable readonly"};
constexpr Type kSelinux{.is = Is::kString, .words = "z Z"};
constexpr Field kBindFields[] = {{"propagation", &kString},
                                 {"create_host_path", &kBool},
                                 {"recursive", &kRecursive},
                                 {"selinux", &kSelinux}};
constexpr Type kBind{.is = Is::kObject, .fields = kBindFields};
constexpr Field kVolumeUseFields[] = {{"labels", &kDict}, {"nocopy", &kBool}, {"subpath", &kString}};
constexpr Type kVolumeUse{.is = Is::kObject, .fields = kVolumeUseFields};
constexpr Field kTmpfsFields[] = {{"size", &kSize}, {"mode", &kInteger}};
constexpr Type kTmpfs{.is = Is::kObject, .fields = kTmpfsFields};
constexpr Field kImageUseFields[] = {{"subpath", &kString}};
constexpr Type kImageUse{.is = Is::kObject, .fields = kImageUseFields};
constexpr Type kMountType{.is = Is::kString, .words = "bind volume tmpfs cluster npipe image"};
constexpr Field kMountFields[] = {
    {"type", &kMountType, true}, {"source", &kString},      {"target", &kString},
    {"read_only", &kBool},       {"consistency", &kString}, {"bind", &kBind},
    {"volume", &kVolumeUse},     {"tmpfs", &kTmpfs},        {"image", &kImageUse}};
constexpr Type kMount{.is = Is::kObject, .fields = kMountFields, .short_form = &kString};
constexpr Type kMounts{.is = Is::kList, .element = &kMount};

constexpr Field kHealthFields[] = {
    {"disable", &kBool},     {"interval", &kDuration},     {"retries", &kInteger},        {"test", &kTest},
    {"timeout", &kDuration}, {"start_period", &kDuration}, {"start_interval", &kDuration}};
constexpr Type kHealth{.is = Is::kObject, .fields = kHealthFields};

constexpr Type kAction{.is = Is::kString, .words = "rebuild sync restart sync+restart sync+exec"};
constexpr Field kWatchFields[] = {{"ignore", &kStringOrList}, {"include", &kStringOrList},
                                  {"path", &kString, true},   {"action", &kAction, true},
                                  {"target", &kString},       {"exec", &kHook},
                                  {"initial_sync", &kBool}};
constexpr Type kWatch{.is = Is::kObject, .fields = kWatchFields};
constexpr Type kWatches{.is = Is::kList, .element = &kWatch};
constexpr Field kDevelopFields[] = {{"watch", &kWatches}};
constexpr Type kDevelop{.is = Is::kObject, .fields = kDevelopFields, .nullable = true};

constexpr Type kOrder{.is = Is::kString, .words = "start-first stop-first"};
constexpr Field kUpdateFields[] = {{"parallelism", &kInteger},      {"delay", &kDuration},
                                   {"failure_action", &kString},    {"monitor", &kDuration},
                                   {"max_failure_ratio", &kNumber}, {"order", &kOrder}};
constexpr Type kUpdate{.is = Is::kObject, .fields = kUpdateFields};
constexpr Field kLimitFields[] = {{"cpus", &kNumber}, {"memory", &kSize}, {"pids", &kInteger}};
constexpr Type kLimits{.is = Is::kObject, .fields = kLimitFields};
constexpr Field kDiscreteFields[] = {{"kind", &kString}, {"value", &kNumber}};
constexpr Type kDiscrete{.is = Is::kObject, .fields = kDiscreteFields};
constexpr Field kGenericFields[] = {{"discrete_resource_spec", &kDiscrete}};
constexpr Type kGeneric{.is = Is::kObject, .fields = kGenericFields};
constexpr Type kGenerics{.is = Is::kList, .element = &kGeneric};
constexpr Field kRequestFields[] = {{"capabilities", &kUniqueStrings},
                                    {"count", &kText},
                                    {"device_ids", &kUniqueStrings},
                                    {"driver", &kString},
                                    {"options", &kDict}};
constexpr Type kRequest{.is = Is::kObject, .fields = kRequestFields};
constexpr Type kRequests{.is = Is::kList, .element = &kRequest};
constexpr Type kGpus{.is = Is::kList, .element = &kRequest, .short_form = &kString};
constexpr Field kReservationFields[] = {
    {"cpus", &kNumber}, {"memory", &kSize}, {"generic_resources", &kGenerics}, {"devices", &kRequests}};
constexpr Type kReservations{.is = Is::kObject, .fields = kReservationFields};
constexpr Field kResourceFields[] = {{"limits", &kLimits}, {"reservations", &kReservations}};
constexpr Type kResources{.is = Is::kObject, .fields = kResourceFields};
constexpr Field kPolicyFields[] = {
    {"condition", &kString}, {"delay", &kDuration}, {"max_attempts", &kInteger}, {"window", &kDuration}};
constexpr Type kPolicy{.is = Is::kObject, .fields = kPolicyFields};
constexpr Field kPreferenceFields[] = {{"spread", &kString}};
constexpr Type kPreference{.is = Is::kObject, .fields = kPreferenceFields};
constexpr Type kPreferences{.is = Is::kList, .element = &kPreference};
constexpr Field kPlacementFields[] = {
    {"constraints", &kStrings}, {"preferences", &kPreferences}, {"max_replicas_per_node", &kInteger}};
constexpr Type kPlacement{.is = Is::kObject, .fields = kPlacementFields};
constexpr Field kDeployFields[] = {
    {"mode", &kString},         {"endpoint_mode", &kString},   {"replicas", &kInteger},
    {"labels", &kDict},         {"rollback_config", &kUpdate}, {"update_config", &kUpdate},
    {"resources", &kResources}, {"restart_policy", &kPolicy},  {"placement", &kPlacement}};
constexpr Type kDeploy{.is = Is::kObject, .fields = kDeployFields, .nullable = true};

constexpr Type kCgroup{.is = Is::kString, .words = "host private"};

constexpr Field kServiceFields[] = {{"develop", &kDevelop},
                                    {"deploy", &kDeploy},
                                    {"annotations", &kDict},
                                    {"attach", &kBool},
                                    {"build", &kBuild},
                                    {"blkio_config", &kBlkio},
                                    {"cap_add", &kUniqueStrings},
                                    {"cap_drop", &kUniqueStrings},
                                    {"cgroup", &kCgroup},
                                    {"cgroup_parent", &kString},
                                    {"command", &kCommand},
                                    {"configs", &kGrants},
                                    {"container_name", &kString},
                                    {"cpu_count", &kInteger},
                                    {"cpu_percent", &kNumber},
                                    {"cpu_shares", &kInteger},
                                    {"cpu_quota", &kInteger},
                                    {"cpu_period", &kInteger},
                                    {"cpu_rt_period", &kText},
                                    {"cpu_rt_runtime", &kText},
                                    {"cpus", &kNumber},
                                    {"cpuset", &kString},
                                    {"credential_spec", &kCredential},
                                    {"depends_on", &kDependsOn},
                                    {"device_cgroup_rules", &kUniqueStrings},
                                    {"devices", &kDevices},
                                    {"dns", &kStringOrList},
                                    {"dns_opt", &kUniqueStrings},
                                    {"dns_search", &kStringOrList},
                                    {"domainname", &kString},
                                    {"entrypoint", &kCommand},
                                    {"env_file", &kEnvFile},
                                    {"label_file", &kStringOrList},
                                    {"environment", &kDict},
                                    {"expose", &kUniqueTexts},
                                    {"extends", &kExtends},
                                    {"provider", &kProvider},
                                    {"external_links", &kUniqueStrings},
                                    {"extra_hosts", &kExtraHosts},
                                    {"gpus", &kGpus},
                                    {"group_add", &kUniqueTexts},
                                    {"healthcheck", &kHealth},
                                    {"hostname", &kString},
                                    {"image", &kString},
                                    {"init", &kBool},
                                    {"ipc", &kString},
                                    {"isolation", &kString},
                                    {"labels", &kDict},
                                    {"links", &kUniqueStrings},
                                    {"logging", &kLogging},
                                    {"mac_address", &kString},
                                    {"mem_limit", &kSize},
                                    {"mem_reservation", &kSize},
                                    {"mem_swappiness", &kInteger},
                                    {"memswap_limit", &kSize},
                                    {"models", &kModelUses},
                                    {"network_mode", &kString},
                                    {"networks", &kServiceNetworks},
                                    {"oom_kill_disable", &kBool},
                                    {"oom_score_adj", &kInteger},
                                    {"pid", &kStringOrNull},
                                    {"pids_limit", &kInteger},
                                    {"platform", &kString},
                                    {"ports", &kPorts},
                                    {"post_start", &kHooks},
                                    {"pre_stop", &kHooks},
                                    {"privileged", &kBool},
                                    {"profiles", &kUniqueStrings},
                                    {"pull_policy", &kString},
                                    {"pull_refresh_after", &kString},
                                    {"read_only", &kBool},
                                    {"restart", &kRestartWords},
                                    {"runtime", &kString},
                                    {"scale", &kInteger},
                                    {"security_opt", &kUniqueStrings},
                                    {"shm_size", &kSize},
                                    {"secrets", &kGrants},
                                    {"sysctls", &kDict},
                                    {"stdin_open", &kBool},
                                    {"stop_grace_period", &kDuration},
                                    {"stop_signal", &kString},
                                    {"storage_opt", &kOptions},
                                    {"tmpfs", &kStringOrList},
                                    {"tty", &kBool},
                                    {"ulimits", &kUlimits},
                                    {"use_api_socket", &kBool},
                                    {"user", &kString},
                                    {"uts", &kString},
                                    {"userns_mode", &kString},
                                    {"volumes", &kMounts},
                                    {"volumes_from", &kUniqueStrings},
                                    {"working_dir", &kString}};
constexpr Type kService{.is = Is::kObject, .fields = kServiceFields};
constexpr Type kServices{.is = Is::kMap, .element = &kService, .nullable = true};

constexpr Field kExternalFields[] = {{"name", &kString}};
constexpr Type kExternal{.is = Is::kObject, .fields = kExternalFields, .short_form = &kBool};

constexpr Type kAuxiliary{.is = Is::kMap, .element = &kString};
constexpr Field kPoolFields[] = {
    {"subnet", &kString}, {"ip_range", &kString}, {"gateway", &kString}, {"aux_addresses", &kAuxiliary}};
constexpr Type kPool{.is = Is::kObject, .fields = kPoolFields};
constexpr Type kPools{.is = Is::kList, .element = &kPool};
constexpr Field kIpamFields[] = {{"driver", &kString}, {"config", &kPools}, {"options", &kTextMap}};
constexpr Type kIpam{.is = Is::kObject, .fields = kIpamFields, .nullable = true};
constexpr Field kNetworkFields[] = {
    {"name", &kString},       {"driver", &kString}, {"driver_opts", &kOptions}, {"ipam", &kIpam},
    {"external", &kExternal}, {"internal", &kBool}, {"enable_ipv4", &kBool},    {"enable_ipv6", &kBool},
    {"attachable", &kBool},   {"labels", &kDict}};
constexpr Type kNetwork{.is = Is::kObject, .fields = kNetworkFields, .nullable = true};
constexpr Type kNetworks{.is = Is::kMap, .element = &kNetwork, .nullable = true};

constexpr Field kVolumeFields[] = {{"name", &kString},
                                   {"driver", &kString},
                                   {"driver_opts", &kOptions},
                                   {"external", &kExternal},
                                   {"labels", &kDict}};
constexpr Type kVolume{.is = Is::kObject, .fields = kVolumeFields, .nullable = true};
constexpr Type kVolumes{.is = Is::kMap, .element = &kVolume, .nullable = true};

constexpr Field kSecretFields[] = {
    {"name", &kString},    {"environment", &kString},  {"file", &kString},
    {"content", &kString}, {"external", &kExternal},   {"labels", &kDict},
    {"driver", &kString},  {"driver_opts", &kOptions}, {"template_driver", &kString}};
constexpr Type kSecret{.is = Is::kObject, .fields = kSecretFields};
constexpr Type kSecrets{.is = Is::kMap, .element = &kSecret, .nullable = true};
constexpr Field kConfigFields[] = {
    {"name", &kString},       {"content", &kString}, {"environment", &kString},    {"file", &kString},
    {"external", &kExternal}, {"labels", &kDict},    {"template_driver", &kString}};
constexpr Type kConfig{.is = Is::kObject, .fields = kConfigFields};
constexpr Type kConfigs{.is = Is::kMap, .element = &kConfig, .nullable = true};

constexpr Field kModelFields[] = {
    {"name", &kString}, {"model", &kString, true}, {"context_size", &kInteger}, {"runtime_flags", &kStrings}};
constexpr Type kModel{.is = Is::kObject, .fields = kModelFields};
constexpr Type kModels{.is = Is::kMap, .element = &kModel, .nullable = true};

constexpr Field kIncludeFields[] = {
    {"path", &kStringOrList}, {"env_file", &kStringOrList}, {"project_directory", &kString}};
constexpr Type kInclude{.is = Is::kObject, .fields = kIncludeFields, .short_form = &kString};
constexpr Type kIncludes{.is = Is::kList, .element = &kInclude};

constexpr Field kFileFields[] = {{"version", &kText},      {"name", &kString},     {"include", &kIncludes},
                                 {"services", &kServices}, {"models", &kModels},   {"networks", &kNetworks},
                                 {"volumes", &kVolumes},   {"secrets", &kSecrets}, {"configs", &kConfigs}};
constexpr Type kFile{.is = Is::kObject, .fields = kFileFields, .nullable = true};

}  // namespace

const Type& file_type() { return kFile; }
const Type& service_type() { return kService; }

}  // namespace onggi::stack
