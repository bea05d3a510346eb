#include "runtime/criu_rpc.h"

#include <gtest/gtest.h>

namespace onggi::runtime {
namespace {

// Bytes as protoc's own encoder makes them for the same values.
TEST(ProtoWriterTest, EncodesAsProtobuf) {
  ProtoWriter inner;
  inner.text(1, "net");
  inner.number(2, 300);
  ProtoWriter w;
  w.number(1, 1);
  w.message(27, inner);
  w.number(34, 0);
  EXPECT_EQ(w.bytes(), std::string("\x08\x01\xda\x01\x08\x0a\x03net\x10\xac\x02\x90\x02\x00", 16));
}

TEST(ProtoReaderTest, ReadsBackEveryKind) {
  std::string bytes(
      "\x08\xac\x02\x12\x03"
      "abc"
      "\x19"
      "12345678"
      "\x25"
      "1234",
      22);
  ProtoReader r(bytes);
  ProtoField f;
  ASSERT_TRUE(*r.next(f));
  EXPECT_EQ(f.number, 1u);
  EXPECT_EQ(f.value, 300u);
  ASSERT_TRUE(*r.next(f));
  EXPECT_EQ(f.number, 2u);
  EXPECT_EQ(f.bytes, "abc");
  ASSERT_TRUE(*r.next(f));
  EXPECT_EQ(f.bytes, "12345678");
  ASSERT_TRUE(*r.next(f));
  EXPECT_EQ(f.bytes, "1234");
  EXPECT_FALSE(*r.next(f));
}

TEST(ProtoReaderTest, RefusesWhatIsNoMessage) {
  for (std::string bytes :
       {std::string("\x08"),
        std::string("\x12\x05"
                    "abc"),
        std::string("\x0b"), std::string("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        std::string("\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f")}) {
    auto answer = parse_criu_answer(bytes);
    ASSERT_FALSE(answer) << testing::PrintToString(bytes);
    EXPECT_EQ(answer.error().kind(), ErrorKind::kInternal);
  }
}

TEST(CriuAnswerTest, RestoreNotifyAndFailure) {
  ProtoWriter pid;
  pid.number(1, 4321);
  ProtoWriter restored;
  restored.number(1, 2);
  restored.number(2, 1);
  restored.message(4, pid);
  auto a = parse_criu_answer(restored.bytes());
  ASSERT_TRUE(a);
  EXPECT_TRUE(a->success);
  EXPECT_FALSE(a->notify);
  EXPECT_EQ(a->pid, 4321);

  ProtoWriter what;
  what.text(1, "post-restore");
  what.number(2, 77);
  ProtoWriter notify;
  notify.number(1, 6);
  notify.number(2, 1);
  notify.message(5, what);
  a = parse_criu_answer(notify.bytes());
  ASSERT_TRUE(a);
  EXPECT_TRUE(a->notify);
  EXPECT_EQ(a->event.script, "post-restore");
  EXPECT_EQ(a->event.pid, 77);

  ProtoWriter failed;
  failed.number(1, 1);
  failed.number(2, 0);
  failed.number(7, 13);
  failed.text(9, "no such pid");
  a = parse_criu_answer(failed.bytes());
  ASSERT_TRUE(a);
  EXPECT_FALSE(a->success);
  EXPECT_EQ(a->error, 13);
  EXPECT_EQ(a->message, "no such pid");
}

TEST(FindProgramTest, LooksInPathButNotInRelativeEntries) {
  EXPECT_EQ(find_program("sh").substr(0, 1), "/");
  EXPECT_EQ(find_program("no-such-program-anywhere"), "");
}

}  // namespace
}  // namespace onggi::runtime
