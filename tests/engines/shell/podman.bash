# podman, with a store, networks and /run of the operation's own.
# shellcheck shell=bash

# The image, once for all.
stock() {
    mount -t tmpfs tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    tar -C "$PROBE" -c . | /usr/bin/podman --root "$KIT/images" --storage-driver overlay import --change "ENV PATH=$PATHS" - localhost/probe
    umount -R "$KIT/images/overlay" 2>/dev/null || true
}

open_world() {
    ip link set lo up
    PARENT=/$TAG
    if [ -n "${SYSTEMD:-}" ]; then
        # A slice of its own. Dashes in a slice's name tell what it lies in.
        SLICE=${TAG//-/_}.slice
        PARENT=$SLICE
        mkdir "$D/systemd" "$D/dbus"
        mount --bind /run/systemd "$D/systemd"
        mount --bind /run/dbus "$D/dbus"
    fi
    mount -t tmpfs tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mkdir -p "$D/etc" "$D/networks" "$D/hooks" /run/lock
    chmod 755 /run
    if [ -n "${SYSTEMD:-}" ]; then
        mkdir /run/systemd /run/dbus
        mount --move "$D/systemd" /run/systemd
        mount --move "$D/dbus" /run/dbus
    fi
    configure >"$D/etc/containers.conf"
    cat >"$D/etc/storage.conf" <<TEXT
[storage]
driver = "overlay"
graphroot = "$D/store"
runroot = "/run/containers/storage"
[storage.options]
additionalimagestores = ["$KIT/images"]
TEXT
    export CONTAINERS_CONF=$D/etc/containers.conf CONTAINERS_STORAGE_CONF=$D/etc/storage.conf
    export CONTAINERS_REGISTRIES_CONF=$D/etc/registries.conf
    echo 'unqualified-search-registries = []' >"$CONTAINERS_REGISTRIES_CONF"
    # All cgroups carry the tag.
    wrapper podman "exec 9>&-
case \$1 in
run | create) first=(\"\$1\"); shift ;;
pod) [ \"\$2\" = create ] && { first=(pod create); shift 2; } ;;
esac
[ -z \"\${first:-}\" ] || first+=(--cgroup-parent=$PARENT)
exec /usr/bin/podman --runtime \"\${RUNTIME_NAME:-$NAME}\" \"\${first[@]}\" \"\$@\""
}

configure() {
    cat <<TEXT
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
env = ["PATH=$PATHS", "RT_TEST_TAG=$TAG"]
netns = "none"
[engine]
cgroup_manager = "$([ -n "${SYSTEMD:-}" ] && echo systemd || echo cgroupfs)"
events_logger = "file"
runtime = "$NAME"
runtime_supports_json = ["crun", "runc", "kata", "runsc", "rt"]
hooks_dir = ["$D/hooks"]
[engine.runtimes]
$NAME = ["$RUNTIME"]
[network]
network_backend = "netavark"
network_config_dir = "$D/networks"
TEXT
}

# Has 65532 and many subordinate ids of its own; `user COMMAND` runs as it, and `user podman` has its own store.
rootless_user() {
    subordinate lonely
    printf 'root:x:0:0:root:/root:/bin/sh\nlonely:x:65532:65532::%s:/bin/sh\n' "$D/user" >"$D/etc/passwd"
    printf 'root:x:0:\nlonely:x:65532:\n' >"$D/etc/group"
    mount --bind "$D/etc/passwd" /etc/passwd
    mount --bind "$D/etc/group" /etc/group
    mkdir -p "$D/user/store" "$D/user/tmp" /run/user/65532
    install -m 755 "$RUNTIME" "$D/runtime"
    RUNTIME=$D/runtime configure | grep -v network >"$D/user/containers.conf"
    printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "/run/user/65532/storage"\n' "$D/user/store" >"$D/user/storage.conf"
    chown -R 65532:65532 "$D/user" /run/user/65532
    chmod 777 "$D"
    wrapper user "cd $D/user
export HOME=$D/user XDG_RUNTIME_DIR=/run/user/65532 TMPDIR=$D/user/tmp
export CONTAINERS_CONF=$D/user/containers.conf CONTAINERS_STORAGE_CONF=$D/user/storage.conf
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin USER=lonely
exec setpriv --reuid 65532 --regid 65532 --clear-groups \"\$@\" 9>&-"
    tar -C "$PROBE" -c . | user podman import --change "ENV PATH=$PATHS" - localhost/probe >/dev/null 2>&1
}

# Gives a name subordinate ids, in place of all others.
subordinate() {
    echo "$1:200000:100000" >"$D/etc/subid"
    mount --bind "$D/etc/subid" /etc/subuid
    mount --bind "$D/etc/subid" /etc/subgid
}

inside() { podman exec "$C" "$@"; }

# Containers of the operations. What is behind the options is run's, too.
sleeping() { podman run -d --name "$C" "$@" "$I" sh -c "$SLEEPER" >/dev/null; }

counting() {
    podman run -d --name "$C" "$@" "$I" sh -c "$COUNTER" >/dev/null
    counts
}

# One with a connection in it: what comes in at /in gets to /got.
talking() {
    podman run -d --name "$C" "$I" sh -c "mkfifo /in; tail -f /dev/null | nc -lp 7000 >/got & sleep 0.5
        while :; do cat /in; done | nc 127.0.0.1 7000 & $COUNTER" >/dev/null
    counts
    inside sh -c 'echo one >/in'
    until_is one inside cat /got
}

# A way to give a command of rt's an option that this podman does not have.
extended() {
    [ "$NAME" = rt ] || { echo "$RUNTIME"; return; }
    wrapper extended "case \" \$* \" in *' $1 '*) set -- \"\${@:1:\$#-1}\" $2 \"\${@: -1}\" ;; esac
exec $RUNTIME \"\$@\""
    echo "$D/bin/extended"
}

# From now on the runtime's name stands for this binary: an archive wants to be restored by the name that made it.
stands_for() {
    ln -sfn "$1" "$D/oci"
    sed -i "s,^$NAME = .*,$NAME = [\"$D/oci\"]," "$CONTAINERS_CONF"
}

# Goes over to a machine whose store is empty.
other_machine() { sed -i "s,^graphroot.*,graphroot = \"$D/store/other\"," "$CONTAINERS_STORAGE_CONF"; }

# A property of the container, from `podman inspect`.
of() { podman inspect --format "{{$1}}" "${2:-$C}"; }

# What a crash of the machine leaves: the store, but nothing of /run and no process.
crash() {
    local path
    # The monitors first, which would tell of their containers' end.
    grep -sl "$D/store" /proc/[0-9]*/cmdline | cut -d / -f 3 | xargs -r kill -9 2>/dev/null || true
    cgroups | while read -r path; do find "$path" -name cgroup.procs -exec cat {} +; done | sort -u | xargs -r kill -9 2>/dev/null || true
    sleep 0.2
    grep -o "$D/store/[^ ]*" /proc/self/mountinfo | sort -ru | xargs -r -n 1 umount -l 2>/dev/null || true
    umount -l /run /dev/shm
    mount -t tmpfs tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mkdir -p /run/lock
    remove_cgroups
}

close_world() {
    podman pod rm -f -a -t 0 >/dev/null 2>&1
    if [ -d "$D/user" ]; then
        user podman rm -f -a -t 0 >/dev/null 2>&1
        kill "$(cat /run/user/65532/libpod/tmp/pause.pid)"
    fi
    podman rm -f -a -t 0 >"$D/closing" 2>&1 || { echo "podman rm: $(cat "$D/closing")" >&2; return 1; }
    local left
    left=$(find "/run/$NAME" -mindepth 1 -maxdepth 1 ! -name '@seccomp' 2>/dev/null)
    left+=$(grep -o "$D/store/[^ ]*merged" /proc/self/mountinfo)
    if [ -n "${SYSTEMD:-}" ]; then
        left+=$(find "/sys/fs/cgroup/$SLICE" -name 'libpod-[0-9a-f]*')
        systemctl stop "$SLICE"
    fi
    remove_cgroups
    umount -R "$D/store/overlay" 2>/dev/null
    umount -l /dev/shm
    umount -R -l /run
    [ -z "$left" ] || { echo "left behind: $left" >&2; return 1; }
}
