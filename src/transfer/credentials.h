// Credentials for registries, where docker and podman keep them.
//
// Read, in this order: the file that was named (--authfile); $DOCKER_CONFIG/config.json or
// ~/.docker/config.json; $XDG_RUNTIME_DIR/containers/auth.json. In each, credHelpers for the host, then
// auths, then credsStore, as docker does. Helpers are programs named docker-credential-NAME, found in $PATH.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"

namespace onggi::transfer {

struct Credentials {
  std::string username, password;
  std::string identity_token;  // OAuth2 refresh token, instead of a password
};

// What the files say for the registry (as in references). nullopt: nothing. A file that cannot be read or a
// helper that fails is an error: silence would look like a missing image.
Result<std::optional<Credentials>> find_credentials(const std::string& registry,
                                                    const std::string& auth_file);

// `login` and `logout`: change the first of the files above that exists (else the docker one, created 0600),
// keeping everything else in it. store: through the helper where one is configured.
Result<> store_credentials(const std::string& registry, const Credentials& c, const std::string& auth_file);
// False when there were none.
Result<bool> erase_credentials(const std::string& registry, const std::string& auth_file);

std::string base64_encode(std::string_view data);
Result<std::string> base64_decode(std::string_view text);

}  // namespace onggi::transfer
