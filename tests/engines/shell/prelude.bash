# What every operation of the table can use. The test sets:
#   D        a directory of the operation's own      TAG      a word that stands in all its names
#   RUNTIME  the runtime to use, NAME its name       LIMIT    how many seconds to wait for anything
#   KIT      what the engine's daemon has set up     PROBE    the image's file system, a static busybox
# An engine's part defines `open_world`, `close_world` and `inside`, which runs a command in container $C.
# shellcheck shell=bash
set -uo pipefail
exec 9>"$D/trace"
BASH_XTRACEFD=9

C=$TAG-c
I=probe
PATHS=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# A program that ends when it is asked to, and one that counts, with a word in its memory that no other start of it has.
# shellcheck disable=SC2016
SLEEPER='trap "exit 0" TERM; while :; do sleep 0.1; done'
# shellcheck disable=SC2016
COUNTER='trap "exit 0" TERM; u=$(cat /proc/sys/kernel/random/uuid); i=0
while :; do i=$((i + 1)); echo "$u $i" >/tmp/n.new; mv /tmp/n.new /tmp/n; sleep 0.05; done'

# Repeats a command until it succeeds.
eventually() {
    local end=$((SECONDS + LIMIT))
    until "$@" >/dev/null 2>"$D/last"; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "in vain: $*: $(tail -n 1 "$D/last")" >&2
            return 1
        fi
        sleep 0.05
    done
}

# Repeats a command until it prints just that.
until_is() {
    local said='' word=$1 end=$((SECONDS + LIMIT))
    shift
    until said=$("$@" 2>&1) && [ "$said" = "$word" ]; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "waited for $word of $*, which says: $said" >&2
            return 1
        fi
        sleep 0.05
    done
}

# Prints all that a command says, which must fail.
fails() {
    local said
    if said=$("$@" 2>&1); then
        echo "unexpected success of $*: $said" >&2
        return 1
    fi
    printf '%s\n' "$said"
}

# Lets a command fail and say something that matches, in any case.
tells() {
    local pattern=$1 said
    shift
    said=$(fails "$@")
    grep -qi -e "$pattern" <<<"$said" || {
        echo "$* does not mention $pattern: $said" >&2
        return 1
    }
}

# Prints how a command ends.
code() {
    local status=0
    "$@" >/dev/null 2>&1 || status=$?
    echo "$status"
}

# Prints what a command prints at a terminal.
terminal() { script -qec "$*" /dev/null <>"$D/keyboard" | tr -d '\r'; }

# Types lines there, once the program has had the time to get ready.
types() {
    sleep 1
    printf '%s\n' "$@" >"$D/keyboard"
}

# Waits for the first words of a COUNTER in $C, and keeps the one from its memory.
counts() {
    eventually inside test -s /tmp/n
    inside cut -d ' ' -f 1 /tmp/n >"$D/word"
}

# Says so when the program with that word in its memory still counts.
goes_on() {
    inside rm -f /tmp/n
    eventually inside test -s /tmp/n
    if [ "$(inside cut -d ' ' -f 1 /tmp/n)" = "$(cat "$D/word")" ]; then echo goes on; else echo begins anew; fi
}

# The first number in a file of the container's cgroup, by its name on v1 and on v2.
limit() { inside sh -c "for f in /sys/fs/cgroup/*/$1 /sys/fs/cgroup/$2; do [ ! -e \$f ] || { cut -d ' ' -f 1 \$f; break; }; done"; }

# A service manager's socket: what is said there stands in $D/heard.
listen() {
    perl -MSocket -e 'socket(S, PF_UNIX, SOCK_DGRAM, 0); bind(S, sockaddr_un($ARGV[0])) or die $!; alarm 60; $| = 1;
        while (defined recv(S, $_, 9999, 0)) { print "$_\n"; exit if /READY=1/ }' "$1" >"$D/heard" &
    eventually test -S "$1"
}

# Tells a service manager's socket, which may lie in a container, that all is well.
say_ready() {
    perl -MSocket -e 'socket(S, PF_UNIX, SOCK_DGRAM, 0); send(S, "READY=1", 0, sockaddr_un($ARGV[0])) or die $!' "$1"
}

# The image's file system.
make_probe() {
    local applet
    mkdir -p "$PROBE"/{bin,dev,etc,proc,root,run,sys,tmp,var}
    chmod 1777 "$PROBE/tmp"
    cp "$BUSYBOX" "$PROBE/bin/busybox"
    for applet in $("$PROBE/bin/busybox" --list); do [ -e "$PROBE/bin/$applet" ] || ln -s busybox "$PROBE/bin/$applet"; done
    printf 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000:guest:/tmp:/bin/sh\n' >"$PROBE/etc/passwd"
    printf 'root:x:0:\nguest:x:1000:\naudio:x:29:\n' >"$PROBE/etc/group"
}

# A command that the engine's part has made options for.
wrapper() {
    printf '#!/bin/bash\n%s\n' "$2" >"$D/bin/$1"
    chmod 755 "$D/bin/$1"
}

# Where the machine's cgroups of this operation are.
cgroups() { find /sys/fs/cgroup -mindepth 1 -maxdepth 3 -type d -name "*$TAG*" 2>/dev/null; }

# Removes the cgroups that the engine leaves empty, parents of containers; one that is not empty stays, and the test finds it.
remove_cgroups() {
    local path end=$((SECONDS + 10))
    while [ -n "$(cgroups)" ] && [ "$SECONDS" -lt "$end" ]; do
        cgroups | while read -r path; do find "$path" -depth -type d -exec rmdir {} + 2>/dev/null; done || true
        sleep 0.05
    done
}

# For an operation with a daemon of its own (`daemon` becomes it, `client` talks to it): another one in its place.
daemon_again() {
    daemon &
    echo $! >"$D/daemon"
    LIMIT=$((LIMIT * 4)) eventually client version
}

# With what it has started and what ends with it, a moment later: docker's containerd, which the next daemon would take for alive.
kill_daemon() {
    local children child
    children=$(pgrep -x -P "$(cat "$D/daemon")" containerd) || true
    kill -9 "$(cat "$D/daemon")"
    for child in $(cat "$D/daemon") $children; do eventually eval "! kill -0 $child"; done
}

# Ends the operation's own daemon. One that was killed may have forgotten a shim and its files, which are nobody's then.
end_daemon() {
    kill "$(cat "$D/daemon")"
    tail --pid="$(cat "$D/daemon")" -f /dev/null
    pgrep -f "containerd-shim.*$D/" | xargs -r kill -9 2>/dev/null
    rm -rf "$D"/tmp/*
}

perform() {
    local status
    mkdir -p "$D/bin" "$D/home"
    mkfifo "$D/keyboard"
    export HOME=$D/home PATH=$D/bin:$PATH
    set -e
    open_world >"$D/opening" 2>&1 || { cat "$D/opening" >&2; exit 99; }
    set +e
    (
        set -ex
        operation
    )
    status=$?
    close_world || status=98
    exit "$status"
}
