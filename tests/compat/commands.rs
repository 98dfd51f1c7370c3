//! Each command in each state that a container can be in, and what it prints.

use crate::differences::{EMPTY_LISTS, EXIT_CODES, FORMS_OF_A_FLAG, OTHER_WORDS, OWNER_AND_VERSION};
use crate::engine::{Comparison, case};
use testkit::json;

/// A container that stays.
fn sleeper(name: &'static str) -> Comparison {
    case(name).sh("exec sleep 1000")
}

/// Runs one, then takes the steps.
fn running(name: &'static str, steps: &str) -> Comparison {
    sleeper(name).steps("run -d --bundle $B $I").steps(steps)
}

fn created(name: &'static str, steps: &str) -> Comparison {
    sleeper(name).steps("create --bundle $B $I").steps(steps)
}

/// One that has ended, and is not deleted.
fn stopped(name: &'static str, steps: &str) -> Comparison {
    case(name)
        .sh("exit 3")
        .steps("run -d --bundle $B --pid-file $D/init $I\n! while test -e /proc/$(cat $D/init)/exe; do sleep 0.02; done")
        .steps(steps)
}

pub(crate) fn cases() -> Vec<Comparison> {
    [lives(), states(), kills(), execs(), lists(), files()].into_iter().flatten().collect()
}

fn lives() -> Vec<Comparison> {
    vec![
        created("create_and_start", "state $I\nstart $I\n! sleep 0.1\nstate $I\nkill $I KILL\n! sleep 0.2\nstate $I\ndelete $I\nstate $I").intended(&OWNER_AND_VERSION),
        created("start_twice", "start $I\n! sleep 0.1\nstart $I"),
        created("create_twice", "create --bundle $B $I"),
        created("run_in_place_of_start", "run --bundle $B $I"),
        created("created_deleted", "delete $I\nstate $I"),
        created("created_deleted_by_force", "delete --force $I\nstate $I"),
        created("created_paused", "pause $I\nstate $I\nresume $I\nstate $I").intended(&OWNER_AND_VERSION),
        created("created_exec", "exec $I echo hello"),
        created("created_ps", "ps --format json $I\nps $I nonsense").numbers(),
        running("running_deleted", "delete $I\nstate $I").intended(&OWNER_AND_VERSION),
        running("running_deleted_by_force", "delete -f $I\nstate $I"),
        running("running_run_again", "run --bundle $B $I"),
        running("running_started", "start $I"),
        running("paused", "pause $I\nstate $I\nresume $I\nstate $I").intended(&OWNER_AND_VERSION),
        running("paused_twice", "pause $I\npause $I\nstate $I").intended(&OWNER_AND_VERSION),
        running("resumed_without_pause", "resume $I"),
        running("paused_exec", "pause $I\nexec $I echo hello").intended(&EXIT_CODES),
        running("paused_kill", "pause $I\nkill $I KILL\n! sleep 0.2\nresume $I"),
        running("paused_deleted", "pause $I\ndelete $I"),
        running("paused_deleted_by_force", "pause $I\ndelete --force $I\nstate $I"),
        running("paused_listed", "pause $I\n! true\nps --format json $I").numbers(),
        stopped("stopped_state", "state $I").intended(&OWNER_AND_VERSION),
        stopped("stopped_start", "start $I"),
        stopped("stopped_exec", "exec $I echo hello").intended(&EXIT_CODES),
        stopped("stopped_kill", "kill $I TERM"),
        stopped("stopped_kill_all", "kill --all $I KILL"),
        stopped("stopped_pause", "pause $I"),
        stopped("stopped_resume", "resume $I"),
        stopped("stopped_ps", "ps --format json $I").intended(&EMPTY_LISTS),
        stopped("stopped_run_again", "run --bundle $B $I"),
        stopped("stopped_deleted", "delete $I\ndelete $I"),
        case("keep").sh("exit 5").steps("run --keep --bundle $B $I\nstate $I\ndelete $I").intended(&OWNER_AND_VERSION),
        case("without_keep").sh("exit 5").steps("run --bundle $B $I\nstate $I"),
    ]
}

