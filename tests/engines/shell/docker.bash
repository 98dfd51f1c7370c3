# docker: a daemon that operations share, in a network and with a /run of its own; or one of the operation's own (`OWN=1`).
# shellcheck shell=bash

# The daemon's part. It takes the place of the shell.
serve() {
    ip link set lo up
    mount -t tmpfs tmpfs /run
    mkdir -p "$KIT/data" "$KIT/exec" /run/lock
    daemon
}

# Knows rt as `rt engine-config` has it.
# shellcheck disable=SC2086
daemon() {
    "$RT" engine-config docker | jq --arg runc "$RUNC" '.runtimes.plain.path = $runc' >"$KIT/daemon.json"
    exec /usr/sbin/dockerd --experimental --storage-driver="${STORAGE:-overlay2}" --data-root "$KIT/data" --exec-root "$KIT/exec" \
        -p "$KIT/pid" -H "unix://$KIT/docker.sock" --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$TAG" \
        --config-file "$KIT/daemon.json" --default-runtime "${DEFAULT:-plain}" --shutdown-timeout 1 \
        >>"$KIT/log" 2>&1 9>&-
}

client() { /usr/bin/docker -H "unix://$KIT/docker.sock" "$@"; }

# The image, once for all.
stock() {
    LIMIT=$((LIMIT * 4)) eventually client version
    tar -C "$PROBE" -c . | client import --change 'CMD ["sh"]' - probe
}

open_world() {
    if [ -n "${OWN:-}" ]; then
        KIT=$D DEFAULT=$DOCKER_NAME
        (serve) &
        echo $! >"$D/daemon"
        stock
    fi
    wrapper docker "exec 9>&-
case \$1 in
run | create)
    first=(\"\$1\" --label tag=$TAG --cgroup-parent /$TAG)
    shift
    case \" \$* \" in *' --network'* | *' --net='*) ;; *) first+=(--network none) ;; esac
    [ -n \"$OWN\" ] || first+=(--runtime $DOCKER_NAME) ;;
esac
exec /usr/bin/docker -H unix://$KIT/docker.sock \"\${first[@]}\" \"\$@\""
}

inside() { docker exec "$C" "$@"; }

# Containers of the operations. What is behind the options is run's, too.
sleeping() { docker run -d --name "$C" "$@" probe sh -c "$SLEEPER" >/dev/null; }

counting() {
    docker run -d --name "$C" "$@" probe sh -c "$COUNTER" >/dev/null
    counts
}

# Docker hands a checkpoint to containerd's store and takes it out again while it lets the first one go: started at once, it
# says that the content is there already, whatever the runtime.
settle() { sleep 3; }

# `rt docker`, where the daemon sees its networks and its mounts.
takeover() {
    nsenter -m -n -t "$(cat "$KIT/pid")" env PATH="$PATH" DOCKER_BINARY="$D/bin/docker" CRIU_IMG_DIR="$D/images" "$RUNTIME" docker "$@"
}

# There and back, twice: from docker, standing alone, and back into docker.
there_and_back() {
    takeover -c "$C"
    takeover -r --alone "$C"
    local now
    now=/proc/$(cat "$D/images/$(of .Id)/restore.pid")/root/tmp/n
    rm "$now"
    eventually test -s "$now"
    [ "$(cut -d ' ' -f 1 "$now")" = "$(cat "$D/word")" ]
    takeover -c "$C"
    takeover -r "$C"
    goes_on
}

of() { docker inspect --format "{{$1}}" "${2:-$C}"; }

close_world() {
    local ids id left=
    ids=$(docker ps -aq --no-trunc --filter "label=tag=$TAG")
    # shellcheck disable=SC2086
    [ -z "$ids" ] || docker rm -fv $ids >"$D/closing" 2>&1 || { echo "docker rm: $(cat "$D/closing")" >&2; return 1; }
    for id in $ids; do
        [ ! -e "$KIT/exec/runtime-runc/moby/$id" ] || left+=" state of $id"
        ! grep -qs "$id" "/proc/$(cat "$KIT/pid")/mountinfo" || left+=" mount of $id"
    done
    [ -z "${OWN:-}" ] || end_daemon
    remove_cgroups
    [ -z "$left" ] || { echo "left behind:$left" >&2; return 1; }
}
