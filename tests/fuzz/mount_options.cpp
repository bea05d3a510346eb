// Mount options, one a line: what is set is not cleared, what is not known is kept as data.
#include "oci/mount_options.h"

#include <linux/mount.h>

#include <algorithm>

#include "fuzz.h"

using namespace onggi;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  std::vector<std::string> options;
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    options.emplace_back(line);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  auto flags = oci::parse_mount_options(options);
  if (!flags) {
    fuzz::require(flags.error().text().starts_with("mount option '"), "errors name the option",
                  flags.error().text());
    return 0;
  }
  fuzz::require((flags->ms_set & flags->ms_clear) == 0, "a flag is set or cleared");
  constexpr uint64_t kAtime = MOUNT_ATTR__ATIME;
  uint64_t both = flags->rec_attr_set & flags->rec_attr_clr & ~kAtime;
  fuzz::require(both == 0, "an attribute is set or cleared");
  // mount_setattr(2): all of __ATIME is cleared or none, and none is set without clearing.
  uint64_t cleared = flags->rec_attr_clr & kAtime;
  fuzz::require(cleared == 0 || cleared == kAtime, "access times are cleared as one");
  fuzz::require((flags->rec_attr_set & kAtime) == 0 || cleared == kAtime,
                "access times are set after clearing");
  fuzz::require(!flags->rbind || flags->bind, "rbind is a bind");
  auto known = oci::known_mount_options();
  for (const auto& [key, value] : flags->data)
    fuzz::require(value || !std::ranges::binary_search(known, key), "known options are not data", key);
  return 0;
}
