// PlanBuilder: collects steps, strings and blobs, and lays them out as one Plan image (see plan.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "runtime/plan.h"

namespace onggi::runtime {

class PlanBuilder {
 public:
  PlanBuilder() {
    arena_.reserve(16384);
    arena_.resize(kArenaStart);
  }

  // Appends a step; the reference is valid until the next add().
  Step& add(Op op);
  // Offset of a copy of the text, NUL-terminated; "" gives a valid offset to an empty string.
  uint32_t string(std::string_view s);
  // Offset of a copy of the bytes, 8-byte aligned.
  uint32_t blob(const void* data, size_t size);
  template <class T>
  uint32_t object(const T& value) {
    return blob(&value, sizeof value);
  }

  [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }
  [[nodiscard]] const char* text(uint32_t offset) const { return offset ? arena_.data() + offset : ""; }
  template <class T>
  [[nodiscard]] const T& read(uint32_t offset) const {
    return *reinterpret_cast<const T*>(arena_.data() + offset);
  }

  void set_program(const std::vector<std::string>& argv, const std::vector<std::string>& envp,
                   const std::vector<std::string>& candidates);
  // The image: header, arena, pointer arrays, steps. The builder stays valid for describe().
  std::vector<char> image() const;

  // argv[0] as it was asked for.
  [[nodiscard]] std::string program_name() const {
    return argv_.empty() ? "" : text(static_cast<uint32_t>(argv_[0]));
  }
  // "mount proc on /proc": what a step attempts, for error messages.
  [[nodiscard]] std::string describe(uint32_t step) const;

 private:
  // Offsets in the image are offsets in the arena: the header lies in the arena's first bytes.
  static constexpr size_t kArenaStart = (sizeof(PlanHeader) + 7) / 8 * 8;

  std::vector<char> arena_;
  std::vector<Step> steps_;
  std::vector<uint64_t> argv_, envp_, candidates_;
};

}  // namespace onggi::runtime
