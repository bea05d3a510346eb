// state, list, ps.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/file.h"
#include "base/json.h"
#include "rtcli/command.h"

namespace onggi::rtcli {

namespace {

int shown_pid(const runtime::ContainerInfo& info) {
  return info.status == runtime::Status::kStopped ? 0 : info.record.pid;
}

std::string table_row(const std::vector<std::string>& cells, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < cells.size(); i++) {
    line += cells[i];
    if (i + 1 < cells.size()) line.append(widths[i] - cells[i].size() + 4, ' ');
  }
  return line + "\n";
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows) text += table_row(row, widths);
  return text;
}

}  // namespace

Result<int> run_state(const Invocation& i) {
  runtime::ContainerInfo info = TRY(runtime::inspect_container(i.context, i.args.rest()[0]));
  TRY_VOID(print(runtime::state_json(info.record, info.spec, info.status, shown_pid(info), "  ") + "\n"));
  return 0;
}

Result<int> run_list(const Invocation& i) {
  std::string format = i.args.get("format", "table");
  if (format != "table" && format != "json")
    return fail(Error::invalid("option --format: '" + format + "' (table or json)"));
  bool quiet = TRY(i.args.flag("quiet"));
  std::vector<std::vector<std::string>> rows = {{"ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"}};
  std::string json, ids;
  std::vector<std::string> all = TRY(runtime::list_ids(i.context.root));
  for (const auto& id : all) {
    auto info = runtime::inspect_container(i.context, id);
    if (!info) {
      if (i.context.warn && info.error().kind() != ErrorKind::kNotFound)
        i.context.warn("list: " + info.error().text());
      continue;
    }
    ids += id + "\n";
    rows.push_back({id, std::to_string(shown_pid(*info)), runtime::to_string(info->status),
                    info->record.bundle, info->record.created, info->record.owner});
    json += (json.empty() ? "" : ",") +
            runtime::state_json(info->record, info->spec, info->status, shown_pid(*info));
  }
  if (quiet)
    TRY_VOID(print(ids));
  else if (format == "json")
    TRY_VOID(print((json.empty() ? "null" : "[" + json + "]") + "\n"));
  else
    TRY_VOID(print(table(rows)));
  return 0;
}

namespace {

Result<std::vector<int>> container_pids(const Invocation& i, const std::string& id) {
  runtime::ContainerInfo info = TRY(runtime::inspect_container(i.context, id));
  if (info.record.cgroup.paths.empty())
    return fail(
        Error::unsupported("ps: container \"" + id + "\" has no cgroup that would list its processes"));
  auto cgroup = TRY(runtime::Cgroup::load(info.record.cgroup));
  return cgroup->pids();
}

// Runs ps(1) and keeps the lines whose PID column names one of ours.
Result<std::string> ps_table(const std::vector<int>& pids, std::vector<std::string> words) {
  if (words.empty()) words = {"-ef"};
  std::string command = "ps";
  for (const auto& w : words) {
    command += " '";
    for (char ch : w) command += ch == '\'' ? std::string("'\\''") : std::string(1, ch);
    command += "'";
  }
  FILE* pipe = ::popen(command.c_str(), "re");
  if (!pipe) return fail(Error::os("run", "ps"));
  std::string out, line;
  size_t column = std::string::npos;
  char block[4096];
  auto fields = [](const std::string& l) {
    std::vector<std::string> list;
    size_t at = 0;
    while ((at = l.find_first_not_of(' ', at)) != std::string::npos) {
      size_t end = std::min(l.find(' ', at), l.size());
      list.push_back(l.substr(at, end - at));
      at = end;
    }
    return list;
  };
  while (::fgets(block, sizeof block, pipe)) {
    line = block;
    if (!line.empty() && line.back() == '\n') line.pop_back();
    auto f = fields(line);
    if (column == std::string::npos) {
      for (size_t k = 0; k < f.size(); k++)
        if (f[k] == "PID") column = k;
      if (column == std::string::npos) break;
      out += line + "\n";
      continue;
    }
    auto pid = column < f.size() ? parse_u64(f[column], "pid") : parse_u64("", "");
    if (pid && std::find(pids.begin(), pids.end(), static_cast<int>(*pid)) != pids.end()) out += line + "\n";
  }
  int status = ::pclose(pipe);
  if (column == std::string::npos)
    return fail(Error(ErrorKind::kOs, "couldn't find PID field in the output of `" + command + "` (exit " +
                                          std::to_string(status >> 8) +
                                          "); install procps, or use --format json"));
  return out;
}

}  // namespace

Result<int> run_ps(const Invocation& i) {
  std::string format = i.args.get("format", "table");
  if (format != "table" && format != "json")
    return fail(Error::invalid("option --format: '" + format + "' (table or json)"));
  const auto& words = i.args.rest();
  std::vector<int> pids = TRY(container_pids(i, words[0]));
  if (format == "json") {
    JsonWriter w;
    json_write(w, pids);
    TRY_VOID(print(w.text() + "\n"));
    return 0;
  }
  TRY_VOID(print(TRY(ps_table(pids, {words.begin() + 1, words.end()}))));
  return 0;
}

}  // namespace onggi::rtcli
