#include "transfer/hash.h"

#include <openssl/evp.h>

namespace onggi::transfer {

void BulkHash::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

BulkHash::BulkHash() : context_(EVP_MD_CTX_new()) {
  EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
}

void BulkHash::update(std::string_view data) { EVP_DigestUpdate(context_.get(), data.data(), data.size()); }

std::string BulkHash::hex() {
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context_.get(), raw, &size);
  std::string out;
  for (unsigned i = 0; i < size; i++) {
    out += "0123456789abcdef"[raw[i] >> 4];
    out += "0123456789abcdef"[raw[i] & 15];
  }
  return out;
}

}  // namespace onggi::transfer
