# containerd as Kubernetes sees it: its plugin for the Container Runtime Interface, and a small client (tests/engines/cri). Comes after
# the shell of containerd. In an operation, $P is the pod and $C the container that was made last.
# shellcheck shell=bash disable=SC2034,SC2119,SC2120

# Pods get a network from CNI's own plugins; what these remember is in the daemon's own view of the files.
serve() {
    ip link set lo up
    mount -t tmpfs tmpfs /run
    mkdir -p "$KIT/data" "$KIT/ctd" "$KIT/cni" /run/lock
    [ ! -d /var/lib/cni ] || mount -t tmpfs tmpfs /var/lib/cni
    cat >"$KIT/cni/pods.conf" <<TEXT
{"cniVersion":"0.4.0","name":"pods","type":"ptp","ipam":{"type":"host-local","dataDir":"$KIT/addresses","subnet":"10.99.0.0/16"}}
TEXT
    cat >"$KIT/config.toml" <<TEXT
version = 2
root = "$KIT/data"
state = "$KIT/ctd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$KIT/sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "$REGISTRY/pause:1"
stats_collect_period = 1
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$KIT/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "runc"
$(handler runc "$RUNC")
$("$RT" engine-config containerd)
Root = "$KIT/ctd/rt"
$(handler gone /nowhere/rt)
TEXT
    registry
    daemon
}

# Where the images come from. Nothing asks there.
REGISTRY=docker.io/library
registry() { :; }

# A RuntimeClass' handler: its name and its program.
handler() {
    local at='plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
    printf '[%s.%s]\nruntime_type = "io.containerd.runc.v2"\n' "$at" "$1"
    printf '[%s.%s.options]\nBinaryName = "%s"\nRoot = "%s"\n' "$at" "$1" "$2" "$KIT/ctd/$1"
}

client() { "$BIN/ctr" --address "$KIT/sock" -n k8s.io "$@"; }

stock() {
    LIMIT=$((LIMIT * 4)) eventually client version
    import "$REGISTRY/probe" '["sh"]'
    import "$REGISTRY/pause" '["sleep","100000000"]'
    eventually knows_image pause
}

knows_image() { call ListImages | jq -e --arg name "$REGISTRY/$1:1" 'any(.images[].repo_tags[]; . == $name)'; }

# A call of the interface: its name and its message, and what of the answer is wanted.
call() {
    local answer
    answer=$("$SELF" cri call "$KIT/sock" "$1" "${2:-{\}}") || return
    jq -r "${3:-.}" <<<"$answer"
}

open_world() {
    I=$REGISTRY/probe:1 P='' C='' COUNT=0
    if [ -n "${OWN:-}" ]; then
        KIT=$D KITTAG=$TAG
        (serve) &
        echo $! >"$D/daemon"
        stock
    fi
    mkdir -p "$D/logs"
}

of_pod() { jq -cn --arg id "${1:-$P}" '{pod_sandbox_id: $id}'; }
of() { jq -cn --arg id "${1:-$C}" '{container_id: $id}'; }

# Runs a pod; $1 is laid over what it has anyhow, and $2 is the handler.
pod() {
    COUNT=$((COUNT + 1))
    jq -cn --arg name "$TAG-$COUNT-$BASHPID" --arg tag "$TAG" --arg logs "$D/logs" '{
        metadata: {name: $name, uid: $name, namespace: "tests"}, hostname: "host", log_directory: $logs, labels: {tag: $tag},
        linux: {cgroup_parent: "/\($tag)"}} * $ARGS.positional[0]' --jsonargs -- "${1:-{\}}" >"$D/pod"
    P=$(call RunPodSandbox "$(jq -c --arg handler "${2-$NAME}" '{config: ., runtime_handler: $handler}' "$D/pod")" .pod_sandbox_id)
}

