// What a stack's things are called, and how it is seen that a container is what the file asks for.
#pragma once

#include <string>

#include "stack/load.h"

namespace onggi::stack {

// Labels of docker compose, so that its clients and others recognise what belongs to a stack.
inline constexpr const char* kProjectLabel = "com.docker.compose.project";
inline constexpr const char* kServiceLabel = "com.docker.compose.service";
inline constexpr const char* kNumberLabel = "com.docker.compose.container-number";
inline constexpr const char* kHashLabel = "com.docker.compose.config-hash";
inline constexpr const char* kOneoffLabel = "com.docker.compose.oneoff";
inline constexpr const char* kDirectoryLabel = "com.docker.compose.project.working_dir";
inline constexpr const char* kFilesLabel = "com.docker.compose.project.config_files";
inline constexpr const char* kImageLabel = "com.docker.compose.image";
inline constexpr const char* kDependsLabel = "com.docker.compose.depends_on";
inline constexpr const char* kVersionLabel = "com.docker.compose.version";
inline constexpr const char* kNetworkLabel = "com.docker.compose.network";
inline constexpr const char* kVolumeLabel = "com.docker.compose.volume";

// STACK-SERVICE-NUMBER, or container_name.
std::string container_name(const Project& project, const Node& service, int number);
// `image:`, or STACK-SERVICE for what a builder makes.
std::string image_of(const Project& project, const Node& service);

// The part of a service that its containers are made from, with what it names (networks' and volumes' names,
// the contents of its configs and secrets by their hashes). How many replicas there are, and how they are
// updated, is not in it.
Result<Node> definition_of(const Project& project, const Node& service);
// SHA-256 of the definition, hexadecimal.
Result<std::string> service_hash(const Project& project, const Node& service);
std::string definition_hash(const Node& definition);
// Of a network's or volume's definition.
std::string resource_hash(const Node& resource);

// The bytes of a config or secret: from its file, variable or content. kInvalid names what is missing.
Result<std::string> granted_content(const Project& project, const Node& resource, const std::string& section);

}  // namespace onggi::stack
