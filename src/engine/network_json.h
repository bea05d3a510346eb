// JSON forms of what networks.h and network_store.h keep.
#pragma once

#include "base/json.h"
#include "engine/network_live.h"
#include "engine/network_store.h"

namespace onggi {

template <>
struct JsonFields<engine::SubnetConfig> {
  using T = engine::SubnetConfig;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::subnet>("subnet"), json_field<&T::gateway>("gateway"),
                              json_field<&T::ip_range>("ipRange"), json_field<&T::auxiliary>("auxiliary")});
};
template <>
struct JsonFields<engine::NetworkConfig> {
  using T = engine::NetworkConfig;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::id>("id"), json_field<&T::name>("name"), json_field<&T::created>("created"),
       json_field<&T::driver>("driver"), json_field<&T::internal>("internal"),
       json_field<&T::ipv6>("ipv6", JsonEmit::kAlways), json_field<&T::attachable>("attachable"),
       json_field<&T::isolated>("isolated"), json_field<&T::subnets>("subnets"),
       json_field<&T::options>("options"), json_field<&T::labels>("labels")});
};
template <>
struct JsonFields<engine::EndpointRecord> {
  using T = engine::EndpointRecord;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::container>("container"), json_field<&T::name>("name"),
       json_field<&T::aliases>("aliases"), json_field<&T::hostname>("hostname"), json_field<&T::ipv4>("ipv4"),
       json_field<&T::ipv6>("ipv6"), json_field<&T::mac>("mac"), json_field<&T::ports>("ports"),
       json_field<&T::resolvers>("resolvers"), json_field<&T::drained>("drained")});
};

template <>
struct JsonFields<engine::LiveLink> {
  using T = engine::LiveLink;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::network_id>("networkId"), json_field<&T::driver>("driver"),
                              json_field<&T::master>("master"), json_field<&T::host_link>("hostLink"),
                              json_field<&T::interface>("interface"), json_field<&T::ipv4>("ipv4"),
                              json_field<&T::ipv6>("ipv6"), json_field<&T::mac>("mac")});
};
template <>
struct JsonFields<engine::LivePort> {
  using T = engine::LivePort;
  static constexpr auto kTable =
      std::to_array<JsonRow>({json_field<&T::host_ip>("hostIp"), json_field<&T::host_port>("hostPort"),
                              json_field<&T::container_port>("containerPort"),
                              json_field<&T::protocol>("protocol"), json_field<&T::target>("target")});
};
template <>
struct JsonFields<engine::LiveRecord> {
  using T = engine::LiveRecord;
  static constexpr auto kTable = std::to_array<JsonRow>(
      {json_field<&T::id>("id"), json_field<&T::pid>("pid"), json_field<&T::pid_start>("pidStart"),
       json_field<&T::group>("group"), json_field<&T::draining>("draining"), json_field<&T::links>("links"),
       json_field<&T::ports>("ports")});
};

}  // namespace onggi
