// Templates as people write them, malformed ones, and ones that want to use up the machine.
#include "cli/template.h"

#include <gtest/gtest.h>

namespace onggi::cli {
namespace {

constexpr const char* kDocument = R"({
  "Name": "/web", "ID": "0123456789abcdef", "Pid": 42, "Ratio": 1.5, "Big": 1e30, "On": true, "Null": null,
  "State": {"Status": "running", "Running": true, "ExitCode": 0},
  "Names": ["a", "b", "c"], "Empty": [], "Labels": {"x.y": "1", "b": "2"},
  "Rows": "k=v,com.example=yes",
  "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null},
  "Mounts": [{"Source": "/s", "RW": true}, {"Source": "/t", "RW": false}]
})";

Result<std::string> render(std::string_view text, const char* document = kDocument) {
  auto parsed = JsonDocument::parse(document, "test");
  if (!parsed) return fail(parsed.error());
  return render_template(text, parsed->root());
}
std::string shown(std::string_view text, const char* document = kDocument) {
  auto r = render(text, document);
  return r ? *r : "ERROR " + r.error().text();
}

TEST(Template, FieldsAndPrinting) {
  EXPECT_EQ(shown("plain"), "plain");
  EXPECT_EQ(shown(""), "");
  EXPECT_EQ(shown("{{.Name}} {{ .Pid }}"), "/web 42");
  EXPECT_EQ(shown("{{.State.Status}}/{{.State.Running}}"), "running/true");
  EXPECT_EQ(shown("{{$.State.Status}}"), "running");
  EXPECT_EQ(shown("{{(.State).Status}}"), "running");
  EXPECT_EQ(shown("{{.Names}} {{.Labels}}"), "[a b c] map[b:2 x.y:1]");
  EXPECT_EQ(shown("{{.Ratio}} {{.Big}} {{.Null}} {{.On}}"), "1.5 1e+30 <no value> true");
  EXPECT_EQ(shown("{{.State}}"), "map[ExitCode:0 Running:true Status:running]");
}

TEST(Template, Json) {
  EXPECT_EQ(shown("{{json .State}}"), R"({"Status":"running","Running":true,"ExitCode":0})");
  EXPECT_EQ(shown("{{.Ports | json}}"),
            R"({"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}],"443/tcp":null})");
  EXPECT_EQ(shown("{{json .Ratio}} {{json .Name}} {{json .Null}}"), R"(1.5 "/web" null)");
}

TEST(Template, RangeIfWith) {
  EXPECT_EQ(shown("{{range .Names}}<{{.}}>{{end}}"), "<a><b><c>");
  EXPECT_EQ(shown("{{range $i, $n := .Names}}{{if $i}},{{end}}{{$n}}{{end}}"), "a,b,c");
  EXPECT_EQ(shown("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}"), "b=2;x.y=1;");
  EXPECT_EQ(shown("{{range .Empty}}x{{else}}none{{end}}"), "none");
  EXPECT_EQ(shown("{{range .Null}}x{{else}}none{{end}}"), "none");
  EXPECT_EQ(shown("{{range .Mounts}}{{if .RW}}{{.Source}}{{end}}{{end}}"), "/s");
  EXPECT_EQ(shown("{{if .Empty}}a{{else if .Null}}b{{else if .On}}c{{else}}d{{end}}!"), "c!");
  EXPECT_EQ(shown("{{with .State}}{{.Status}} {{$.Name}}{{end}}"), "running /web");
  EXPECT_EQ(shown("{{with .Empty}}x{{else}}empty{{end}}"), "empty");
  EXPECT_EQ(shown("{{with .Empty}}x{{else with .Name}}{{.}}{{end}}"), "/web");
  EXPECT_EQ(shown("{{range .Names}}{{if eq . \"b\"}}{{break}}{{end}}{{.}}{{end}}"), "a");
  EXPECT_EQ(shown("{{range .Names}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}"), "ac");
  EXPECT_EQ(shown("{{range $p, $c := .Ports}}{{$p}} -> {{range $c}}{{.HostPort}}{{else}}no{{end}};{{end}}"),
            "443/tcp -> no;80/tcp -> 8080;");
}

TEST(Template, Variables) {
  EXPECT_EQ(shown("{{$x := .Pid}}{{if .On}}{{$x = 7}}{{end}}{{$x}}"), "7");
  EXPECT_EQ(shown("{{$x := 1}}{{if .On}}{{$x := 7}}{{$x}}{{end}}{{$x}}"), "71");
  EXPECT_EQ(shown("{{with $s := .State}}{{$s.Status}}{{end}}"), "running");
  EXPECT_NE(shown("{{if .On}}{{$x := 7}}{{end}}{{$x}}").find("undefined variable $x"), std::string::npos);
  EXPECT_NE(shown("{{$y = 1}}").find("undefined variable $y"), std::string::npos);
}

