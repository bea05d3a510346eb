// What is written is read back; what is damaged is refused before it is used.
#include "engine/tar.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"

namespace onggi::engine {
namespace {

struct Scratch {
  UniqueFd fd{::memfd_create("tar", MFD_CLOEXEC)};
  void rewind() const { ASSERT_EQ(::lseek(fd.get(), 0, SEEK_SET), 0); }
  [[nodiscard]] std::string all() const {
    rewind();
    return *read_fd(fd.get(), "tar");
  }
};

FileEntry file(std::string path, uint64_t size) {
  FileEntry e;
  e.path = std::move(path);
  e.mode = S_IFREG | 0644;
  e.size = size;
  e.mtime.tv_sec = 1700000000;
  return e;
}

std::string error_of(const std::string& bytes) {
  Scratch s;
  EXPECT_TRUE(write_all(s.fd.get(), bytes, "test"));
  s.rewind();
  TarReader reader(s.fd.get());
  for (;;) {
    auto entry = reader.next();
    if (!entry) return entry.error().text();
    if (!*entry) return "";
  }
}

TEST(Tar, RoundTrip) {
  Scratch s, content;
  ASSERT_TRUE(write_all(content.fd.get(), "hello", "test"));
  content.rewind();
  TarWriter writer(s.fd.get());
  FileEntry big = file(std::string(300, 'n') + "/x", 5);
  big.uid = 5'000'000, big.gid = 70'000, big.mode = S_IFREG | 04755;
  big.xattrs = {{"user.key", std::string("a\0=b\n", 5)}};
  ASSERT_TRUE(writer.header(big));
  ASSERT_TRUE(writer.content(content.fd.get(), 5));
  FileEntry link;
  link.path = "l", link.mode = S_IFLNK | 0777, link.link = std::string(200, 't');
  ASSERT_TRUE(writer.header(link));
  FileEntry directory;
  directory.path = "d", directory.mode = S_IFDIR | 01777;
  ASSERT_TRUE(writer.header(directory));
  ASSERT_TRUE(writer.finish());
  s.rewind();
  TarReader reader(s.fd.get());
  auto first = reader.next();
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->path, big.path);
  EXPECT_EQ((*first)->uid, 5'000'000u);
  EXPECT_EQ((*first)->gid, 70'000u);
  EXPECT_EQ((*first)->mode, big.mode);
  EXPECT_EQ((*first)->xattrs, big.xattrs);
  char block[3];
  EXPECT_EQ(*reader.read(block, 3), 3u);
  EXPECT_EQ(std::string(block, 3), "hel");
  auto second = reader.next();  // the rest of the content is skipped
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->link, link.link);
  auto third = reader.next();
  ASSERT_TRUE(third && *third);
  EXPECT_TRUE(S_ISDIR((*third)->mode));
  EXPECT_EQ((*third)->path, "d/");
  auto end = reader.next();
  ASSERT_TRUE(end.has_value());
  EXPECT_FALSE(end->has_value());
}

TEST(Tar, FileThatShrankIsFilled) {
  Scratch s, content;
  ASSERT_TRUE(write_all(content.fd.get(), "ab", "test"));
  content.rewind();
  TarWriter writer(s.fd.get());
  ASSERT_TRUE(writer.header(file("f", 600)));
  ASSERT_TRUE(writer.content(content.fd.get(), 600));
  ASSERT_TRUE(writer.finish());
  EXPECT_EQ(s.all().size(), 512u + 1024u + 1024u);
}

TEST(Tar, Damaged) {
  Scratch s;
  TarWriter writer(s.fd.get());
  ASSERT_TRUE(writer.header(file("f", 10)));
  ASSERT_TRUE(writer.content(-1, 10));
  ASSERT_TRUE(writer.finish());
  std::string good = s.all();
  EXPECT_EQ(error_of(good), "");
  EXPECT_EQ(error_of(""), "");
  EXPECT_NE(error_of(good.substr(0, 300)).find("ends in the middle"), std::string::npos);
  EXPECT_NE(error_of(good.substr(0, 700)).find("ends in the middle"), std::string::npos);
  std::string wrong = good;
  wrong[0] = 'g';
  EXPECT_NE(error_of(wrong).find("checksum"), std::string::npos);
  EXPECT_NE(error_of(std::string(4096, 'x')).find("no tar"), std::string::npos);
}

// A header with given size field, and a checksum that fits.
std::string with_size(const std::string& size, char type) {
  std::string raw(512, '\0');
  raw[0] = 'f';
  raw.replace(100, 7, "0000644");
  raw.replace(108, 7, "0000000");
  raw.replace(116, 7, "0000000");
  raw.replace(124, size.size(), size);
  raw.replace(136, 11, "00000000000");
  raw[156] = type;
  raw.replace(257, 6, std::string("ustar\0", 6));
  unsigned sum = 0;
  for (size_t n = 0; n < 512; n++) sum += n >= 148 && n < 156 ? ' ' : static_cast<unsigned char>(raw[n]);
  char text[8];
  snprintf(text, sizeof text, "%06o", sum);
  raw.replace(148, 7, std::string(text, 7));
  return raw;
}

TEST(Tar, NumbersOutOfRange) {
  EXPECT_NE(error_of(with_size("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", '0')).find("out of range"),
            std::string::npos);
  EXPECT_NE(error_of(with_size(std::string("\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00", 12), '0'))
                .find("out of range"),
            std::string::npos);
  EXPECT_NE(error_of(with_size("9999999", '0')).find("out of range"), std::string::npos);
  EXPECT_NE(error_of(with_size("77777777777", 'x')).find("over a mebibyte"), std::string::npos);
  EXPECT_NE(error_of(with_size("00000000000", 'Z')).find("unknown type"), std::string::npos);
  std::string pax = with_size("00000000012", 'x') + "99 path=a\n" + std::string(502, '\0');
  EXPECT_NE(error_of(pax).find("wrong length"), std::string::npos);
}

}  // namespace
}  // namespace onggi::engine
