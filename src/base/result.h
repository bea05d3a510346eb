// Result and Error: how every first-party function reports failure.
//
// An Error carries a kind (mapped in one place to exit codes), the errno where a system call failed, and a
// text that names the operation and the object. Context is added once at each module boundary by wrap().
// Nothing here throws; the runtime is built with -fno-exceptions.
#pragma once

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace onggi {

enum class ErrorKind : uint8_t {
  kOs,           // a system call failed for a reason without a better kind
  kInvalid,      // input breaks a rule (specification, syntax, range)
  kNotFound,     // the object does not exist
  kExists,       // the object exists already
  kBusy,         // the object is in a state that forbids the operation
  kUnsupported,  // this host or build lacks what was asked for
  kPermission,   // the caller may not do this
  kInternal,     // a bug, or an answer from a peer that makes no sense
};

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string text, int os_errno = 0)
      : kind_(kind), errno_(os_errno), text_(std::move(text)) {}

  // A failed system call: "<operation> '<object>': <reason>". `e` is a positive errno.
  static Error os(std::string_view operation, std::string_view object, int e = errno);
  static Error invalid(std::string text) { return {ErrorKind::kInvalid, std::move(text)}; }
  static Error unsupported(std::string text) { return {ErrorKind::kUnsupported, std::move(text)}; }
  static Error not_found(std::string text) { return {ErrorKind::kNotFound, std::move(text)}; }
  static Error busy(std::string text) { return {ErrorKind::kBusy, std::move(text)}; }
  static Error internal(std::string text) { return {ErrorKind::kInternal, std::move(text)}; }

  // Puts "<context>: " before the text.
  Error&& wrap(std::string_view context) &&;
  Error& wrap(std::string_view context) &;

  [[nodiscard]] ErrorKind kind() const { return kind_; }
  [[nodiscard]] int os_errno() const { return errno_; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  ErrorKind kind_;
  int errno_;
  std::string text_;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Error e) { return std::unexpected<Error>(std::move(e)); }

// strerror without locale or shared state; "errno 999" for unknown numbers.
std::string errno_text(int e);

}  // namespace onggi

// Hands the error on, or yields the value.
#define TRY(expr)                                           \
  __extension__({                                           \
    auto&& try_result_ = (expr);                            \
    if (!try_result_) [[unlikely]]                          \
      return ::onggi::fail(std::move(try_result_).error()); \
    *std::move(try_result_);                                \
  })
// As TRY for Result<void>: a statement without a value.
#define TRY_VOID(expr)                                                    \
  do {                                                                    \
    if (auto&& try_void_result_ = (expr); !try_void_result_) [[unlikely]] \
      return ::onggi::fail(std::move(try_void_result_).error());          \
  } while (0)
// As TRY and TRY_VOID, with context put before the error's text.
#define TRY_CTX(expr, context)                                            \
  __extension__({                                                         \
    auto&& try_result_ = (expr);                                          \
    if (!try_result_) [[unlikely]]                                        \
      return ::onggi::fail(std::move(try_result_).error().wrap(context)); \
    *std::move(try_result_);                                              \
  })
#define TRY_VOID_CTX(expr, context)                                            \
  do {                                                                         \
    if (auto&& try_void_result_ = (expr); !try_void_result_) [[unlikely]]      \
      return ::onggi::fail(std::move(try_void_result_).error().wrap(context)); \
  } while (0)
