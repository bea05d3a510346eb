// What is offered where; and that every command of the tables has a help and a page.
#include "cli/complete.h"

#include <gtest/gtest.h>

namespace onggi::cli {
namespace {

std::vector<std::string> names(const std::string& kind) {
  if (kind == "container") return {"web", "db"};
  if (kind == "image") return {"busybox:latest"};
  return {"data"};
}

std::string offered(const std::vector<std::string>& words) {
  Candidates c = complete(words, names);
  std::string text;
  for (const auto& [word, meaning] : c.words) text += (text.empty() ? "" : " ") + word;
  return text + (c.files ? " :file" : "");
}

TEST(Complete, Commands) {
  EXPECT_EQ(offered({"rena"}), "rename");
  EXPECT_EQ(offered({"volume", "r"}), "rm remove");
  EXPECT_EQ(offered({"--root", "/x", "unp"}), "unpause");
  EXPECT_EQ(offered({"internal"}), "");
  EXPECT_EQ(offered({"vol"}), "volume");
  EXPECT_EQ(offered({}), "");
}

TEST(Complete, ObjectsByPosition) {
  EXPECT_EQ(offered({"stop", ""}), "web db");
  EXPECT_EQ(offered({"stop", "web", "d"}), "db");
  EXPECT_EQ(offered({"run", "-it", "bus"}), "busybox:latest");
  EXPECT_EQ(offered({"run", "--rm", "--name", "x", "b"}), "busybox:latest");
  EXPECT_EQ(offered({"volume", "rm", ""}), "data");
  EXPECT_EQ(offered({"exec", "w"}), "web");
  EXPECT_EQ(offered({"rename", "web", ""}), "");
  EXPECT_EQ(offered({"cp", "w"}), "web: :file");
}

TEST(Complete, Options) {
  EXPECT_EQ(offered({"stop", "--ti"}), "--time --timeout");
  EXPECT_EQ(offered({"run", "--userns", ""}), "auto host");
  EXPECT_EQ(offered({"run", "--userns=h"}), "--userns=host");
  EXPECT_EQ(offered({"run", "--env-file", "a"}), " :file");
  EXPECT_EQ(offered({"run", "--link-loc"}), "");  // refused ones are not offered
  EXPECT_EQ(offered({"run", "busybox", "ls", "--na"}), "");
  EXPECT_EQ(offered({"--deb"}), "--debug");
}

TEST(Complete, Scripts) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    auto script = completion_script(shell);
    ASSERT_TRUE(script.has_value());
    EXPECT_NE(script->find("internal complete --"), std::string::npos);
  }
  EXPECT_EQ(completion_script("csh").error().kind(), ErrorKind::kInvalid);
}

TEST(Manual, EveryCommandHasAPage) {
  for (const auto& c : command_table()) {
    if (c.hidden) continue;
    EXPECT_NE(std::string(c.help), "") << c.name;
    auto page = manual_page(names_of(c)[0]);
    ASSERT_TRUE(page.has_value()) << c.name;
    EXPECT_TRUE(page->starts_with(".TH ")) << c.name;
    for (const auto& o : c.options())
      EXPECT_NE(std::string(*o.refused ? o.refused : o.help), "") << c.name << " --" << o.name;
  }
  EXPECT_FALSE(manual_page("nothing").has_value());
  EXPECT_NE(manual_page("")->find("onggi\\-run\\fR(1)"), std::string::npos);
}

}  // namespace
}  // namespace onggi::cli
