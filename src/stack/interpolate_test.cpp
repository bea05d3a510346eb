#include "stack/interpolate.h"

#include <gtest/gtest.h>

namespace onggi::stack {
namespace {

const Environment kValues = {{"SET", "v"}, {"EMPTY", ""}, {"A_1", "x"}};
const Lookup kLookup = [](std::string_view name) -> std::optional<std::string> {
  auto found = kValues.find(name);
  return found == kValues.end() ? std::nullopt : std::optional(found->second);
};

std::string run(const char* text, std::set<std::string>* unset = nullptr) {
  auto value = interpolate(text, kLookup, unset);
  return value ? *value : "error: " + value.error().text();
}

TEST(Interpolate, EveryForm) {
  const std::pair<const char*, const char*> kCases[] = {{"$SET", "v"},
                                                        {"${SET}", "v"},
                                                        {"a$SET-b", "av-b"},
                                                        {"$A_1.", "x."},
                                                        {"$$SET", "$SET"},
                                                        {"$${SET}", "${SET}"},
                                                        {"${NONE:-d}", "d"},
                                                        {"${EMPTY:-d}", "d"},
                                                        {"${EMPTY-d}", ""},
                                                        {"${NONE-d}", "d"},
                                                        {"${SET:-d}", "v"},
                                                        {"${SET:+a}", "a"},
                                                        {"${EMPTY:+a}", ""},
                                                        {"${EMPTY+a}", "a"},
                                                        {"${NONE+a}", ""},
                                                        {"${SET:?e}", "v"},
                                                        {"${EMPTY?e}", ""},
                                                        {"${NONE:-${SET}}", "v"},
                                                        {"${NONE:-${X:-${SET}y}}z", "vyz"},
                                                        {"${NONE:-a b}", "a b"},
                                                        {"${NONE:-}", ""},
                                                        {"${SET:+${NONE-q}}", "q"},
                                                        {"${NONE:-$$x}", "$x"},
                                                        {"100%", "100%"},
                                                        {"${NONE:-a}}", "a}"}};
  for (const auto& [text, wanted] : kCases) EXPECT_EQ(run(text), wanted) << text;
}

TEST(Interpolate, ErrorsSayWhatIsWrong) {
  EXPECT_EQ(run("${NONE:?not there}"), "error: required variable NONE is missing a value: not there");
  EXPECT_EQ(run("${EMPTY:?}"), "error: required variable EMPTY is missing a value");
  EXPECT_EQ(run("${NONE?${SET}!}"), "error: required variable NONE is missing a value: v!");
  for (const char* bad : {"$", "$ x", "${", "${}", "${1}", "${A", "${A!b}", "${A:}", "${A:-${B}", "a$-"})
    EXPECT_NE(run(bad).find("invalid interpolation format"), std::string::npos) << bad << " " << run(bad);
}

TEST(Interpolate, WhatIsNotSetIsTold) {
  std::set<std::string> unset;
  EXPECT_EQ(run("$NONE ${OTHER} ${SET:+x} ${MORE:-d} ${SET:-$INNER}", &unset), "  x d v");
  EXPECT_EQ(unset, (std::set<std::string>{"NONE", "OTHER"}));
}

TEST(Interpolate, NestingIsBounded) {
  std::string deep, close;
  for (int i = 0; i < 10000; i++) deep += "${A:-", close += "}";
  EXPECT_NE(run((deep + close).c_str()).find("error"), std::string::npos);
}

std::string env(const char* text) {
  auto values = parse_dotenv(text, "f.env", kLookup);
  if (!values) return "error: " + values.error().text();
  std::string out;
  for (const auto& [name, value] : *values) out += name + "=[" + value + "]";
  return out;
}

TEST(Dotenv, EveryForm) {
  EXPECT_EQ(
      env("A=1\n# c\n\nexport B = two words # comment\nC=a#b\nD='$SET \\n'\nE=\"$SET\\n\\\"q\\\" \\$SET\"\n"),
      "A=[1]B=[two words]C=[a#b]D=[$SET \\n]E=[v\n\"q\" $SET]");
  EXPECT_EQ(env("A=1\nB=${A}2\nC=${SET}\nD=${NO:-x}"), "A=[1]B=[12]C=[v]D=[x]");
  EXPECT_EQ(env("SET\nNONE\nE="), "SET=[v]E=[]");
  EXPECT_EQ(env("M='a\nb'\r\nN=1\r\n"), "M=[a\nb]N=[1]");
  EXPECT_EQ(env("P=a$ b$1"), "P=[a$ b$1]");
  EXPECT_EQ(env("Y: v"), "Y=[v]");
}

TEST(Dotenv, ErrorsNameTheLine) {
  EXPECT_EQ(env("A=1\nB='x"), "error: f.env:2: a quoted value is not closed");
  EXPECT_NE(env("A=1\n=x").find("f.env:2: a name"), std::string::npos);
  EXPECT_NE(env("A B=1").find("f.env:1: unexpected character"), std::string::npos);
  EXPECT_NE(env("A=\"x\" y").find("f.env:1: there is text"), std::string::npos);
  EXPECT_NE(env("A=${B").find("f.env:1: invalid interpolation"), std::string::npos);
}

}  // namespace
}  // namespace onggi::stack
