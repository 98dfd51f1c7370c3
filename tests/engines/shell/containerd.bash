# containerd with its own client: a daemon that operations share, with a /run of its own; or one of the operation's own (`OWN=1`).
# shellcheck shell=bash
BIN=/usr/bin

serve() {
    ip link set lo up
    mount -t tmpfs tmpfs /run
    mkdir -p "$KIT/data" "$KIT/ctd" /run/lock
    cat >"$KIT/config.toml" <<TEXT
version = 2
root = "$KIT/data"
state = "$KIT/ctd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$KIT/sock"
TEXT
    daemon
}

daemon() {
    echo "$BASHPID" >"$KIT/pid"
    PATH=$BIN:$PATH exec "$BIN/containerd" --config "$KIT/config.toml" >>"$KIT/log" 2>&1 9>&-
}

client() { "$BIN/ctr" --address "$KIT/sock" -n "$KITTAG" "$@"; }

# The image, once for all.
stock() {
    LIMIT=$((LIMIT * 4)) eventually client version
    import docker.io/library/probe '["sh"]'
}

# Makes image $1 of the probe, with the command $2.
import() {
    mkdir -p "$KIT/oci/blobs/sha256"
    tar -C "$PROBE" -cf "$KIT/oci/new" .
    image "$KIT/oci" "$1" "{\"Env\":[\"PATH=$PATHS\"],\"Cmd\":$2}"
}

# Makes image $2 of the layer $1/new, with the configuration $3: written by hand, in the words of OCI's image specification. $4 is more
# of its manifest and its index.
image() {
    local oci=$1 more=${4:-} layer config manifest index arch
    arch=$(uname -m)
    case $arch in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac
    layer=$(blob)
    cat >"$oci/new" <<TEXT
{"architecture":"$arch","os":"linux","config":$3,"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]}}
TEXT
    config=$(blob)
    cat >"$oci/new" <<TEXT
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":$(described image.config.v1+json "$config"),"layers":[$(described image.layer.v1.tar "$layer")]$more}
TEXT
    manifest=$(blob)
    echo '{"imageLayoutVersion":"1.0.0"}' >"$oci/oci-layout"
    echo "{\"schemaVersion\":2,\"manifests\":[$(described image.manifest.v1+json "$manifest")]$more}" >"$oci/index.json"
    tar -C "$oci" -cf "$oci.tar" .
    cp "$oci/index.json" "$oci/new"
    index=$(blob)
    # shellcheck disable=SC2086
    client image import ${IMPORT:-} --snapshotter native --index-name "$2:1" "$oci.tar"
    client image tag "$2:1" "$2@sha256:$index"
}

# Files `new` under its digest.
blob() {
    local sum
    sum=$(sha256sum <"$oci/new" | cut -d ' ' -f 1)
    mv "$oci/new" "$oci/blobs/sha256/$sum"
    echo "$sum"
}

described() {
    printf '{"mediaType":"application/vnd.oci.%s","digest":"sha256:%s","size":%s}' "$1" "$2" "$(stat -c %s "$oci/blobs/sha256/$2")"
}

open_world() {
    I=docker.io/library/probe:1
    if [ -n "${OWN:-}" ]; then
        KIT=$D KITTAG=$TAG
        (serve) &
        echo $! >"$D/daemon"
        stock
    fi
    mkdir -p "$D/fifo"
    wrapper ctr "exec 9>&-
case \$1:\${2:-} in
run:*) first=(run --snapshotter native --fifo-dir $D/fifo --runc-root $KIT/ctd/$NAME --runc-binary $RUNTIME); shift ;;
t:exec | task:exec) first=(task exec --fifo-dir $D/fifo --exec-id \"x\$\$\"); shift 2 ;;
esac
exec $BIN/ctr --address $KIT/sock -n $KITTAG \"\${first[@]}\" \"\$@\""
}

inside() { ctr task exec "$C" "$@"; }

# Containers of the operations. What is behind the options is run's, too.
sleeping() { ctr run -d "$@" "$I" "$C" sh -c "$SLEEPER"; }

counting() {
    ctr run -d "$@" "$I" "$C" sh -c "$COUNTER"
    counts
}

# Takes the container away, for one that is made from its checkpoint.
remove() {
    ctr task kill -s SIGKILL "$C"
    until_is STOPPED status
    ctr task rm "$C" >/dev/null 2>&1 || true
    ctr container rm "$C"
}

# The container does not see its cgroup.
limit() { cat /sys/fs/cgroup/*/"$KITTAG/$C/$1" /sys/fs/cgroup/"$KITTAG/$C/$2" 2>/dev/null | head -n 1 | cut -d ' ' -f 1 || true; }

# `ctr container restore` stays until the container ends. Its pipes are in the daemon's /run, for which there is no option.
restore() {
    nsenter -m -t "$(cat "$KIT/pid")" "$D/bin/ctr" container restore --live --rw "$@" >/dev/null &
    until_is RUNNING status "$1"
}

# What ctr says of a container's task.
status() { ctr task ls | awk -v id="${1:-$C}" '$1 == id { print $3 }'; }

close_world() {
    local id left=
    for id in $(ctr task ls -q | grep "^$TAG"); do
        ctr task kill -s KILL "$id" >/dev/null 2>&1
        ctr task rm -f "$id" >"$D/closing" 2>&1 || { echo "ctr task rm: $(cat "$D/closing")" >&2; return 1; }
    done
    for id in $(ctr container ls -q | grep "^$TAG"); do
        ctr container rm "$id" >"$D/closing" 2>&1 || { echo "ctr container rm: $(cat "$D/closing")" >&2; return 1; }
    done
    left=$(find "$KIT/ctd/$NAME/$KITTAG" -mindepth 1 -name "$TAG*" 2>/dev/null)
    [ -z "${OWN:-}" ] || end_daemon
    remove_cgroups
    [ -z "$left" ] || { echo "left behind: $left" >&2; return 1; }
}
