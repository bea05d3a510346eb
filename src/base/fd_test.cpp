// Ownership of descriptors: what close_all() closes, and what it must leave open.
#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace onggi {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(Fd, CloseAllClosesRunsAndLeavesTheGaps) {
  std::vector<int> numbers;
  std::vector<UniqueFd> all;
  for (int i = 0; i < 8; i++) {
    all.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(all.back());
    numbers.push_back(all.back().get());
  }
  // A gap in the numbers (kept open by another owner) and an empty place in the list.
  UniqueFd kept = std::move(all[3]);
  std::vector<UniqueFd> others;
  others.push_back(std::move(all[6]));
  close_all(all);
  EXPECT_TRUE(all.empty());
  for (size_t i = 0; i < numbers.size(); i++) EXPECT_EQ(i == 3 || i == 6, is_open(numbers[i])) << i;
}

TEST(Fd, CloseAllTakesNumbersInAnyOrder) {
  std::vector<UniqueFd> all;
  UniqueFd a(::open("/dev/null", O_RDONLY | O_CLOEXEC)), b(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  int first = a.get(), second = b.get();
  all.push_back(std::move(b));
  all.push_back(std::move(a));
  close_all(all);
  EXPECT_FALSE(is_open(first));
  EXPECT_FALSE(is_open(second));
}

}  // namespace
}  // namespace onggi
