# Shared by quickstart, check and scripts/*: where things are kept, named steps with a log each, and the tally.
# Source it with TREE set to the repository root. Nothing here has an effect until a function is called.

ONGGI_CACHE=${ONGGI_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/onggi}
LOGS=$TREE/build/logs
JOBS=${JOBS:-$(nproc)}
export CCACHE_DIR=${CCACHE_DIR:-$ONGGI_CACHE/ccache}

PASSED=0 FAILED=0 SKIPPED=0
STARTED=$SECONDS

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# The mirror and the suite's signature come from apt's configuration on this machine.
mirror() {
  local uri
  uri=$(apt-get indextargets --format '$(REPO_URI) $(LABEL) $(ORIGIN)' 'Created-By: Packages' | awk '/ Debian Debian$/ && !/security/ {print $1; exit}')
  [ -n "$uri" ] || uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -1)
  [ -n "$uri" ] || { sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null; sed -n 's/^deb \(\[.*\] \)\?\([a-z]*:[^ ]*\).*/\2/p' /etc/apt/sources.list 2>/dev/null; } | head -1
  printf '%s\n' "$uri"
}

# begin NAME: prints the step's name without a newline; end_* completes the line.
begin() { STEP=$1; STEP_STARTED=$SECONDS; mkdir -p "$LOGS"; LOG=$LOGS/$(printf '%s' "$1" | tr -c 'a-zA-Z0-9\n' '-').log; printf '%-34s ' "$1"; }
# Results that may come from within a step (its own counts) are added by tally.
tally() { PASSED=$((PASSED + $1)); FAILED=$((FAILED + $2)); SKIPPED=$((SKIPPED + $3)); }
took() { printf '%3d s' $((SECONDS - STEP_STARTED)); }
end_ok() { printf 'ok    %s%s\n' "$(took)" "${1:+  ($1)}"; }
end_skip() { printf 'skip  %s  (%s)\n' "$(took)" "$1"; }
end_fail() { printf 'FAIL  %s  (%s)\n' "$(took)" "${1:-see $LOG}"; tail -n "${2:-40}" "$LOG" | sed 's/^/    /'; }

# step NAME COMMAND...: one check: passed or failed by its exit code; output goes to build/logs.
step() {
  begin "$1"; shift
  if "$@" >"$LOG" 2>&1 </dev/null; then tally 1 0 0; end_ok; else tally 0 1 0; end_fail; return 1; fi
}

# counted NAME COMMAND...: the same for a command whose output has a line "N passed, N failed, N skipped" at its end.
counted() {
  local rc=0 line
  begin "$1"; shift
  "$@" >"$LOG" 2>&1 </dev/null || rc=$?
  line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$LOG" | tail -1 || true)
  if [ -z "$line" ]; then tally 0 1 0; end_fail "exit $rc and no summary, see $LOG"; return 1; fi
  set -- $line
  tally "$1" "$3" "$5"
  if [ "$rc" != 0 ] || [ "$3" != 0 ]; then
    [ "$3" != 0 ] || tally 0 1 0
    end_fail "$line" 60
    return 1
  fi
  end_ok "$line"
}

# Goes on below a root that is a mount point, if this is a plain chroot (see scripts/real-root; needs python3).
on_a_mounted_root() {
  [ "$(id -u)" = 0 ] && [ -z "${ONGGI_REROOTED:-}" ] || return 0
  ! awk '$5 == "/" {found = 1} END {exit !found}' /proc/self/mountinfo || return 0
  export ONGGI_REROOTED=1
  exec "$TREE/scripts/real-root" "$TREE/$(basename "$0")" "$@"
}
