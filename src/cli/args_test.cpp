#include "cli/args.h"

#include <gtest/gtest.h>

namespace onggi::cli {
namespace {

const Options kOptions = {{"detach", 'd', OptionKind::kSwitch, "", "Run in background"},
                          {"interactive", 'i', OptionKind::kSwitch, "", "Keep STDIN open"},
                          {"tty", 't', OptionKind::kSwitch, "", "Allocate a terminal"},
                          {"env", 'e', OptionKind::kList, "list", "Set variables"},
                          {"name", 0, OptionKind::kValue, "string", "Its name"},
                          {"memory", 'm', OptionKind::kValue, "bytes", "Its limit"},
                          {"gpus", 0, OptionKind::kValue, "list", "", "no devices of that kind"}};

using Words = std::vector<std::string>;

Args parsed(const Words& words, bool program = true) {
  auto args = Args::parse(kOptions, words, program);
  EXPECT_TRUE(args) << args.error().text();
  return args ? *args : Args();
}

std::string refusal(const Words& words) {
  auto args = Args::parse(kOptions, words, true);
  EXPECT_FALSE(args) << "should have been refused";
  return args ? "" : args.error().text();
}

TEST(Args, TheWaysToGiveAValue) {
  for (const Words& words :
       {Words{"--memory", "64m", "x"}, Words{"--memory=64m", "x"}, Words{"-m", "64m", "x"},
        Words{"-m64m", "x"}, Words{"-m=64m", "x"}, Words{"-dm", "64m", "x"}, Words{"-dm64m", "x"}}) {
    Args a = parsed(words);
    EXPECT_EQ(a.get("memory"), "64m") << words[0];
    EXPECT_EQ(a.words(), Words{"x"});
  }
}

TEST(Args, GroupedSwitches) {
  Args a = parsed({"-itd", "busy"});
  EXPECT_TRUE(a.flag("interactive") && a.flag("tty") && a.flag("detach"));
  EXPECT_FALSE(parsed({"busy"}).flag("tty"));
  EXPECT_TRUE(parsed({"busy"}).flag("tty", true));
  EXPECT_FALSE(parsed({"--tty=false", "busy"}).flag("tty", true));
  EXPECT_FALSE(parsed({"-t=0", "busy"}).flag("tty"));
}

TEST(Args, OptionsEndAtTheProgram) {
  Args a = parsed({"-d", "busy", "-d", "--name", "x"});
  EXPECT_EQ(a.words(), (Words{"busy", "-d", "--name", "x"}));
  EXPECT_FALSE(a.has("name"));
  EXPECT_EQ(parsed({"--", "-d"}).words(), Words{"-d"});
  // Where no program follows they may stand anywhere; "-" alone is a word.
  Args b = parsed({"one", "-d", "-", "--name", "n", "two", "--", "-t"}, false);
  EXPECT_EQ(b.words(), (Words{"one", "-", "two", "-t"}));
  EXPECT_TRUE(b.flag("detach"));
  EXPECT_FALSE(b.has("tty"));
}

TEST(Args, ListsKeepOrderAndTheLastValueCounts) {
  Args a = parsed({"-e", "A=1", "--env=B=2", "-eC", "--name", "x", "--name=y", "busy"});
  EXPECT_EQ(a.all("env"), (Words{"A=1", "B=2", "C"}));
  EXPECT_EQ(a.get("name"), "y");
  EXPECT_EQ(a.get("absent", "z"), "z");
  EXPECT_EQ(parsed({"--name=", "busy"}).find("name"), "");
}

TEST(Args, WhatIsRefusedAndHow) {
  EXPECT_EQ(refusal({"--nmae", "x"}), "unknown flag: --nmae");
  EXPECT_EQ(refusal({"-dx"}), "unknown shorthand flag: 'x' in -dx");
  EXPECT_EQ(refusal({"--name"}), "flag needs an argument: --name");
  EXPECT_EQ(refusal({"-dm"}), "flag needs an argument: 'm' in -dm");
  EXPECT_EQ(refusal({"--tty=perhaps"}), "invalid argument \"perhaps\" for --tty: true or false is wanted");
  EXPECT_EQ(refusal({"--gpus", "all"}), "--gpus is not supported: no devices of that kind");
  // The name of an option is not abbreviated: what a later option is called would change scripts.
  EXPECT_EQ(refusal({"--det"}), "unknown flag: --det");
}

TEST(Args, Integers) {
  Args a = parsed({"--name", "12", "--memory", "12k", "busy"});
  EXPECT_EQ(a.integer("name").value(), std::optional<int64_t>(12));
  EXPECT_EQ(a.integer("env").value(), std::nullopt);
  auto bad = a.integer("memory");
  ASSERT_FALSE(bad);
  EXPECT_NE(bad.error().text().find("--memory"), std::string::npos);
}

TEST(Args, HelpHidesWhatIsRefused) {
  std::string help = options_help(kOptions);
  EXPECT_NE(help.find("  -m, --memory bytes"), std::string::npos);
  EXPECT_NE(help.find("      --name string"), std::string::npos);
  EXPECT_EQ(help.find("gpus"), std::string::npos);
  EXPECT_LT(help.find("--detach"), help.find("--env"));
}

TEST(Bytes, PowersOf1024) {
  const std::pair<const char*, int64_t> rows[] = {
      {"0", 0},         {"1024", 1024},       {"1b", 1},        {"64k", 65536},
      {"64K", 65536},   {"64KB", 65536},      {"64KiB", 65536}, {"1.5g", 1610612736},
      {"2 m", 2097152}, {"1t", 1099511627776}};
  for (const auto& [text, want] : rows) {
    auto got = parse_bytes(text, "--memory");
    ASSERT_TRUE(got) << text;
    EXPECT_EQ(*got, want) << text;
  }
  for (const char* text : {"", "m", ".", "1x", "1.2.3", "-1", "1mm", "0x10", "1e3", "99999999999999t"}) {
    auto got = parse_bytes(text, "--memory");
    ASSERT_FALSE(got) << text;
    EXPECT_NE(got.error().text().find("--memory"), std::string::npos);
  }
}

}  // namespace
}  // namespace onggi::cli
