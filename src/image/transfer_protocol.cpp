#include "image/transfer_protocol.h"

namespace onggi::image {

static constexpr const char* kKinds[] = {"os",   "invalid",     "not-found",  "exists",
                                         "busy", "unsupported", "permission", "internal"};

const char* error_kind_name(ErrorKind kind) { return kKinds[static_cast<size_t>(kind)]; }

ErrorKind error_kind_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(kKinds); i++)
    if (name == kKinds[i]) return static_cast<ErrorKind>(i);
  return ErrorKind::kInternal;
}

}  // namespace onggi::image
