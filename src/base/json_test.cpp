#include "base/json.h"

#include <gtest/gtest.h>

namespace onggi {
namespace {

struct Inner {
  std::string text;
  std::vector<int32_t> numbers;
};
struct Outer {
  bool flag = false;
  uint32_t u32 = 0;
  int32_t i32 = 0;
  uint64_t u64 = 0;
  int64_t i64 = 0;
  uint16_t u16 = 0;
  std::optional<std::string> maybe;
  Inner inner;
  std::vector<Inner> list;
  std::vector<std::pair<std::string, std::string>> map;
};

}  // namespace

template <>
struct JsonFields<Inner> {
  static constexpr auto kTable = std::to_array<JsonField<Inner>>(
      {json_field<&Inner::text>("text"), json_field<&Inner::numbers>("numbers")});
};
template <>
struct JsonFields<Outer> {
  static constexpr auto kTable = std::to_array<JsonField<Outer>>(
      {json_field<&Outer::flag>("flag"), json_field<&Outer::u32>("u32"), json_field<&Outer::i32>("i32"),
       json_field<&Outer::u64>("u64"), json_field<&Outer::i64>("i64"), json_field<&Outer::u16>("u16"),
       json_field<&Outer::maybe>("maybe"), json_field<&Outer::inner>("inner"),
       json_field<&Outer::list>("list"), json_field<&Outer::map>("map", JsonEmit::kAlways)});
};

namespace {

std::string error_of(std::string_view text) {
  auto result = json_parse<Outer>(text, "doc");
  return result ? "" : result.error().text();
}

TEST(JsonRead, FillsEveryKindOfMember) {
  auto r = json_parse<Outer>(R"({"flag":true,"u32":4294967295,"i32":-2147483648,"u64":18446744073709551615,
      "i64":-9223372036854775808,"u16":65535,"maybe":"","inner":{"text":"a\n\u00e9","numbers":[1,-2]},
      "list":[{},{"text":"x"}],"map":{"z":"1","a":"2"},"unknown":{"deep":[1,2,{}]}})",
                             "doc");
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_TRUE(r->flag);
  EXPECT_EQ(r->u32, UINT32_MAX);
  EXPECT_EQ(r->i32, INT32_MIN);
  EXPECT_EQ(r->u64, UINT64_MAX);
  EXPECT_EQ(r->i64, INT64_MIN);
  EXPECT_EQ(r->u16, 65535);
  EXPECT_EQ(r->maybe, "");
  EXPECT_EQ(r->inner.text, "a\n\xc3\xa9");
  EXPECT_EQ(r->inner.numbers, (std::vector<int32_t>{1, -2}));
  ASSERT_EQ(r->list.size(), 2u);
  EXPECT_EQ(r->list[1].text, "x");
  ASSERT_EQ(r->map.size(), 2u);
  EXPECT_EQ(r->map[0].first, "z");  // the order of the text
}

TEST(JsonRead, NullIsAbsent) {
  auto r = json_parse<Outer>(R"({"flag":null,"u32":null,"maybe":null,"inner":null,"list":null,"map":null})",
                             "doc");
  ASSERT_TRUE(r) << r.error().text();
  EXPECT_FALSE(r->maybe.has_value());
}

