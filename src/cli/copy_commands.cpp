// cp, export, diff.
#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/command.h"
#include "engine/copy.h"
#include "engine/difference.h"

namespace onggi::cli {

namespace {

constexpr auto kSwitch = OptionKind::kSwitch;
constexpr auto kValue = OptionKind::kValue;

const Options& copy_options() {
  static const Options kOptions = {
      {"archive", 'a', kSwitch, "", "Archive mode (copy all uid/gid information)"},
      {"follow-link", 'L', kSwitch, "", "Always follow symbol link in SRC_PATH"},
      {"quiet", 'q', kSwitch, "", "Suppress progress output during copy (there is none)"}};
  return kOptions;
}

struct Place {
  std::string container;  // empty: the host
  std::string path;
};

// "NAME:PATH"; a path of the host with a colon in it begins with "/" or ".".
Place parse_place(const std::string& text) {
  size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || text[0] == '/' || text[0] == '.') return {"", text};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

Result<int> command_cp(const Invocation& i) {
  Place from = parse_place(i.args.words()[0]), to = parse_place(i.args.words()[1]);
  if (from.container.empty() == to.container.empty())
    return fail(Error::invalid(from.container.empty()
                                   ? "must specify at least one container source: NAME:PATH"
                                   : "copying between containers is not supported"));
  const Place& inner = from.container.empty() ? to : from;
  if (inner.path.empty() || from.path.empty() || to.path.empty())
    return fail(Error::invalid("cp: a path is empty; write CONTAINER:PATH"));
  auto engine = TRY(i.engine());
  auto root = TRY(engine::open_container_root(*engine, TRY(engine->containers().resolve(inner.container))));
  engine::CopyOptions options{i.args.flag("archive"), i.args.flag("follow-link")};
  if (from.path == "-" && from.container.empty())
    TRY_VOID(engine::archive_to_container(root, STDIN_FILENO, to.path, options));
  else if (to.path == "-" && to.container.empty()) {
    if (::isatty(STDOUT_FILENO))
      return fail(Error::invalid("refusing to write an archive to a terminal; redirect the output"));
    TRY_VOID(engine::archive_from_container(root, from.path, STDOUT_FILENO, options));
  } else if (from.container.empty())
    TRY_VOID(engine::copy_to_container(root, from.path, to.path, options));
  else
    TRY_VOID(engine::copy_from_container(root, from.path, to.path, options));
  return 0;
}

const Options& export_options() {
  static const Options kOptions = {
      {"output", 'o', kValue, "string", "Write to a file, instead of STDOUT", "", "file"}};
  return kOptions;
}

Result<int> command_export(const Invocation& i) {
  std::string path = i.args.get("output");
  if (path.empty() && ::isatty(STDOUT_FILENO))
    return fail(Error::invalid("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
  auto engine = TRY(i.engine());
  auto root = TRY(engine::open_container_root(*engine, TRY(engine->containers().resolve(i.args.words()[0]))));
  if (path.empty()) {
    TRY_VOID(engine::export_container(root, STDOUT_FILENO));
    return 0;
  }
  // Beside it until it is whole.
  std::string fresh = path + ".tmp." + std::to_string(::getpid());
  UniqueFd out = TRY(open_at(AT_FDCWD, fresh, O_WRONLY | O_CREAT | O_EXCL, 0600));
  auto done = engine::export_container(root, out.get());
  if (done && ::rename(fresh.c_str(), path.c_str()) < 0) done = fail(Error::os("write", path));
  if (!done) (void)::unlink(fresh.c_str());
  TRY_VOID(done);
  return 0;
}

Result<int> command_diff(const Invocation& i) {
  auto engine = TRY(i.engine());
  std::string text;
  TRY_VOID(engine::list_changes(*engine, TRY(engine->containers().resolve(i.args.words()[0])),
                                [&](engine::ChangeKind kind, const std::string& path) {
                                  text += std::string(1, static_cast<char>(kind)) + " " + path + "\n";
                                }));
  TRY_VOID(print(text));
  return 0;
}

}  // namespace

const std::vector<Command>& copy_commands() {
  static const std::vector<Command> kCommands = {
      {"cp, container cp", "CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH",
       "Copy files between a container and the host", copy_options, 2, 2, false, command_cp},
      {"export, container export", "CONTAINER", "Export a container's filesystem as a tar archive",
       export_options, 1, 1, false, command_export},
      {"diff, container diff", "CONTAINER", "Inspect changes to files on a container's filesystem",
       no_options, 1, 1, false, command_diff}};
  return kCommands;
}

}  // namespace onggi::cli
