#include "base/result.h"

#include <cstring>

namespace onggi {

std::string errno_text(int e) {
  if (const char* text = strerrordesc_np(e)) return text;
  return "errno " + std::to_string(e);
}

Error Error::os(std::string_view operation, std::string_view object, int e) {
  std::string text(operation);
  if (!object.empty()) {
    text += " '";
    text += object;
    text += '\'';
  }
  text += ": ";
  text += errno_text(e);
  ErrorKind kind = ErrorKind::kOs;
  switch (e) {
    case ENOENT:
    case ENOTDIR:
      kind = ErrorKind::kNotFound;
      break;
    case EEXIST:
      kind = ErrorKind::kExists;
      break;
    case EBUSY:
      kind = ErrorKind::kBusy;
      break;
    case EPERM:
    case EACCES:
      kind = ErrorKind::kPermission;
      break;
    case ENOSYS:
    case EOPNOTSUPP:
      kind = ErrorKind::kUnsupported;
      break;
    default:
      break;
  }
  return {kind, std::move(text), e};
}

Error&& Error::wrap(std::string_view context) && {
  wrap(context);
  return std::move(*this);
}

Error& Error::wrap(std::string_view context) & {
  std::string prefix(context);
  prefix += ": ";
  text_.insert(0, prefix);
  return *this;
}

}  // namespace onggi
