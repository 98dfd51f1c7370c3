# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rt_global_optspecs
    string join \n debug log= log-format= root= criu= systemd-cgroup rootless= v/version h/help
end

function __fish_rt_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rt_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rt_using_subcommand
    set -l cmd (__fish_rt_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rt -n "__fish_rt_needs_command" -l log -d 'Write errors to this file, too' -r -F
complete -c rt -n "__fish_rt_needs_command" -l log-format -d 'The format of that file' -r -f -a "text\t''
json\t''"
complete -c rt -n "__fish_rt_needs_command" -l root -d 'Where the state of containers is kept [default: /run/rt, or $XDG_RUNTIME_DIR/rt without root]' -r -F
complete -c rt -n "__fish_rt_needs_command" -l criu -d 'The criu to use [default: $RT_CRIU, or criu in PATH]' -r -F
complete -c rt -n "__fish_rt_needs_command" -l rootless -d 'Ignore errors of cgroup permissions (true, false or auto)' -r
complete -c rt -n "__fish_rt_needs_command" -l debug -d 'Tell each step, with its time'
complete -c rt -n "__fish_rt_needs_command" -l systemd-cgroup -d 'Have systemd make the cgroups (linux.cgroupsPath is then SLICE:PREFIX:NAME)'
complete -c rt -n "__fish_rt_needs_command" -s v -l version -d 'Print the version'
complete -c rt -n "__fish_rt_needs_command" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_needs_command" -f -a "checkpoint" -d 'Freeze a container into a directory of images'
complete -c rt -n "__fish_rt_needs_command" -f -a "create" -d 'Make a container that waits to be started'
complete -c rt -n "__fish_rt_needs_command" -f -a "criu" -d 'About the CRIU of this machine'
complete -c rt -n "__fish_rt_needs_command" -f -a "delete" -d 'Delete a container that has ended'
complete -c rt -n "__fish_rt_needs_command" -f -a "docker" -d 'Checkpoint or restore a container of docker\'s or podman\'s from outside'
complete -c rt -n "__fish_rt_needs_command" -f -a "engine-config" -d 'Print what makes an engine use this runtime'
complete -c rt -n "__fish_rt_needs_command" -f -a "events" -d 'Print what a container uses, and when its memory is short, as JSON'
complete -c rt -n "__fish_rt_needs_command" -f -a "exec" -d 'Run one more process in a container'
complete -c rt -n "__fish_rt_needs_command" -f -a "features" -d 'Print what this runtime supports as JSON'
complete -c rt -n "__fish_rt_needs_command" -f -a "images" -d 'Show what an image directory holds'
complete -c rt -n "__fish_rt_needs_command" -f -a "kill" -d 'Send a signal to a container\'s init process'
complete -c rt -n "__fish_rt_needs_command" -f -a "lazy-pages" -d 'Bring memory to a container that is restored with --lazy-pages and the same --work-path'
complete -c rt -n "__fish_rt_needs_command" -f -a "list" -d 'List the containers'
complete -c rt -n "__fish_rt_needs_command" -f -a "page-server" -d 'Receive the memory of one checkpoint or pre-dump that is made elsewhere with --page-server'
complete -c rt -n "__fish_rt_needs_command" -f -a "pause" -d 'Freeze a container\'s processes'
complete -c rt -n "__fish_rt_needs_command" -f -a "ps" -d 'Print a container\'s processes'
complete -c rt -n "__fish_rt_needs_command" -f -a "restore" -d 'Bring a container back from a directory of images'
complete -c rt -n "__fish_rt_needs_command" -f -a "resume" -d 'Thaw a container\'s processes'
complete -c rt -n "__fish_rt_needs_command" -f -a "run" -d 'Make a container and start it'
complete -c rt -n "__fish_rt_needs_command" -f -a "spec" -d 'Write a config.json to start from'
complete -c rt -n "__fish_rt_needs_command" -f -a "start" -d 'Start a created container\'s program'
complete -c rt -n "__fish_rt_needs_command" -f -a "state" -d 'Print a container\'s state as JSON'
complete -c rt -n "__fish_rt_needs_command" -f -a "update" -d 'Change a container\'s limits'
complete -c rt -n "__fish_rt_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l image-path -d 'The directory of the images [default: ./checkpoint]' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l work-path -d 'The directory of CRIU\'s log and working files [default: the images\']' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l network-lock -d 'How packets are held back meanwhile (iptables, nftables or skip) [default: only where there are connections]' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l manage-cgroups-mode -d 'What CRIU does about cgroups (soft, full, strict or ignore)' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l empty-ns -d 'Leave what is in a namespace to somebody else (network is the only kind)' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l external -d 'A resource of the outside, in CRIU\'s words (mnt[PLACE]:NAME, unix[INODE], dev[MAJOR/MINOR]:NAME, ...)' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l cpu-cap -d 'What of the processor must be the same at the restore (none, all, or a list of fpu, cpu and ins) [default: not looked at]' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l criu-config -d 'A configuration file that CRIU reads last, and that wins [default: the bundle\'s, or the machine\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l stats -d 'Write the operation\'s times and counts as JSON to this file, or to stdout for `-`' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l pre-dump-mode -d 'How a pre-dump reads memory (splice or read) [default: splice]' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l parent-path -d 'The images of the pre-dump before, relative to --image-path: write only what changed since' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l page-server -d 'Send memory to the page server at this address instead of writing it; with --lazy-pages serve it there' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l status-fd -d 'Write a NUL byte to this descriptor when --lazy-pages is ready to serve' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l ghost-limit -d 'The largest unlinked file that is kept, in bytes (suffixes K, M, G) [default: 1M]' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l timeout -d 'Seconds that freezing may take [default: 10]' -r
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tls-cacert -d 'The authority that signed the other end\'s certificate [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tls-cacrl -d 'Certificates that it has revoked' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tls-cert -d 'Our certificate [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tls-key -d 'Its key [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l format -d 'How to print what --check finds [default: table]' -r -f -a "table\t''
json\t''"
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tcp-established -d 'Allow established TCP connections'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tcp-close -d 'Close TCP connections instead of keeping them'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tcp-skip-in-flight -d 'Leave out TCP connections that nobody has accepted yet'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l ext-unix-sk -d 'Allow unix sockets that are connected to the outside'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l shell-job -d 'Allow a session or terminal of the outside; whoever restores lends his'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l file-locks -d 'Handle file locks'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l auto-dedup -d 'Leave out memory that the other images of the chain have'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l leave-running -d 'Let the container run on (or stay paused) afterwards'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l leave-stopped -d 'Let the container stay, but paused: `resume` lets it run on, `delete --force` ends it'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l pre-dump -d 'Write its memory alone while it runs on, for a later checkpoint with --parent-path'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l track-mem -d 'Note down which memory changes from now on, for a checkpoint with this one as --parent-path'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l lazy-pages -d 'Keep the memory here and serve it page by page to whoever restores the container'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l link-remap -d 'Give unlinked files that have other names a temporary name for the restore'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l portable -d 'Write images that runc can restore as well; takes longer'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l sync -d 'Let go of the container only when the images are on the disk'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tls -d 'Encrypt memory on its way, and prove by certificates who is at either end'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l tls-no-cn-verify -d 'Accept a server whose address is not the name in its certificate'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -l check -d 'Only look whether this would work, without stopping anything; if not, the exit code is 1'
complete -c rt -n "__fish_rt_using_subcommand checkpoint" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand create" -s b -l bundle -d 'The bundle\'s directory [default: the current one]' -r -F
complete -c rt -n "__fish_rt_using_subcommand create" -l console-socket -d 'Send the terminal\'s master to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand create" -l pidfd-socket -d 'Send a descriptor of init to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand create" -l pid-file -d 'Write init\'s process id to this file' -r -F
complete -c rt -n "__fish_rt_using_subcommand create" -l preserve-fds -d 'Pass this many descriptors, from 3 on, to the container' -r
complete -c rt -n "__fish_rt_using_subcommand create" -l no-pivot -d 'Move the root instead of pivoting to it (for a root on a ramdisk)'
complete -c rt -n "__fish_rt_using_subcommand create" -l no-new-keyring -d 'Keep the caller\'s session keyring'
complete -c rt -n "__fish_rt_using_subcommand create" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand criu; and not __fish_seen_subcommand_from check help" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand criu; and not __fish_seen_subcommand_from check help" -f -a "check" -d 'Look whether CRIU and what it needs are there; if not, the exit code is 1'
complete -c rt -n "__fish_rt_using_subcommand criu; and not __fish_seen_subcommand_from check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rt -n "__fish_rt_using_subcommand criu; and __fish_seen_subcommand_from check" -s f -l format -d 'How to print what is found' -r -f -a "table\t''
json\t''"
complete -c rt -n "__fish_rt_using_subcommand criu; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand criu; and __fish_seen_subcommand_from help" -f -a "check" -d 'Look whether CRIU and what it needs are there; if not, the exit code is 1'
complete -c rt -n "__fish_rt_using_subcommand criu; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rt -n "__fish_rt_using_subcommand delete" -s f -l force -d 'End it first if it runs; one that does not exist is no error'
complete -c rt -n "__fish_rt_using_subcommand delete" -l regex -d 'Delete all containers whose ids match CONTAINER-ID, an extended regular expression'
complete -c rt -n "__fish_rt_using_subcommand delete" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand docker" -l output -d 'Restore: append its output to this file (standing alone) [default: `output` beside the images]' -r -F
complete -c rt -n "__fish_rt_using_subcommand docker" -l docker-binary -d 'The engine\'s command, docker or podman [default: $DOCKER_BINARY, or docker]' -r -F
complete -c rt -n "__fish_rt_using_subcommand docker" -l docker-home -d 'Where the engine keeps its containers [default: $DOCKER_HOME, or what the engine says]' -r -F
complete -c rt -n "__fish_rt_using_subcommand docker" -l criu-img-dir -d 'Where images are kept, a directory for each container [default: $CRIU_IMG_DIR, or criu_img in --docker-home]' -r -F
complete -c rt -n "__fish_rt_using_subcommand docker" -l criu-binary -d 'The criu to use [default: $CRIU_BINARY, or as rt finds it]' -r -F
complete -c rt -n "__fish_rt_using_subcommand docker" -l dockerinit-binary -d 'What docker before 1.9 mounts at /.dockerinit: a path, or a name in --docker-home/init [default: $DOCKERINIT_BINARY, or the one of docker\'s version]' -r -F
complete -c rt -n "__fish_rt_using_subcommand docker" -s c -l checkpoint -d 'Checkpoint a container'
complete -c rt -n "__fish_rt_using_subcommand docker" -s r -l restore -d 'Restore a container'
complete -c rt -n "__fish_rt_using_subcommand docker" -s v -l verbose -d 'Tell each step, CRIU\'s errors, and the restored process'
complete -c rt -n "__fish_rt_using_subcommand docker" -l print -d 'Print the request to CRIU (or the engine\'s command) and the mounts as JSON, and change nothing'
complete -c rt -n "__fish_rt_using_subcommand docker" -l leave-running -d 'Checkpoint: let the container run on'
complete -c rt -n "__fish_rt_using_subcommand docker" -l into-engine -d 'Restore: have the engine restore it [default: where the engine can]'
complete -c rt -n "__fish_rt_using_subcommand docker" -l alone -d 'Restore: bring it back standing alone'
complete -c rt -n "__fish_rt_using_subcommand docker" -l attach -d 'Restore: stay until it ends, with its terminal or its output here (standing alone)'
complete -c rt -n "__fish_rt_using_subcommand docker" -l tcp-established -d 'Keep established TCP connections'
complete -c rt -n "__fish_rt_using_subcommand docker" -l tcp-close -d 'Close TCP connections instead of keeping them'
complete -c rt -n "__fish_rt_using_subcommand docker" -l ext-unix-sk -d 'Allow unix sockets that are connected to the outside'
complete -c rt -n "__fish_rt_using_subcommand docker" -l file-locks -d 'Handle file locks'
complete -c rt -n "__fish_rt_using_subcommand docker" -l link-remap -d 'Give unlinked files that have other names a temporary name for the restore'
complete -c rt -n "__fish_rt_using_subcommand docker" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rt -n "__fish_rt_using_subcommand engine-config" -l binary -d 'The runtime\'s path to write down [default: that of this program]' -r -F
complete -c rt -n "__fish_rt_using_subcommand engine-config" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand events" -l interval -d 'The time between statistics (as 500ms, 5s or 1m30s)' -r
complete -c rt -n "__fish_rt_using_subcommand events" -l stats -d 'Print its statistics once, and be done'
complete -c rt -n "__fish_rt_using_subcommand events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rt -n "__fish_rt_using_subcommand exec" -l console-socket -d 'Send the terminal\'s master to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand exec" -l pidfd-socket -d 'Send a descriptor of the process to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand exec" -l cwd -d 'Working directory in the container' -r -F
complete -c rt -n "__fish_rt_using_subcommand exec" -s e -l env -d 'Set an environment variable (NAME=value; may be repeated)' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -s u -l user -d 'Run as this user (UID[:GID], numbers)' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -s g -l additional-gids -d 'Add a supplementary group (may be repeated)' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -s p -l process -d 'Read the whole process from this JSON file' -r -F
complete -c rt -n "__fish_rt_using_subcommand exec" -l pid-file -d 'Write its process id to this file' -r -F
complete -c rt -n "__fish_rt_using_subcommand exec" -l process-label -d 'Run with this SELinux label' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -l apparmor -d 'Run in this AppArmor profile' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -s c -l cap -d 'Add a capability (may be repeated)' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -l preserve-fds -d 'Pass this many descriptors, from 3 on, to it' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -l cgroup -d 'Run it in this sub-cgroup of the container\'s, which must exist (may be repeated, once for each controller)' -r
complete -c rt -n "__fish_rt_using_subcommand exec" -s t -l tty -d 'Give it a terminal'
complete -c rt -n "__fish_rt_using_subcommand exec" -s d -l detach -d 'Return when it runs, instead of when it has ended'
complete -c rt -n "__fish_rt_using_subcommand exec" -l no-new-privs -d 'execve(2) can no longer grant privileges'
complete -c rt -n "__fish_rt_using_subcommand exec" -l ignore-paused -d 'Start it in a paused container too'
complete -c rt -n "__fish_rt_using_subcommand exec" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand features" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand images" -s f -l format -d 'How to print it' -r -f -a "table\t''
json\t''"
complete -c rt -n "__fish_rt_using_subcommand images" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand kill" -s a -l all -d 'Send it to all of the container\'s processes'
complete -c rt -n "__fish_rt_using_subcommand kill" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l image-path -d 'The directory of the images [default: ./checkpoint]' -r -F
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l work-path -d 'The directory of CRIU\'s log and working files [default: the images\']' -r -F
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l status-fd -d 'Write a NUL byte to this descriptor when ready' -r
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l page-server -d 'Where a checkpoint with --lazy-pages serves the memory [default: it is in the images]' -r
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l tls-cacert -d 'The authority that signed the other end\'s certificate [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l tls-cacrl -d 'Certificates that it has revoked' -r -F
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l tls-cert -d 'Our certificate [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l tls-key -d 'Its key [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l tls -d 'Encrypt memory on its way, and prove by certificates who is at either end'
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -l tls-no-cn-verify -d 'Accept a server whose address is not the name in its certificate'
complete -c rt -n "__fish_rt_using_subcommand lazy-pages" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand list" -s f -l format -d 'How to print them' -r -f -a "table\t''
json\t''"
complete -c rt -n "__fish_rt_using_subcommand list" -s q -l quiet -d 'Print the ids only'
complete -c rt -n "__fish_rt_using_subcommand list" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand page-server" -l image-path -d 'The directory of the images [default: ./checkpoint]' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l work-path -d 'The directory of CRIU\'s log and working files [default: the images\']' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l status-fd -d 'Write a NUL byte to this descriptor when ready' -r
complete -c rt -n "__fish_rt_using_subcommand page-server" -l listen -d 'Where to listen, and nowhere else; port 0 is any free one. The address is printed once it is listened on' -r
complete -c rt -n "__fish_rt_using_subcommand page-server" -l parent-path -d 'The images of the pre-dump before, relative to --image-path' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l tls-cacert -d 'The authority that signed the other end\'s certificate [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l tls-cacrl -d 'Certificates that it has revoked' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l tls-cert -d 'Our certificate [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l tls-key -d 'Its key [default: CRIU\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand page-server" -l auto-dedup -d 'Take out of the images before what arrives anew'
complete -c rt -n "__fish_rt_using_subcommand page-server" -l sync -d 'Return when all that was received is on the disk'
complete -c rt -n "__fish_rt_using_subcommand page-server" -l tls -d 'Encrypt memory on its way, and prove by certificates who is at either end'
complete -c rt -n "__fish_rt_using_subcommand page-server" -l tls-no-cn-verify -d 'Accept a server whose address is not the name in its certificate'
complete -c rt -n "__fish_rt_using_subcommand page-server" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand pause" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand ps" -s f -l format -d 'How to print them' -r -f -a "table\t''
json\t''"
complete -c rt -n "__fish_rt_using_subcommand ps" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand restore" -l image-path -d 'The directory of the images [default: ./checkpoint]' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l work-path -d 'The directory of CRIU\'s log and working files [default: the images\']' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l network-lock -d 'How packets are held back meanwhile (iptables, nftables or skip) [default: only where there are connections]' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l manage-cgroups-mode -d 'What CRIU does about cgroups (soft, full, strict or ignore)' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l empty-ns -d 'Leave what is in a namespace to somebody else (network is the only kind)' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l external -d 'A resource of the outside, in CRIU\'s words (mnt[PLACE]:NAME, unix[INODE], dev[MAJOR/MINOR]:NAME, ...)' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l cpu-cap -d 'What of the processor must be the same at the restore (none, all, or a list of fpu, cpu and ins) [default: not looked at]' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l criu-config -d 'A configuration file that CRIU reads last, and that wins [default: the bundle\'s, or the machine\'s]' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l stats -d 'Write the operation\'s times and counts as JSON to this file, or to stdout for `-`' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -s b -l bundle -d 'The bundle\'s directory [default: the current one]' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l console-socket -d 'Send the terminal\'s master to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l pid-file -d 'Write init\'s process id to this file' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l preserve-fds -d 'Stand this many descriptors, from 3 on, for those that the container was passed when it was made' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l parent-path -d 'Accepted for the engines\' sake: the images know what they build on' -r -F
complete -c rt -n "__fish_rt_using_subcommand restore" -l lsm-profile -d 'Use another security profile (apparmor:NAME or selinux:LABEL)' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l lsm-mount-context -d 'Use another SELinux context for mounts' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l inherit-fd -d 'Stand this descriptor for a resource of the outside, in CRIU\'s words (fd[3]:pipe:[1234], fd[4]:file[1a:2b], ...)' -r
complete -c rt -n "__fish_rt_using_subcommand restore" -l tcp-established -d 'Allow established TCP connections'
complete -c rt -n "__fish_rt_using_subcommand restore" -l tcp-close -d 'Close TCP connections instead of keeping them'
complete -c rt -n "__fish_rt_using_subcommand restore" -l tcp-skip-in-flight -d 'Leave out TCP connections that nobody has accepted yet'
complete -c rt -n "__fish_rt_using_subcommand restore" -l ext-unix-sk -d 'Allow unix sockets that are connected to the outside'
complete -c rt -n "__fish_rt_using_subcommand restore" -l shell-job -d 'Allow a session or terminal of the outside; whoever restores lends his'
complete -c rt -n "__fish_rt_using_subcommand restore" -l file-locks -d 'Handle file locks'
complete -c rt -n "__fish_rt_using_subcommand restore" -l auto-dedup -d 'Leave out memory that the other images of the chain have'
complete -c rt -n "__fish_rt_using_subcommand restore" -s d -l detach -d 'Return when the container runs, instead of when it has ended'
complete -c rt -n "__fish_rt_using_subcommand restore" -l no-subreaper -d 'Do not adopt the container\'s orphans'
complete -c rt -n "__fish_rt_using_subcommand restore" -l no-pivot -d 'Accepted for runc\'s sake: CRIU makes the root, and always pivots'
complete -c rt -n "__fish_rt_using_subcommand restore" -l no-new-keyring -d 'Keep the caller\'s session keyring'
complete -c rt -n "__fish_rt_using_subcommand restore" -l lazy-pages -d 'Fetch memory when it is needed, from `criu lazy-pages` with the same --work-path'
complete -c rt -n "__fish_rt_using_subcommand restore" -l skip-file-rwx-check -d 'Accept files whose permissions have changed since the checkpoint'
complete -c rt -n "__fish_rt_using_subcommand restore" -l weak-sysctls -d 'Skip kernel parameters that this kernel does not have'
complete -c rt -n "__fish_rt_using_subcommand restore" -l mntns-compat-mode -d 'Restore mounts the way CRIU did before 3.17 (kernels older than 5.15)'
complete -c rt -n "__fish_rt_using_subcommand restore" -l leave-stopped -d 'Leave the container paused: not one of its processes runs before `resume`'
complete -c rt -n "__fish_rt_using_subcommand restore" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand resume" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand run" -s b -l bundle -d 'The bundle\'s directory [default: the current one]' -r -F
complete -c rt -n "__fish_rt_using_subcommand run" -l console-socket -d 'Send the terminal\'s master to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand run" -l pidfd-socket -d 'Send a descriptor of init to this unix socket' -r -F
complete -c rt -n "__fish_rt_using_subcommand run" -l pid-file -d 'Write init\'s process id to this file' -r -F
complete -c rt -n "__fish_rt_using_subcommand run" -l preserve-fds -d 'Pass this many descriptors, from 3 on, to the container' -r
complete -c rt -n "__fish_rt_using_subcommand run" -l no-pivot -d 'Move the root instead of pivoting to it (for a root on a ramdisk)'
complete -c rt -n "__fish_rt_using_subcommand run" -l no-new-keyring -d 'Keep the caller\'s session keyring'
complete -c rt -n "__fish_rt_using_subcommand run" -s d -l detach -d 'Return when the container runs, instead of when it has ended'
complete -c rt -n "__fish_rt_using_subcommand run" -l keep -d 'Do not delete the container when it has ended'
complete -c rt -n "__fish_rt_using_subcommand run" -l no-subreaper -d 'Do not adopt the container\'s orphans'
complete -c rt -n "__fish_rt_using_subcommand run" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand spec" -s b -l bundle -d 'The directory to write it to [default: the current one]' -r -F
complete -c rt -n "__fish_rt_using_subcommand spec" -l rootless -d 'For a container of an unprivileged user'
complete -c rt -n "__fish_rt_using_subcommand spec" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand start" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand state" -s h -l help -d 'Print help'
complete -c rt -n "__fish_rt_using_subcommand update" -s r -l resources -d 'Read all changes from this file, as the `linux.resources` of config.json, and ignore the other options (- is stdin)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l blkio-weight -d 'Weight among others that use the same disks (10 to 1000)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-period -d 'Period of the processor quota, in microseconds' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-quota -d 'Processor time in each period, in microseconds' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-burst -d 'Unused processor time that may be saved for later periods, in microseconds' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-share -d 'Weight among others that want to run (2 to 262144)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-rt-period -d 'Period of the quota for realtime processes, in microseconds' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-rt-runtime -d 'Time for realtime processes in each period, in microseconds' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpuset-cpus -d 'Processors to run on (0-3,8)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpuset-mems -d 'Memory nodes to use (0-1)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l kernel-memory -d 'Obsolete, and ignored' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l kernel-memory-tcp -d 'Obsolete, and ignored' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l memory -d 'Memory' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l cpu-idle -d 'Run only when nobody else wants to (1), or not (0)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l memory-reservation -d 'Memory that it keeps when memory is short' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l memory-swap -d 'Memory and swap together' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l pids-limit -d 'Number of processes and threads' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l l3-cache-schema -d 'Parts of the L3 cache to fill (Intel RDT/CAT)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -l mem-bw-schema -d 'Memory bandwidth (Intel RDT/MBA)' -r
complete -c rt -n "__fish_rt_using_subcommand update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "checkpoint" -d 'Freeze a container into a directory of images'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "create" -d 'Make a container that waits to be started'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "criu" -d 'About the CRIU of this machine'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "delete" -d 'Delete a container that has ended'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "docker" -d 'Checkpoint or restore a container of docker\'s or podman\'s from outside'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "engine-config" -d 'Print what makes an engine use this runtime'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "events" -d 'Print what a container uses, and when its memory is short, as JSON'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "exec" -d 'Run one more process in a container'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "features" -d 'Print what this runtime supports as JSON'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "images" -d 'Show what an image directory holds'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "kill" -d 'Send a signal to a container\'s init process'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "lazy-pages" -d 'Bring memory to a container that is restored with --lazy-pages and the same --work-path'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "list" -d 'List the containers'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "page-server" -d 'Receive the memory of one checkpoint or pre-dump that is made elsewhere with --page-server'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "pause" -d 'Freeze a container\'s processes'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "ps" -d 'Print a container\'s processes'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "restore" -d 'Bring a container back from a directory of images'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "resume" -d 'Thaw a container\'s processes'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "run" -d 'Make a container and start it'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "spec" -d 'Write a config.json to start from'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "start" -d 'Start a created container\'s program'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "state" -d 'Print a container\'s state as JSON'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "update" -d 'Change a container\'s limits'
complete -c rt -n "__fish_rt_using_subcommand help; and not __fish_seen_subcommand_from checkpoint create criu delete docker engine-config events exec features images kill lazy-pages list page-server pause ps restore resume run spec start state update help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rt -n "__fish_rt_using_subcommand help; and __fish_seen_subcommand_from criu" -f -a "check" -d 'Look whether CRIU and what it needs are there; if not, the exit code is 1'
