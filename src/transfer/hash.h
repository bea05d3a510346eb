// SHA-256 of bulk data, by libcrypto (which uses the processor's instructions for it).
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace onggi::transfer {

class BulkHash {
 public:
  BulkHash();
  void update(std::string_view data);
  // 64 lower-case hex digits; the object is used up.
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace onggi::transfer
