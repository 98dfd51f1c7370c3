//! The command line itself: dashes, values, what is missing and what is too much.

use crate::differences::{EXIT_CODES, OTHER_WORDS, STRICTER, USAGE_EXIT};
use crate::engine::{Comparison, case};

fn line(name: &'static str, lines: &str) -> Comparison {
    case(name).sh("echo ran").steps(lines)
}

pub(crate) fn cases() -> Vec<Comparison> {
    [spelling(), wrong(), global()].into_iter().flatten().collect()
}

fn spelling() -> Vec<Comparison> {
    vec![
        line("one_dash", "run -bundle $B $I"),
        line("one_dash_and_equals", "run -bundle=$B $I"),
        line("two_dashes_and_equals", "run --bundle=$B $I"),
        line("short", "run -b $B $I"),
        line("short_and_equals", "run -b=$B $I"),
        line("boolean_twice", "run --no-pivot=false --keep=false --keep=false --bundle $B $I\nstate $I"),
        line("boolean_true", "run --keep=true --bundle $B $I\ndelete $I"),
        line("boolean_nonsense", "?run --keep=maybe --bundle $B $I"),
        line("boolean_repeated", "run --no-subreaper --no-subreaper --bundle $B $I"),
        line("value_repeated", "run --bundle /none --bundle $B $I"),
        line("value_that_begins_with_a_dash", "run --pid-file -x --bundle $D/none $I"),
        line("number_nonsense", "?run --preserve-fds x --bundle $B $I"),
        line("number_negative", "run --preserve-fds -1 --bundle $B $I").intended(&STRICTER),
        line("options_end", "run --bundle $B -- $I"),
        line("option_after_the_id", "run $I --bundle $B"),
        line("delete_option_after_the_id", "delete $I --force"),
        line("value_empty", "run --bundle= $I").intended(&OTHER_WORDS),
        line("three_dashes", "?run ---bundle $B $I"),
    ]
}

fn wrong() -> Vec<Comparison> {
    vec![
        line("unknown_flag", "?run --nonsense --bundle $B $I"),
        line("unknown_short_flag", "?run -x --bundle $B $I"),
        line("unknown_global_flag", "?bare --nonsense list"),
        line("unknown_command", "?nonsense").intended(&USAGE_EXIT),
        line("value_missing", "?run --bundle"),
        line("value_missing_short", "?run -b"),
        line("value_missing_of_global", "?bare --root"),
        line("value_missing_of_restore", "?restore --lsm-mount-context"),
        line("id_missing_run", "?run"),
        line("id_missing_create", "?create --bundle $B"),
        line("id_missing_state", "?state"),
        line("id_missing_start", "?start"),
        line("id_missing_kill", "?kill"),
        line("id_missing_delete", "?delete"),
        line("id_missing_exec", "?exec"),
        line("id_missing_ps", "?ps"),
        line("id_missing_pause", "?pause"),
        line("id_missing_resume", "?resume"),
        line("id_missing_checkpoint", "?checkpoint"),
        line("id_missing_restore", "?restore"),
        line("program_missing_exec", "?run --keep --bundle $B $I\n?exec $I").intended(&EXIT_CODES),
        line("too_many_state", "?state $I more"),
        line("too_many_list", "?list more"),
        line("too_many_run", "?run --bundle $B $I more"),
        line("too_many_spec", "?spec more"),
        line("too_many_kill", "?kill $I TERM more"),
        line("too_many_delete", "?delete $I more"),
        line("too_many_pause", "?pause $I more"),
    ]
}

fn global() -> Vec<Comparison> {
    vec![
        line("help", "?--help\n?-h\n?help\n?h"),
        line("help_of_a_command", "?help run\n?run --help\n?run -h\n?help exec"),
        line("help_of_nonsense", "?help nonsense").intended(&USAGE_EXIT),
        line("help_with_other_arguments", "?run --help nonsense more"),
        line("version", "?--version\n?-v"),
        line("nothing", "?bare"),
        line("log_format_unknown", "?bare --log-format nonsense list"),
        line(
            "log_in_text",
            "bare --root $R --log $D/log state $I\n! grep -c 'level=error msg=\"\\?container.*does not exist' $D/log",
        ),
        line(
            "log_in_json",
            "bare --root $R --log $D/log --log-format json state $I
             ! tail -1 $D/log | jq -c 'keys, .level'",
        ),
        line(
            "log_of_a_wrong_flag",
            "?bare --root $R --log $D/log --log-format json run --nonsense x\n! tail -1 $D/log | jq -c 'keys, .level'",
        ),
        line("log_in_no_directory", "?bare --root $R --log $D/none/log state $I"),
        line("log_unused", "bare --root $R --log $D/log list -q\n! wc -c <$D/log"),
        line("root_relative", "! cd $D\nbare --root=$R list -q"),
        line("rootless_nonsense", "bare --root $R --rootless nonsense run --bundle $B $I"),
        line(
            "rootless_false",
            "bare --root $R --rootless=false list -q\nbare --root $R --rootless auto list -q",
        ),
        line("criu_given", "bare --root $R --criu /usr/sbin/criu list -q"),
        line(
            "debug",
            "bare --root $R --debug --log $D/log run --bundle $B $I\n! test -s $D/log && echo written",
        ),
        line("systemd_cgroup_unused", "bare --root $R --systemd-cgroup=false list -q"),
    ]
}