TEST(JsonRead, ErrorsNameTheMember) {
  EXPECT_EQ(error_of(R"({"u32":"1"})"), "doc: u32: expected an integer, found a string");
  EXPECT_EQ(error_of(R"({"u32":4294967296})"),
            "doc: u32: expected an integer from 0 to 4294967295, found the number 4294967296");
  EXPECT_EQ(error_of(R"({"u32":-1})"),
            "doc: u32: expected an integer from 0 to 4294967295, found the number -1");
  EXPECT_EQ(error_of(R"({"u32":1.5})"), "doc: u32: expected an integer, found the number 1.5");
  EXPECT_EQ(error_of(R"({"u32":1.0})"), "doc: u32: expected an integer, found the number 1.0");
  EXPECT_EQ(error_of(R"({"u32":1e2})"), "doc: u32: expected an integer, found the number 100.0");
  EXPECT_EQ(error_of(R"({"u32":-0.25})"), "doc: u32: expected an integer, found the number -0.25");
  EXPECT_EQ(error_of(R"({"i32":2147483648})"),
            "doc: i32: expected an integer from -2147483648 to 2147483647, found the number 2147483648");
  EXPECT_EQ(
      error_of(R"({"i64":9223372036854775808})"),
      "doc: i64: expected an integer from -9223372036854775808 to 9223372036854775807, found the number "
      "9223372036854775808");
  EXPECT_EQ(error_of(R"({"u64":18446744073709551616})"),
            "doc: u64: expected an integer, found a number beyond 64 bits");
  EXPECT_EQ(error_of(R"({"u16":65536})"),
            "doc: u16: expected an integer from 0 to 65535, found the number 65536");
  EXPECT_EQ(error_of(R"({"flag":0})"), "doc: flag: expected true or false, found the number 0");
  EXPECT_EQ(error_of(R"({"inner":[]})"), "doc: inner: expected an object, found an array");
  EXPECT_EQ(error_of(R"({"inner":{"numbers":[1,2,"x"]}})"),
            "doc: inner.numbers[2]: expected an integer, found a string");
  EXPECT_EQ(error_of(R"({"list":[{},{"text":[]}]})"), "doc: list[1].text: expected a string, found an array");
  EXPECT_EQ(error_of(R"({"list":[null]})"), "doc: list[0]: expected an object, found null");
  EXPECT_EQ(error_of(R"({"map":{"k":1}})"), "doc: map.k: expected a string, found the number 1");
  EXPECT_EQ(error_of("[]"), "doc: expected an object, found an array");
}

TEST(JsonRead, RefusesBrokenText) {
  EXPECT_EQ(error_of(""), "doc: line 1, column 1: The document is empty.");
  EXPECT_EQ(error_of("{}x"),
            "doc: line 1, column 3: The document root must not be followed by other values.");
  EXPECT_EQ(error_of("{\n \"a\" 1}"),
            "doc: line 2, column 6: Missing a colon after a name of object member.");
  for (const char* bad :
       {"{", "}", "{\"a\":}", "{\"a\":1,}", "{'a':1}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":NaN}", "nul",
        "{\"a\":\"\x01\"}", "{\"a\":\"\\ud800\"}", "// x\n{}", "{\"a\":\"\\x\"}", "\xef\xbb"})
    EXPECT_NE(error_of(bad), "") << bad;
}

TEST(JsonRead, RefusesNul) {
  EXPECT_EQ(error_of(R"({"maybe":"a\u0000b"})"), "doc: line 1, column 20: a string contains a NUL byte");
  EXPECT_EQ(error_of(R"({"un\u0000known":1})").find("doc: line 1"), 0u);
  EXPECT_EQ(error_of(std::string_view("{}\0{}", 5)), "doc: line 1, column 3: a NUL byte");
}

// Found by fuzzing: two keys that differ only in bytes that are not UTF-8 would become one when printed.
TEST(JsonRead, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(error_of("{\"maybe\":\"a\xff\"}"), "doc: line 1, column 14: a string is not UTF-8");
  for (const char* bad :
       {"{\"\x80\":1}", R"({"a":"\udc00"})", R"({"a":"\ud800\u0041"})", "{\"a\":\"twelve bytes\xe2\x82\"}"})
    EXPECT_NE(error_of(bad), "") << bad;
  EXPECT_EQ(error_of(R"({"a":"\ud83d\ude00"})"), "");
}

// Found by fuzzing: numbers whose digits are all zero made the precise parser of the library count the zeros
// of zero.
TEST(JsonRead, OddNumbers) {
  for (const char* number :
       {"0.0", "-0", "0e0", "0.000000000000000000000000000000000000001", "-0.0e-1", "1e308"})
    EXPECT_EQ(error_of(std::string("{\"a\":") + number + "}"), "") << number;
  EXPECT_NE(error_of("{\"a\":1e309}"), "");
  EXPECT_NE(error_of("{\"u32\":-0.0}"), "");
}