fn states() -> Vec<Comparison> {
    let absent = |name, line| case(name).steps(line);
    vec![
        absent("absent_state", "state $I"),
        absent("absent_start", "start $I"),
        absent("absent_exec", "exec $I true").intended(&EXIT_CODES),
        absent("absent_kill", "kill $I"),
        absent("absent_pause", "pause $I"),
        absent("absent_resume", "resume $I"),
        absent("absent_ps", "ps $I"),
        absent("absent_delete", "delete $I"),
        absent("absent_delete_by_force", "delete --force $I"),
        absent("id_with_a_slash", "run --bundle $B a/b"),
        absent("id_that_climbs", "run --bundle $B ../x"),
        absent("id_of_dots", "run --bundle $B .."),
        absent("id_empty", "run --bundle $B ''"),
        absent("id_with_a_blank", "run --bundle $B 'a b'"),
        absent("id_with_signs", "state a+b_c-d.e"),
        absent("state_id_that_climbs", "state ../x"),
        case("root_missing").steps("bare --root $D/none/here list\nbare --root $D/none/here state $I"),
        case("root_made").steps("bare --root $D/none/here run --bundle $B $I\n! ls $D"),
    ]
}

fn kills() -> Vec<Comparison> {
    let trap = |name, steps: &str| {
        case(name)
            .sh("trap 'echo usr1 >/said' USR1; trap 'echo term >/said; exit' TERM; while :; do sleep 0.02; done")
            .steps("run -d --bundle $B $I\n! sleep 0.15")
            .steps(steps)
            .steps("! sleep 0.15; cat $B/rootfs/said 2>/dev/null; true")
    };
    vec![
        trap("kill", "kill $I"),
        trap("kill_by_name", "kill $I USR1"),
        trap("kill_by_long_name", "kill $I SIGUSR1"),
        trap("kill_in_small_letters", "kill $I sigusr1"),
        trap("kill_by_number", "kill $I 10"),
        trap("kill_zero", "kill $I 0"),
        trap("kill_unknown", "kill $I NONSENSE"),
        trap("kill_number_too_large", "kill $I 100").intended(&OTHER_WORDS),
        trap("kill_negative", "kill $I -1").intended(&OTHER_WORDS),
        trap("kill_real_time_unknown", "kill $I RTMIN+99"),
        running("kill_all", "kill --all $I KILL\n! sleep 0.2\nstate $I").intended(&OWNER_AND_VERSION),
        running("kill_all_short", "kill -a $I 9\n! sleep 0.2\nstate $I").intended(&OWNER_AND_VERSION),
        running("kill_stopped_signal", "kill $I STOP\nstate $I\nkill $I CONT\nkill $I KILL")
            .intended(&OWNER_AND_VERSION),
    ]
}