TEST(Template, TrimAndComments) {
  EXPECT_EQ(shown("a {{- /* c */ -}} b"), "ab");
  EXPECT_EQ(shown("a {{/* c */}} b"), "a  b");
  EXPECT_EQ(shown("a\n {{- .Pid -}} \n b"), "a42b");
  EXPECT_EQ(shown("x {{-3}}"), "x -3");
  EXPECT_EQ(shown("{{`a\\n`}}{{\"\\x41\\u00e9\\101\"}}"),
            "a\\nA\xc3\xa9"
            "A");
}

TEST(Template, Functions) {
  EXPECT_EQ(shown("{{index .Names 1}} {{index .Labels \"x.y\"}}|{{index .Labels \"no\"}}|"), "b 1||");
  EXPECT_EQ(shown("{{(index (index .Ports \"80/tcp\") 0).HostPort}} {{(index .Ports \"80/tcp\" 0).HostIp}}"),
            "8080 0.0.0.0");
  EXPECT_EQ(shown("{{len .Names}} {{len .Name}} {{len .Labels}} {{len .Null}}"), "3 4 2 0");
  EXPECT_EQ(shown("{{slice .ID 0 12}} {{slice .Names 1}} {{.ID | printf \"%.4s\"}}"),
            "0123456789ab [b c] 0123");
  EXPECT_EQ(shown("{{join .Names \"+\"}} {{join (split \"a,b\" \",\") \";\"}}"), "a+b+c a;b");
  EXPECT_EQ(shown("{{upper .Name}} {{lower \"AbC\"}} {{title \"ab cd\"}} {{trim \" x \"}}|{{trimPrefix .Name "
                  "\"/\"}}"),
            "/WEB abc Ab Cd x|web");
  EXPECT_EQ(shown("[{{pad .Name 1 2}}][{{truncate .ID 3}}][{{truncate \"\xc3\xa9\xc3\xa9\" 1}}]"),
            "[ /web  ][012][\xc3\xa9]");
  EXPECT_EQ(shown("{{print 1 2 \"a\" \"b\"}}|{{println .Pid}}"),
            "1 2a"
            "b|42\n");
  EXPECT_EQ(shown("{{and .On .Name}} {{or .Empty \"e\"}} {{not .On}} {{and .Empty .Nowhere}}"),
            "/web e false []");
  EXPECT_EQ(shown("{{.Name | len | printf \"%03d\"}}"), "004");
}

TEST(Template, Comparison) {
  EXPECT_EQ(shown("{{eq .Pid 42}} {{ne .Pid 42}} {{eq .Name \"x\" \"/web\"}} {{lt 1 2}} {{ge .Ratio 1}} {{gt "
                  "\"b\" \"a\"}} {{le 2 2}}"),
            "true false true true true true true");
  EXPECT_NE(shown("{{eq .Pid \"42\"}}").find("incompatible types"), std::string::npos);
  EXPECT_NE(shown("{{lt .Names 1}}").find("incompatible types"), std::string::npos);
}

TEST(Template, Printf) {
  EXPECT_EQ(shown("{{printf \"%s|%-6s|%6s|%q\" .Name \"ab\" \"cd\" \"e\\\"f\"}}"),
            "/web|ab    |    cd|\"e\\\"f\"");
  EXPECT_EQ(shown("{{printf \"%d %05d %x %o %v %t %.2f %%\" 7 42 255 8 .Names true 2.345}}"),
            "7 00042 ff 10 [a b c] true 2.35 %");
  EXPECT_NE(shown("{{printf \"%d\" .Name}}").find("does not print a string"), std::string::npos);
  EXPECT_NE(shown("{{printf \"%s\"}}").find("no value is left"), std::string::npos);
  EXPECT_NE(shown("{{printf \"a\" 1}}").find("more values"), std::string::npos);
  EXPECT_NE(shown("{{printf \"%99999d\" 1}}").find("a width over"), std::string::npos);
  EXPECT_NE(shown("{{printf \"%n\" 1}}").find("not supported"), std::string::npos);
}

TEST(Template, Label) {
  EXPECT_EQ(shown("{{.Label \"com.example\"}}|{{.Label \"none\"}}|", R"({"Labels":"k=v,com.example=yes"})"),
            "yes||");
  EXPECT_EQ(shown("{{.Label \"x.y\"}}"), "1");
}

