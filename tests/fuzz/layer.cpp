// A layer as a registry may send it: unpacked into a directory on tmpfs, beside a canary that must stay as it
// is.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/tree.h"
#include "fuzz.h"
#include "transfer/unpack.h"

using namespace onggi;

namespace {

struct Place {
  std::string path;
  UniqueFd fd;
  Place() {
    char name[] = "/dev/shm/onggi-fuzz-XXXXXX";
    fuzz::require(::mkdtemp(name) != nullptr, "a scratch directory");
    path = name;
    fd = *open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY);
    fuzz::require(write_file_at(fd.get(), "canary", "alive", O_CREAT).has_value(), "a canary");
  }
  ~Place() { (void)remove_tree_at(AT_FDCWD, path); }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Place place;
  UniqueFd input(::memfd_create("layer", MFD_CLOEXEC));
  if (!write_all(input.get(), fuzz::text_of(data, size), "layer")) return 0;
  ::lseek(input.get(), 0, SEEK_SET);
  fuzz::require(::mkdirat(place.fd.get(), "root", 0755) == 0, "a root");
  UniqueFd root = *open_at(place.fd.get(), "root", O_RDONLY | O_DIRECTORY);
  transfer::UnpackLimits limits;
  limits.max_bytes = 4 << 20;
  limits.max_entries = 1000;
  transfer::TreeWriter writer(root.get());
  auto result = transfer::unpack_tree(input.get(), writer, limits);
  if (result) fuzz::require(result->bytes <= limits.max_bytes, "the budget holds");
  fuzz::require(*read_file_at(place.fd.get(), "canary") == "alive", "the canary lives");
  fuzz::require(remove_tree_at(place.fd.get(), "root").has_value(), "the tree can be removed");
  return 0;
}
