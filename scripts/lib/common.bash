# What the scripts share: words, failures, and the distribution's own apt. Sourced after NAME is set.
# shellcheck shell=bash

export DEBIAN_FRONTEND=noninteractive

say() { printf '%s: %s\n' "$NAME" "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# Of what apt printed: the reason stands below an "Err:" line, else behind "E:".
decisive_line() {
    awk '/^Err:/ { getline; found = $0; exit } /^E:/ { found = $0; exit } { last = $0 }
        END { sub(/^[ \t]+/, "", found); print found ? found : last }'
}

# Runs a command silently; when it fails, dies with the decisive line of what it said.
quietly() {
    local what=$1 output
    shift
    if output=$("$@" 2>&1 </dev/null); then
        return 0
    fi
    die "$what failed: $(decisive_line <<<"$output")"
}

# Whether version $1 is $2 or later.
at_least() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

apt() { apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@"; }

# The version of package $1 that would be installed; nothing when there is none.
candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -vxF '(none)' || true; }

update_lists() {
    [ -z "${UPDATED:-}" ] || return 0
    say "updating the package lists"
    quietly "apt-get update" apt update
    UPDATED=1
}

install_packages() {
    type -P apt-get >/dev/null || die "missing here: $*; this script installs on Debian only, so install them by hand"
    [ "$(id -u)" = 0 ] || die "installing $* needs root; run this as root"
    say "installing $*"
    # With lists that are missing or old the first try fails; only then is an update worth its time.
    apt install --no-install-recommends "$@" >/dev/null 2>&1 </dev/null || {
        update_lists
        quietly "apt-get install $*" apt install --no-install-recommends "$@"
    }
}