// A missing field is false where it is asked about and an error where it would be printed.
TEST(Template, MissingFields) {
  EXPECT_EQ(shown("{{if .Nope}}a{{else}}b{{end}}{{if .Nope.More}}a{{end}}{{with .State.Health}}x{{end}}"),
            "b");
  std::string text = shown("x\n{{.State.Nope}}");
  EXPECT_NE(text.find("template:2:3: there is no field \"Nope\" (there are: Status, Running, ExitCode)"),
            std::string::npos)
      << text;
  EXPECT_NE(shown("{{len .Nope}}").find("no field \"Nope\""), std::string::npos);
  EXPECT_NE(shown("{{.Pid.X}}").find("no field \"X\" in an integer"), std::string::npos);
}

TEST(Template, Malformed) {
  const std::pair<const char*, const char*> cases[] = {
      {"{{", "unclosed action"},
      {"{{.A", "unclosed action"},
      {"{{if .On}}", "{{end}} is missing"},
      {"{{end}}", "unexpected {{end}}"},
      {"{{else}}", "unexpected {{else}}"},
      {"{{if}}x{{end}}", "a value is missing"},
      {"{{}}", "a value is missing"},
      {"{{nope 1}}", "function \"nope\" not defined"},
      {"{{(.A}}", "unclosed left paren"},
      {"{{.A)}}", "unexpected ')'"},
      {"{{\"a}}", "unterminated quoted"},
      {"{{`a}}", "unterminated raw"},
      {"{{/* x}}", "unclosed comment"},
      {"{{/* x */ y}}", "comment ends"},
      {"{{.A | .B}}", "takes no arguments"},
      {"{{1 | 2}}", "only a function can follow"},
      {"{{1e}}", "bad number"},
      {"{{0xzz}}", "bad number"},
      {"{{break}}", "outside {{range}}"},
      {"{{define \"x\"}}{{end}}", "not supported"},
      {"{{.Name .Pid}}", "takes no arguments"},
      {"{{if .On}}{{else}}{{else}}{{end}}", "a second {{else}}"},
      {"{{if $a, $b := .Names}}{{end}}", "range only"},
      {"{{range .Pid}}{{end}}", "cannot be walked over"},
      {"{{index .Names 9}}", "index out of range"},
      {"{{slice .ID 4 2}}", "not within"},
      {"{{len}}", "wrong number of arguments"},
      {"{{lower 1 2}}", "wrong number"},
      {"{{upper .Pid}}", "a string is wanted, not an integer"},
      {"{{nil}}", "nil is not"},
      {"{{#}}", "unexpected character"},
      {"{{\"a\"b}}", "a space is missing"},
      {"{{\"\\q\"}}", "unknown escape"}};
  for (const auto& [text, reason] : cases) {
    auto r = render(text);
    ASSERT_FALSE(r.has_value()) << text << " gave " << *r;
    EXPECT_EQ(r.error().kind(), ErrorKind::kInvalid) << text;
    EXPECT_NE(r.error().text().find(reason), std::string::npos) << text << ": " << r.error().text();
  }
}

// Bounded whatever is written: depth, steps, output.
TEST(Template, Bounded) {
  std::string deep = "{{" + std::string(5000, '(') + ".Pid" + std::string(5000, ')') + "}}";
  EXPECT_NE(shown(deep).find("too many parentheses"), std::string::npos);
  std::string blocks;
  for (int n = 0; n < 5000; n++) blocks += "{{if .On}}";
  EXPECT_NE(shown(blocks).find("too many blocks"), std::string::npos);
  std::string elses = "{{if .Null}}";
  for (int n = 0; n < 5000; n++) elses += "{{else if .Null}}";
  EXPECT_NE(shown(elses + "{{end}}").find("too many blocks"), std::string::npos);
  std::string list = R"({"L":[)";
  for (int n = 0; n < 300; n++) list += n ? ",1" : "1";
  list += "]}";
  EXPECT_NE(
      shown("{{range .L}}{{range $.L}}{{range $.L}}{{range $.L}}x{{end}}{{end}}{{end}}{{end}}", list.c_str())
          .find("too many steps"),
      std::string::npos);
  EXPECT_NE(shown("{{range .L}}{{range $.L}}{{printf \"%4000d\" 1}}{{end}}{{end}}", list.c_str())
                .find("over 64 MiB"),
            std::string::npos);
}

}  // namespace
}  // namespace onggi::cli
