# Packages of another Debian than the machine's: an apt of its own, which adds no source to the machine's and
# installs nothing. Sourced after common.bash.
# shellcheck shell=bash

MIRROR=${RT_DEBIAN_MIRROR:-http://deb.debian.org/debian}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Debian 12's first keyrings do not know Debian 13's keys yet, which sign the later ones too.
need_keyring() {
    if [ ! -e /usr/share/keyrings/debian-archive-trixie-automatic.gpg ]; then
        update_lists
        install_packages debian-archive-keyring
    fi
    [ -e "$KEYRING" ] || die "$KEYRING is missing; install the package debian-archive-keyring"
}

# Its sources, lists, cache and (empty) package status live in $PRIVATE_APT.
private_apt() { "$1" -q -c "$PRIVATE_APT/apt.conf" "${@:2}"; }

# Makes one for Debian $1 in directory $2, which apt's own user must be able to reach.
prepare_private_apt() {
    local suite=$1 arch
    PRIVATE_APT=$2
    arch=$(dpkg --print-architecture)
    mkdir -p "$PRIVATE_APT"/{lists/partial,cache/archives/partial,parts,log}
    : >"$PRIVATE_APT/status"
    : >"$PRIVATE_APT/empty"
    cat >"$PRIVATE_APT/sources.list" <<TEXT
deb [arch=$arch signed-by=$KEYRING] $MIRROR $suite main
TEXT
    # The host's hooks (command-not-found and the like) have no business here.
    cat >"$PRIVATE_APT/apt.conf" <<TEXT
Dir::State "$PRIVATE_APT";
Dir::State::status "$PRIVATE_APT/status";
Dir::State::lists "$PRIVATE_APT/lists/";
Dir::Cache "$PRIVATE_APT/cache";
Dir::Log "$PRIVATE_APT/log";
Dir::Etc::sourcelist "$PRIVATE_APT/sources.list";
Dir::Etc::sourceparts "$PRIVATE_APT/parts";
Dir::Etc::preferences "$PRIVATE_APT/empty";
Dir::Etc::preferencesparts "$PRIVATE_APT/parts";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear DPkg::Post-Invoke;
TEXT
    say "reading the package lists of Debian $suite"
    quietly "reading the package lists from $MIRROR" private_apt apt-get update
}

# Downloads packages $2... and all they depend on into directory $1; apt checks them against the signed lists.
download_with_dependencies() {
    local into=$1
    shift
    mkdir -p "$into/partial"
    quietly "downloading $*" \
        private_apt apt-get --yes --download-only -o "Dir::Cache::Archives=$into" install "$@"
    rm -rf "$into/partial" "$into/lock"
}
