#include "oci/capability.h"

#include <gtest/gtest.h>

namespace onggi::oci {
namespace {

TEST(Capabilities, NamesAndNumbersAreTheKernels) {
  EXPECT_EQ(capability_names().size(), 41u);
  EXPECT_EQ(capability_number("CAP_CHOWN"), 0u);
  EXPECT_EQ(capability_number("CAP_SYS_ADMIN"), 21u);
  EXPECT_EQ(capability_number("CAP_SETFCAP"), 31u);
  EXPECT_EQ(capability_number("CAP_CHECKPOINT_RESTORE"), 40u);
  EXPECT_FALSE(capability_number("CAP_"));
  EXPECT_FALSE(capability_number(""));
  EXPECT_FALSE(capability_number("CAP_NOPE"));
  for (uint32_t i = 0; i <= kLastCapability; i++) EXPECT_EQ(capability_number(capability_name(i)), i);
}

}  // namespace
}  // namespace onggi::oci
