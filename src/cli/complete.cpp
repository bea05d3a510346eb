#include "cli/complete.h"

#include <algorithm>
#include <set>

namespace onggi::cli {

namespace {

struct Matcher {
  const std::string& prefix;
  Candidates& out;
  void add(const std::string& word, const std::string& meaning) const {
    bool known =
        std::any_of(out.words.begin(), out.words.end(), [&](const auto& w) { return w.first == word; });
    if (word.starts_with(prefix) && !known) out.words.push_back({word, meaning});
  }
};

const Option* option_of(const Options& options, const std::string& word) {
  for (const auto& o : options) {
    if (word == std::string("--") + o.name) return &o;
    // "-it": the last letter decides whether a value follows.
    if (o.letter && word.size() >= 2 && word[0] == '-' && word[1] != '-' && word.back() == o.letter)
      return &o;
  }
  return nullptr;
}

void offer_kind(const std::string& kind, const NamesOf& names, const Matcher& m,
                const std::string& before = {}, const std::string& after = {}) {
  if (kind == "file") m.out.files = true;
  if (kind == "container" || kind == "image" || kind == "volume" || kind == "network") {
    for (const auto& name : names(kind)) m.add(before + name + after, kind);
  } else if (kind != "file") {
    for (size_t at = 0; at < kind.size();) {
      size_t end = std::min(kind.find(' ', at), kind.size());
      m.add(before + kind.substr(at, end - at), "");
      at = end + 1;
    }
  }
}

void offer_options(const Options& options, const Matcher& m) {
  for (const auto& o : options)
    if (!*o.refused) m.add(std::string("--") + o.name, o.help);
}

// What the word at `position` is, from the usage text: "CONTAINER COMMAND [ARG...]".
std::string kind_at(const Command& c, size_t position) {
  std::string usage = c.usage, last;
  size_t n = 0;
  for (size_t at = 0; at < usage.size(); n++) {
    size_t end = std::min(usage.find(' ', at), usage.size());
    last = usage.substr(at, end - at);
    if (n == position) break;
    at = end + 1;
  }
  if (n < position && last.find("...") == std::string::npos) return "";
  if (last.find("CONTAINER") != std::string::npos) return "container";
  if (last.find("IMAGE") != std::string::npos) return "image";
  if (last.find("VOLUME") != std::string::npos) return "volume";
  if (last.find("NETWORK") != std::string::npos) return "network";
  if (last.find("NAME|ID") != std::string::npos) return "container";
  return last.find("FILE") != std::string::npos ? "file" : "";
}

struct Typed {
  const Command* command = nullptr;
  std::string group;               // a group without a command yet
  const Option* open = nullptr;    // an option that waits for its value
  std::vector<std::string> words;  // of the command
};

// Everything before the word that is being completed.
Typed read_typed(const std::vector<std::string>& words) {
  Typed t;
  for (size_t n = 0; n + 1 < words.size(); n++) {
    const std::string& word = words[n];
    const Options& options = t.command ? t.command->options() : global_options();
    if (t.open) {
      t.open = nullptr;
      continue;
    }
    bool is_option =
        word.size() > 1 && word[0] == '-' && !(t.command && t.command->program && !t.words.empty());
    if (is_option) {
      const Option* o = option_of(options, word);
      if (o && o->kind != OptionKind::kSwitch && word.find('=') == std::string::npos) t.open = o;
      continue;
    }
    if (t.command) {
      t.words.push_back(word);
      continue;
    }
    std::string name = t.group.empty() ? word : t.group + " " + word;
    for (const auto& c : command_table())
      for (const auto& alias : names_of(c))
        if (alias == name) t.command = &c;
    if (!t.command) t.group = word;
  }
  return t;
}

void offer_commands(const std::string& group, const Matcher& m) {
  for (const auto& c : command_table()) {
    if (c.hidden) continue;
    for (const auto& name : names_of(c)) {
      size_t space = name.find(' ');
      if (group.empty())
        m.add(name.substr(0, space),
              space == std::string::npos ? c.help : "Commands about " + name.substr(0, space) + "s");
      else if (space != std::string::npos && name.substr(0, space) == group)
        m.add(name.substr(space + 1), c.help);
    }
  }
}

}  // namespace

Candidates complete(const std::vector<std::string>& words, const NamesOf& names) {
  Candidates out;
  if (words.empty()) return out;
  const std::string& current = words.back();
  Matcher m{current, out};
  Typed t = read_typed(words);
  const Options& options = t.command ? t.command->options() : global_options();
  size_t equals = current.find('=');
  bool foreign = t.command && t.command->program && !t.words.empty();  // the options of another program
  if (t.open) {
    offer_kind(t.open->completion, names, m);
  } else if (current.starts_with("--") && equals != std::string::npos) {
    if (const Option* o = option_of(options, current.substr(0, equals)))
      offer_kind(o->completion, names, m, current.substr(0, equals + 1));
  } else if (current.starts_with("-") && !foreign) {
    offer_options(options, m);
    m.add("--help", "Print the help");
  } else if (!t.command) {
    offer_commands(t.group, m);
  } else if (names_of(*t.command)[0] == "cp") {
    offer_kind("container", names, m, "", ":");
    out.files = true;
  } else {
    offer_kind(kind_at(*t.command, t.words.size()), names, m);
  }
  return out;
}

Result<std::string> completion_script(const std::string& shell) {
  if (shell == "bash")
    return std::string(
        R"(# bash completion of onggi. The program itself knows its commands, options and objects.
_onggi() {
  local line word files=
  COMPREPLY=()
  local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
  # bash cuts at ':' and '='; what was cut off is put together again.
  if declare -F _get_comp_words_by_ref >/dev/null; then
    local cur prev cword whole
    _get_comp_words_by_ref -n := -w whole -i cword cur prev
    words=("${whole[@]:1:cword}")
  fi
  while IFS= read -r line; do
    word=${line%%$'\t'*}
    if [ "$word" = :file ]; then files=1; else COMPREPLY+=("$word"); fi
  done < <("${COMP_WORDS[0]}" internal complete -- "${words[@]}" 2>/dev/null)
  if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "${words[-1]}"; fi
  if [ -n "$files" ]; then compopt -o default; fi
  case "${COMPREPLY[0]-}" in *:) compopt -o nospace ;; esac
}
complete -F _onggi onggi
)");
  if (shell == "zsh")
    return std::string(R"(#compdef onggi
# zsh completion of onggi. The program itself knows its commands, options and objects.
_onggi() {
  local line files
  local -a found
  while IFS= read -r line; do
    if [[ ${line%%$'\t'*} == :file ]]; then
      files=1
    else
      found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done < <($words[1] internal complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
  (( $#found )) && _describe -t onggi onggi found
  [[ -n $files ]] && _files
}
if [[ $funcstack[1] == _onggi ]]; then _onggi "$@"; else compdef _onggi onggi; fi
)");
  if (shell == "fish")
    return std::string(
        R"(# fish completion of onggi. The program itself knows its commands, options and objects.
function __onggi_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] internal complete -- $words[2..-1] 2>/dev/null)
        if test "$line" = :file
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c onggi -f -a '(__onggi_complete)'
)");
  return fail(Error::invalid("completion: unknown shell '" + shell + "' (bash, zsh, fish)"));
}

}  // namespace onggi::cli
