# The same with a containerd 2. Comes after the shell of cri.
# shellcheck shell=bash disable=SC2034
BIN=/opt/rt-containerd/bin
# Its ctr knows --snapshotter in this case only.
IMPORT=--local

# It asks a registry for the image of a container that it restores, and takes an image that it has under its digest for another one.
REGISTRY=localhost:5000
registry() { setpriv --pdeathsig KILL "$SELF" cri registry "$KIT/oci/blobs/sha256" >"$KIT/registry" 2>&1 9>&- & }

# Makes image $1 of an archive of CheckpointContainer's, as users do who send one through a registry: its files are the layer, and an
# annotation says that it is a checkpoint.
checkpoint_image() {
    mkdir -p "$D/oci/blobs/sha256"
    cp "$2" "$D/oci/new"
    image "$D/oci" "$REGISTRY/$1" '{}' ',"annotations":{"org.criu.checkpoint.container.name":"counter"}' >/dev/null
    eventually knows_image "$1"
}
