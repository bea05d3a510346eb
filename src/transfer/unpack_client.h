// The starter's side of onggi-unpack: feed it a layer, read its answer, do what needs privilege.
#pragma once

#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"
#include "sys/process.h"
#include "transfer/unpack.h"

namespace onggi::transfer {

struct UnpackTarget {
  int directory = -1;  // the tree's root, or (raw) where layer.tar goes; borrowed
  bool raw = false;
  int user_namespace = -1;  // of unpack_namespace(); -1: stay in this one
};

// Where onggi-unpack is: beside this program.
Result<std::string> unpacker_path();
// sys::spawn for this program's threads, one at a time.
Result<sys::Spawned> spawn_alone(const sys::SpawnArgs& args);
// A user namespace in which every id of this one means itself: root in there owns the same files, and is
// nobody everywhere else. Empty where one cannot be made (then the other layers of confinement remain).
Result<NsFd> unpack_namespace();

class Unpacker {
 public:
  static Result<Unpacker> start(const UnpackTarget& target, const UnpackLimits& limits);
  Unpacker(Unpacker&&) noexcept = default;
  Unpacker& operator=(Unpacker&&) = delete;
  // Kills and reaps it when finish() was not called.
  ~Unpacker();

  // The next bytes of the layer. False when the unpacker has ended early: finish() says why.
  Result<bool> feed(std::string_view data);
  // The file or pipe is the input itself (start_from), so feed() is not needed.
  static Result<Unpacker> start_from(int input, const UnpackTarget& target, const UnpackLimits& limits);
  // End of input: waits for the answer, then marks opaque directories and makes device nodes.
  Result<Unpacked> finish();

 private:
  Unpacker() = default;
  UnpackTarget target_;
  UniqueFd input_, answer_;
  sys::Spawned process_;
  bool running_ = false;
};

}  // namespace onggi::transfer