fn execs() -> Vec<Comparison> {
    vec![
        running("exec", "exec $I echo hello"),
        running("exec_status", "exec $I sh -c 'exit 9'"),
        running("exec_killed", "exec $I sh -c 'kill -15 $$'"),
        running("exec_missing", "exec $I no-such-program").intended(&EXIT_CODES),
        running("exec_missing_by_path", "exec $I /no/such").intended(&EXIT_CODES),
        running("exec_not_executable", "exec $I /etc/passwd").intended(&EXIT_CODES),
        running("exec_directory", "exec $I /etc").intended(&EXIT_CODES),
        running("exec_cwd", "exec --cwd /tmp $I pwd"),
        running("exec_cwd_missing", "exec --cwd /no/such $I pwd").intended(&EXIT_CODES),
        running("exec_cwd_relative", "exec --cwd tmp $I pwd").intended(&EXIT_CODES),
        running("exec_env", "exec --env A=1 --env B=2 -env C=3 $I env"),
        running("exec_env_without_sign", "exec -e A $I env").intended(&EXIT_CODES),
        running("exec_user", "exec --user 5:6 $I id"),
        running("exec_user_alone", "exec -u 5 $I id"),
        running("exec_user_by_name", "exec -u root $I id").intended(&EXIT_CODES),
        running("exec_user_bad_group", "exec -u 1:x $I id").intended(&EXIT_CODES),
        running("exec_groups", "exec -g 7 -g 8 $I id -G"),
        running("exec_mixed", "exec -e A=1 --env B=2 $I env").intended(&FORMS_OF_A_FLAG),
        running("exec_cap", "exec --cap CAP_SYS_ADMIN $I grep Cap /proc/self/status"),
        running("exec_cap_of_a_user", "exec -u 3 --cap CAP_SYS_ADMIN $I grep Cap /proc/self/status"),
        running("exec_cap_unknown", "exec --cap CAP_NONSENSE $I true"),
        running("exec_no_new_privs", "exec --no-new-privs $I grep NoNew /proc/self/status"),
        running("exec_options_after_the_program", "exec $I echo -d --user 5"),
        running("exec_dashes", "exec $I -- echo hello").intended(&EXIT_CODES),
        running("exec_pid_file", "exec -d --pid-file $D/pid $I sleep 5\n! test $(cat $D/pid) -gt 1 && echo pid; tail -c 1 $D/pid | wc -l"),
        running(
            "exec_process",
            "! echo '{\"args\": [\"id\"], \"cwd\": \"/\", \"user\": {\"uid\": 4, \"gid\": 5}, \"env\": [\"PATH=/bin\"]}' >$D/p
             exec --process $D/p $I
             exec -p $D/p $I",
        ),
        running("exec_process_missing", "exec --process $D/none $I").intended(&EXIT_CODES),
        running("exec_process_broken", "! echo '{' >$D/p\nexec --process $D/p $I").intended(&EXIT_CODES),
        running("exec_process_without_args", "! echo '{\"cwd\": \"/\"}' >$D/p\nexec --process $D/p $I").intended(&EXIT_CODES),
        running("exec_terminal_without_one", "exec --tty -d $I true").intended(&EXIT_CODES),
        running("exec_after_the_end", "kill $I KILL\n! sleep 0.2\nexec $I true").intended(&EXIT_CODES),
        running("exec_many", "exec $I true\nexec $I false\nexec $I true"),
        running("exec_background", "exec $I sh -c 'sleep 1 & echo started'"),
        running("exec_preserves_nothing", "exec $I ls /proc/self/fd"),
    ]
}

fn lists() -> Vec<Comparison> {
    vec![
        case("list_of_none").steps("list\nlist --format json\nlist --quiet\nlist -q").intended(&EMPTY_LISTS),
        running("list_quiet", "list -q\nlist --quiet --format json"),
        running("list_unknown_format", "list --format nonsense"),
        running("list_of_the_root", "! ls $R"),
        running("list_json", "list --format json").numbers().intended(&OWNER_AND_VERSION),
        running("list_table", "list").numbers(),
        running("ps_json", "ps --format json $I\nps -f json $I").numbers(),
        running("ps_with_options", "ps $I -o pid,user").numbers(),
        running("ps_unknown_format", "ps --format nonsense $I"),
        running("ps_without_pid", "ps $I -o comm"),
        running("ps_wrong_options", "ps $I --nonsense"),
    ]
}

fn files() -> Vec<Comparison> {
    vec![
        case("pid_file").sh("sleep 1000").steps(
            "run -d --pid-file $D/pid --bundle $B $I
             ! test -d /proc/$(cat $D/pid) && echo lives; tail -c 1 $D/pid | tr 0-9 N; stat -c %a $D/pid",
        ),
        case("pid_file_of_create")
            .sh("sleep 1000")
            .steps("create --pid-file $D/pid --bundle $B $I\n! test -s $D/pid && echo written"),
        case("pid_file_replaced").sh("true").steps(
            "! echo old >$D/pid\nrun --pid-file $D/pid --bundle $B $I\n! grep -c old $D/pid; ls -A $D",
        ),
        case("pid_file_in_no_directory").steps("run --pid-file $D/none/pid --bundle $B $I\n?state $I"),
        case("bundle_of_the_working_directory").sh("echo ran").steps("! true\nrun -b $B $I"),
        case("no_new_keyring").sh("echo ran").steps("run --no-new-keyring --bundle $B $I"),
        case("no_subreaper").sh("echo ran").steps("run --no-subreaper --bundle $B $I"),
        case("process_of_a_user_deleted")
            .set("/process/user/uid", json!(99))
            .sh("sleep 1000")
            .steps("run -d --bundle $B $I\ndelete --force $I\n! ls $R"),
    ]
}
