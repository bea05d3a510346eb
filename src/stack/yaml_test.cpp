#include "stack/yaml.h"

#include <gtest/gtest.h>

#include "stack/emit.h"

namespace onggi::stack {
namespace {

std::string json(const char* text) {
  auto n = parse_yaml(text, "f");
  return n ? to_json(*n) : "error: " + n.error().text();
}

TEST(Yaml, ScalarsHaveTheirKinds) {
  EXPECT_EQ(json("[1, 0x10, 1.5, true, 'true', ~, abc, '1', 1e3, -7, .5]"),
            R"([1,16,1.5,true,"true",null,"abc","1",1000,-7,0.5])");
  EXPECT_EQ(json(""), "null");
  EXPECT_EQ(json("a: yes"), R"({"a":"yes"})");  // YAML 1.2: a word
}

TEST(Yaml, PlacesAreKept) {
  auto n = parse_yaml("a:\n  b: [x,\n      y]\n", "dir/f.yaml");
  ASSERT_TRUE(n);
  EXPECT_EQ(place(n->find("a")->find("b")->items[1].mark), "dir/f.yaml:3:7");
  EXPECT_EQ(place(n->find("a")->find("b")->key_mark), "dir/f.yaml:2:3");
}

TEST(Yaml, AliasesAndMerges) {
  EXPECT_EQ(json("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x"),
            R"({"a":{"p":1,"q":2},"b":{"q":3,"p":1},"c":{"p":1,"q":2}})");
  EXPECT_EQ(json("a: &x {p: 1}\nb: &y {p: 2, r: 4}\nc: {<<: [*x, *y]}"),
            R"({"a":{"p":1},"b":{"p":2,"r":4},"c":{"p":1,"r":4}})");
  EXPECT_EQ(json("'<<': 1"), R"({"<<":1})");
}

TEST(Yaml, AnAnchorBombEnds) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; i++) {
    std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; k++) text += (k ? ", " : "") + before;
    text += "]\n";
  }
  auto n = parse_yaml(text, "bomb.yaml");
  ASSERT_FALSE(n);
  EXPECT_NE(n.error().text().find("bomb.yaml:"), std::string::npos);
  EXPECT_NE(n.error().text().find("too large"), std::string::npos);
}

TEST(Yaml, DeepNestingEnds) {
  std::string deep(5000, '[');
  EXPECT_NE(json(deep.c_str()).find("nested deeper"), std::string::npos);
  std::string chain = "a0: &a0 x\n";
  for (int i = 1; i < 100; i++)
    chain += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
  EXPECT_NE(json(chain.c_str()).find("nested deeper"), std::string::npos)
      << json(chain.c_str()).substr(0, 200);
}

TEST(Yaml, BadInputNamesItsPlace) {
  const std::pair<const char*, const char*> kCases[] = {
      {"a: 1\nb: 2\na: 3", "f:3:1: the key 'a' stands here a second time (first at line 1)"},
      {"a: *b", "f:1:4: the alias *b has no anchor"},
      {"a: &x [*x]", "f:1:8: the alias *x stands inside its own anchor"},
      {"a: [1", "f:"},
      {"? [a]\n: b", "f:1:3: a key must be a plain word"},
      {"a: !foo 1", "f:1:4: the tag '!foo' means nothing here"},
      {"a: 1\n---\nb: 2", "several YAML documents"},
      {"<<: 5", "f:1:1: '<<' merges a mapping"},
      {"a:\t- b", "f:1:"}};
  for (const auto& [text, wanted] : kCases)
    EXPECT_NE(json(text).find(wanted), std::string::npos) << text << "\n" << json(text);
}

TEST(Yaml, EmittedTextReadsAsTheSame) {
  const char* kText =
      "a: ['yes', '1', 'null', '', ' x', 'a: b', \"l1\\nl2\\n\", \"l1\\nl2\", '#c', '-', '- x', '12:30', "
      "'it''s', '*a', \"tab\\t\", 'x #y', '{a}', 'C:\\d', '0x1', '~', '--flag']\n"
      "b: {}\nc: []\nd: [[1, {e: 2}], [], {}]\n'true': 1\n";
  auto n = parse_yaml(kText, "f");
  ASSERT_TRUE(n);
  auto again = parse_yaml(to_yaml(*n), "g");
  ASSERT_TRUE(again) << again.error().text() << to_yaml(*n);
  EXPECT_EQ(to_json(*n), to_json(*again)) << to_yaml(*n);
}

}  // namespace
}  // namespace onggi::stack