# Creates a container in the pod: what is laid over its configuration, and its command.
create() {
    local name
    COUNT=$((COUNT + 1))
    name=c$COUNT-$BASHPID
    C=$(call CreateContainer "$(jq -cn --arg pod "$P" --arg name "$name" --arg image "$I" --slurpfile sandbox "$D/pod" '{
        pod_sandbox_id: $pod, sandbox_config: $sandbox[0],
        config: ({metadata: {name: $name}, image: {image: $image}, log_path: "\($name).log", command: $ARGS.positional[1:]}
            * ($ARGS.positional[0] | fromjson))}' --args -- "$@")" .container_id)
    LOG=$D/logs/$name.log
}

start() { call StartContainer "$(of "$@")" empty; }
stop() { call StopContainer "$(of | jq -c ".timeout = ${1:-0}")" empty; }
remove() { call RemoveContainer "$(of "$@")" empty; }
status() { call ContainerStatus "$(of "$@")" '.status.state | ltrimstr("CONTAINER_")'; }
pod_status() { call PodSandboxStatus "$(of_pod "$@")" '.status.state | ltrimstr("SANDBOX_")'; }

# Something of the container's status.
shows() { call ContainerStatus "$(of)" ".status$1"; }

sleeping() {
    [ -n "$P" ] || pod
    create "${1:-{\}}" sh -c "$SLEEPER"
    start
}

counting() {
    [ -n "$P" ] || pod
    create "${1:-{\}}" sh -c "$COUNTER"
    start
    counts
}

# Runs a command to its end in a container of its own, and prints what it says; as `create`.
run() {
    [ -n "$P" ] || pod
    create "$@"
    start
    until_is EXITED status
    said
}

# What the container said: in its log there is a time, a stream and a mark before each line.
said() { cut -d ' ' -f 4- "$LOG"; }

# ExecSync: prints what the command prints, and ends as it does.
inside() {
    local answer
    answer=$(call ExecSync "$(of | jq -c --argjson limit "${LIMITED:-0}" '. + {cmd: $ARGS.positional, timeout: $limit}' --args -- "$@")") || return
    jq -r .stdout <<<"$answer" | base64 -d
    jq -r .stderr <<<"$answer" | base64 -d >&2
    return "$(jq .exit_code <<<"$answer")"
}

# Exec and Attach: what is wanted beside the output, and the command. The engine answers with an address in its own network.
streams() { stream "$(call Exec "$(of | jq -c ". + {stdout: true, stderr: true, cmd: \$ARGS.positional} + $1" --args -- "${@:2}")" .url)"; }
attach() { stream "$(call Attach "$(of | jq -c ". + {stdout: true, stderr: true} + $1")" .url)"; }
# shellcheck disable=SC2086
stream() { nsenter -n -t "$(cat "$KIT/pid")" "$SELF" cri stream "$1" ${SIZE:-}; }

update() { call UpdateContainerResources "$(of | jq -c ".linux = $1")" empty; }

# The container's init on the machine, and the shim of its pod.
pid() { call ContainerStatus "$(of | jq -c '.verbose = true')" '.info.info | fromjson.pid'; }
shim() { pgrep -f "containerd-shim.*-id $P\b"; }

# The container does not see its cgroup.
limit() { cat "/sys/fs/cgroup"/*/"$TAG/$C/$1" "/sys/fs/cgroup/$TAG/$C/$2" 2>/dev/null | head -n 1 | cut -d ' ' -f 1 || true; }

close_world() {
    local id left=
    for id in $(call ListPodSandbox "{\"filter\":{\"label_selector\":{\"tag\":\"$TAG\"}}}" '.items[].id'); do
        for step in StopPodSandbox RemovePodSandbox; do
            call "$step" "$(of_pod "$id")" empty 2>"$D/closing" || { cat "$D/closing" >&2; return 1; }
        done
        left+=$(find "$KIT/ctd" -name "$id")
    done
    [ -z "$C" ] || left+=$(find "$KIT/ctd" -name "$C")
    [ -z "${OWN:-}" ] || end_daemon
    remove_cgroups
    [ -z "$left" ] || { echo "left behind: $left" >&2; return 1; }
}
