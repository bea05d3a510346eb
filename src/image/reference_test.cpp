#include "image/reference.h"

#include <gtest/gtest.h>

namespace onggi::image {
namespace {

const std::string kHex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(Reference, NormalisesAsDockerDoes) {
  struct Case {
    std::string text, canonical, familiar;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"},
           {"me/app", "docker.io/me/app:latest", "me/app:latest"},
           {"docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"library/nginx", "docker.io/library/nginx:latest", "nginx:latest"},
           {"docker.io/example.org/x", "docker.io/example.org/x:latest", "docker.io/example.org/x:latest"},
           {"library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
           {"localhost/x", "localhost/x:latest", "localhost/x:latest"},
           {"host:5000/a/b:tag", "host:5000/a/b:tag", "host:5000/a/b:tag"},
           {"Host/x", "Host/x:latest", "Host/x:latest"},
           {"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
           {"a__b/c--d.e:T_1", "docker.io/a__b/c--d.e:T_1", "a__b/c--d.e:T_1"},
           {"x@sha256:" + kHex, "docker.io/library/x@sha256:" + kHex, "x@sha256:" + kHex},
           {"h:1/x:t@sha256:" + kHex, "h:1/x:t@sha256:" + kHex, "h:1/x:t@sha256:" + kHex}}) {
    auto ref = Reference::parse(c.text);
    ASSERT_TRUE(ref) << c.text << ": " << ref.error().text();
    EXPECT_EQ(ref->canonical(), c.canonical);
    EXPECT_EQ(ref->familiar(), c.familiar);
    // Both spellings name the same image.
    EXPECT_EQ(*Reference::parse(ref->familiar()), *ref);
    EXPECT_EQ(*Reference::parse(ref->canonical()), *ref);
  }
}

TEST(Reference, SaysWhichRuleIsBroken) {
  struct Case {
    std::string text, reason;
  };
  for (const Case& c : std::initializer_list<Case>{{"", "empty"},
                                                   {kHex, "image id"},
                                                   {"Nginx", "lower-case"},
                                                   {"a//b", "'' is no part"},
                                                   {"a/../b", "'..' is no part"},
                                                   {"-a", "'-a' is no part"},
                                                   {"a._b", "no part"},
                                                   {"a___b", "no part"},
                                                   {"a:", "tag"},
                                                   {"a:.x", "tag"},
                                                   {"a:" + std::string(129, 'x'), "tag"},
                                                   {"h:5000/", "missing"},
                                                   {"h:99999/a", "no host name"},
                                                   {"a..b/c", "no host name"},
                                                   {"[::1/c", "no host name"},
                                                   {"a@sha256:12", "64"},
                                                   {"a@sha512:" + kHex + kHex, "sha256"},
                                                   {"a b", "no part"},
                                                   {std::string("a\0b", 3), "no part"},
                                                   {"h.io/" + std::string(251, 'x'), "255"}}) {
    auto ref = Reference::parse(c.text);
    ASSERT_FALSE(ref) << c.text;
    EXPECT_EQ(ref.error().kind(), ErrorKind::kInvalid);
    EXPECT_NE(ref.error().text().find(c.reason), std::string::npos) << c.text << ": " << ref.error().text();
  }
}

TEST(Reference, AMissingTagCanStayMissing) {
  EXPECT_EQ(Reference::parse_untagged("nginx")->tag, "");
  EXPECT_EQ(Reference::parse_untagged("nginx")->canonical(), "docker.io/library/nginx");
}

TEST(Reference, KnowsThisMachine) {
  for (const char* host : {"localhost", "localhost:5000", "127.0.0.1", "127.9.8.7:80", "[::1]", "[::1]:443"})
    EXPECT_TRUE(is_loopback_host(host)) << host;
  for (const char* host : {"127.0.0.1.example.org", "128.0.0.1", "localhost.example.org", "127.1", "[::2]:80",
                           "example.org", "127.0.0.256", ""})
    EXPECT_FALSE(is_loopback_host(host)) << host;
}

}  // namespace
}  // namespace onggi::image
