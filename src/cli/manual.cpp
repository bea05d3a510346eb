// Manual pages in man(7) and the tables as data.
#include <algorithm>

#include "base/json.h"
#include "cli/complete.h"

namespace onggi::cli {

namespace {

// A text as troff prints it: backslashes, dashes, and a dot or quote at the beginning of a line.
std::string troff(const std::string& text) {
  std::string out;
  for (char c : text) {
    if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

std::string options_section(const Options& options) {
  Options sorted(options);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return std::string_view(a.name) < b.name; });
  std::string text = ".SH OPTIONS\n", refused;
  for (const auto& o : sorted) {
    std::string left = o.letter ? std::string("\\fB\\-") + o.letter + "\\fR, " : "";
    left += "\\fB\\-\\-" + troff(o.name) + "\\fR";
    if (o.kind != OptionKind::kSwitch) left += " \\fI" + troff(o.value) + "\\fR";
    std::string& to = *o.refused ? refused : text;
    to += ".TP\n" + left + "\n" + troff(*o.refused ? std::string(o.refused) + "." : std::string(o.help)) +
          (o.kind == OptionKind::kList && !*o.refused ? " May be given more than once." : "") + "\n";
  }
  return refused.empty() ? text
                         : text + ".SH NOT SUPPORTED\nThese are refused, each for a reason:\n" + refused;
}

std::string header(const std::string& name, const std::string& summary) {
  std::string upper;
  for (char c : name) upper += static_cast<char>(c == ' ' ? '-' : ::toupper(static_cast<unsigned char>(c)));
  std::string dashed = name;
  std::replace(dashed.begin(), dashed.end(), ' ', '-');
  return ".TH \"" + upper + "\" 1 \"\" \"onggi " + ONGGI_VERSION + "\" \"Onggi\"\n.SH NAME\n" +
         troff(dashed) + " \\- " + troff(summary) + "\n";
}

std::string program_page() {
  std::string text = header("onggi", "many services on one machine, each in an isolated system of its own");
  text += ".SH SYNOPSIS\n\\fBonggi\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARG\\fR...]\n.SH DESCRIPTION\n";
  text +=
      "Runs containers from images without a daemon. A container's only companion is its monitor; every "
      "command "
      "works on the files below the root directory and asks the kernel.\n.SH COMMANDS\n";
  for (const auto& c : command_table()) {
    if (c.hidden) continue;
    std::string name = names_of(c)[0];
    std::string page = name;
    std::replace(page.begin(), page.end(), ' ', '-');
    text += ".TP\n\\fBonggi\\-" + troff(page) + "\\fR(1)\n" + troff(c.help) + "\n";
  }
  text += options_section(global_options());
  text +=
      ".SH ENVIRONMENT\n.TP\n\\fBONGGI_ROOT\\fR, \\fBONGGI_RUN\\fR\nAs \\fB\\-\\-root\\fR and "
      "\\fB\\-\\-run\\fR.\n"
      ".SH FILES\n.TP\n/var/lib/onggi\nImages, containers and volumes.\n.TP\n/run/onggi\nThe state of "
      "running "
      "containers.\n.SH EXIT STATUS\n.TP\n0\nSuccess.\n.TP\n1\nThe command failed; standard error says "
      "why.\n.TP\n125\n"
      "\\fBrun\\fR, \\fBcreate\\fR or \\fBexec\\fR failed themselves.\n.TP\n126, 127\nThe program could not "
      "be executed, "
      "or was not found.\n.TP\n128+N\nThe container's program ended by signal N.\n.SH SEE ALSO\n"
      "\\fBonggi\\-runtime\\fR(8)\n";
  return text;
}

}  // namespace

Result<std::string> manual_page(const std::string& command) {
  if (command.empty()) return program_page();
  for (const auto& c : command_table()) {
    auto names = names_of(c);
    if (c.hidden || std::find(names.begin(), names.end(), command) == names.end()) continue;
    std::string text = header("onggi " + names[0], c.help);
    text += ".SH SYNOPSIS\n";
    for (size_t n = 0; n < names.size(); n++)
      text += std::string(n ? ".br\n" : "") + "\\fBonggi " + troff(names[n]) + "\\fR" +
              (c.options().empty() ? "" : " [\\fIOPTIONS\\fR]") + " " + troff(c.usage) + "\n";
    text += ".SH DESCRIPTION\n" + troff(c.help) + ".\n";
    if (!c.options().empty()) text += options_section(c.options());
    return text + ".SH SEE ALSO\n\\fBonggi\\fR(1)\n";
  }
  return fail(Error::not_found("there is no command '" + command + "'"));
}

std::string tables_json() {
  JsonWriter w("  ");
  w.begin_array();
  for (const auto& c : command_table()) {
    if (c.hidden) continue;
    w.begin_object();
    w.member_strings("names", names_of(c));
    w.member("usage", c.usage);
    w.member("help", c.help);
    w.key("options");
    w.begin_array();
    for (const auto& o : c.options()) {
      w.begin_object();
      w.member("name", o.name);
      w.member("help", o.help);
      w.member("refused", o.refused);
      w.end_object();
    }
    w.end_array();
    w.end_object();
  }
  w.end_array();
  return w.take();
}

}  // namespace onggi::cli