TEST(JsonRead, RefusesDuplicates) {
  EXPECT_EQ(error_of(R"({"u32":1,"u32":1})"), "doc: u32: given twice");
  EXPECT_EQ(error_of(R"({"unknown":[{},{"x":{"y":1,"y":2}}]})"), "doc: unknown[1].x.y: given twice");
  EXPECT_EQ(error_of(R"({"inner":{"text":"","te\u0078t":""}})"), "doc: inner.text: given twice");
  std::string many = "{\"map\":{";
  for (int i = 0; i < 100; i++) many += "\"k" + std::to_string(i) + "\":\"\",";
  EXPECT_EQ(error_of(many + "\"k7\":\"\"}}"), "doc: map.k7: given twice");
  EXPECT_EQ(error_of(many + "\"last\":\"\"}}"), "");
}

TEST(JsonRead, BoundsNesting) {
  std::string at_bound = "{\"x\":" + std::string(63, '[') + std::string(63, ']') + "}";
  EXPECT_EQ(error_of(at_bound), "");
  std::string over = "{\"x\":" + std::string(64, '[') + std::string(64, ']') + "}";
  EXPECT_NE(error_of(over).find("nested deeper than 64"), std::string::npos);
  EXPECT_NE(error_of(std::string(1000000, '[')).find("nested deeper than 64"), std::string::npos);
}

TEST(JsonRead, BoundsValuesAndBytes) {
  std::string list = "{\"list\":[{}";
  for (int i = 0; i < 1000000; i++) list += ",{}";
  EXPECT_NE(error_of(list + "]}").find("more than 262144 values"), std::string::npos);
  EXPECT_EQ(error_of("{}" + std::string((16 << 20), ' ')), "doc: larger than 16 MiB");
  EXPECT_EQ(error_of("{}" + std::string((16 << 20) - 2, ' ')), "");
}

TEST(JsonWrite, Shapes) {
  Outer o;
  JsonWriter compact;
  json_write(compact, o);
  EXPECT_EQ(compact.text(), R"({"map":{}})");
  o.maybe = "";
  o.inner.numbers = {1, -2};
  o.map = {{"b", "1"}, {"a", "2"}};
  JsonWriter pretty("  ");
  json_write(pretty, o);
  EXPECT_EQ(pretty.text(), R"({
  "maybe": "",
  "inner": {
    "numbers": [
      1,
      -2
    ]
  },
  "map": {
    "b": "1",
    "a": "2"
  }
})");
}

TEST(JsonWrite, EscapesAndStaysUtf8) {
  auto text_of = [](std::string_view s) {
    JsonWriter w;
    w.string(s);
    return w.take();
  };
  EXPECT_EQ(text_of("a\"b\\c/\n\r\t\x01\x1f\x7f"), R"("a\"b\\c/\n\r\t\u0001\u001f\u007f")");
  EXPECT_EQ(text_of("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  // Stray continuation, overlong, surrogate, beyond U+10FFFF, truncated.
  const std::string unknown = "\xef\xbf\xbd";  // U+FFFD
  for (const char* bad : {"\x80", "\xc0", "\xff"}) EXPECT_EQ(text_of(bad), "\"" + unknown + "\"") << bad;
  EXPECT_EQ(text_of("\xc0\xaf"), "\"" + unknown + unknown + "\"");
  EXPECT_EQ(text_of("\xed\xa0\x80"), "\"" + unknown + unknown + unknown + "\"");
  EXPECT_EQ(text_of("\xf4\x90\x80\x80"), "\"" + unknown + unknown + unknown + unknown + "\"");
  EXPECT_EQ(text_of("x\xe2\x82"), "\"x" + unknown + unknown + "\"");
}

// Whatever bytes a string has, what is written can be read again, and valid text comes back unchanged.
TEST(JsonWrite, AnyBytesRoundTrip) {
  uint64_t state = 88172645463325252u;
  for (int round = 0; round < 20000; round++) {
    std::string bytes;
    for (int i = 0; i < 6; i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      char c = static_cast<char>(state >> 32);
      bytes += c ? c : 'x';
    }
    JsonWriter w;
    w.begin_object();
    w.member("maybe", bytes);
    w.end_object();
    auto back = json_parse<Outer>(w.text(), "doc");
    ASSERT_TRUE(back) << back.error().text() << " in " << w.text();
    if (w.text().find("\xef\xbf\xbd") == std::string::npos) {
      ASSERT_EQ(back->maybe, bytes);
    }
  }
}

}  // namespace
}  // namespace onggi
