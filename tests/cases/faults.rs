//! Every step of a command fails in turn, or is its last: strace makes the n-th call of each kind fail, or kills who makes it.
//! Whatever the step, nothing of the container stays.
//!
//! A process of its own counts its own calls, so "the n-th" is that of the command, of init and of what else there is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use testkit::{Case, Cmd, Container, Fallible, Outcome, Test, needs, rounds, rt_only};

use super::counter::{COUNTER, counts_on, is_unbroken};
use super::{SLEEPER, one_line};

const WHY: &str = "runc's Go runtime makes other calls each time";

/// What a step of making a container consists of. Left out are the calls by which things are taken back (rmdir, getdents,
/// unlink, kill, wait), and those without which a program cannot even say what is wrong (mmap, write to stderr), or which cannot fail (umask).
const STEPS: &str = "accept4,bind,capset,chdir,chroot,clone3,close_range,connect,dup2,dup3,epoll_create1,execveat,\
    faccessat2,fchdir,fchmodat,fchownat,flock,fsconfig,fsmount,fsopen,fstat,fstatfs,ioctl,keyctl,listen,\
    memfd_create,mkdir,mkdirat,mknodat,mount,mount_setattr,move_mount,newfstatat,open_tree,openat,openat2,pidfd_open,\
    pivot_root,prlimit64,prctl,readlink,readlinkat,recvfrom,recvmsg,rename,renameat,renameat2,sendmsg,setgroups,\
    sethostname,setns,setresgid,setresuid,setsid,signalfd4,socket,socketpair,statx,symlinkat,umount2,unshare";

/// strace follows all children, which is only as fast as it is with a filter.
const ALL: &[&str] = &["-f", "--seccomp-bpf"];

/// How many calls of one kind are tried: the first ones, and then some that are spread over the rest.
const TRIED: usize = 12;

/// For how long one case goes on, once it has tried some kinds of calls; what is left out then is said.
const BUDGET: Duration = Duration::from_secs(12);

pub(crate) fn cases() -> Vec<Case> {
    [
        rt_only("each_step_of_run_fails", WHY, |test| {
            each(test, "error=EIO", "true", |c| c.run_foreground(&[]), clean)
        }),
        rt_only("each_step_of_create_fails", WHY, |test| {
            each(test, "error=EIO", SLEEPER, |c| c.quiet("create", &[]), created)
        }),
        rt_only("each_step_of_run_is_the_last", WHY, |test| {
            each(test, "signal=KILL", "true", |c| c.run_foreground(&[]), |c, _| swept(c))
        }),
        rt_only("each_step_of_exec_fails", WHY, |test| exec(test, "error=EIO")),
        rt_only("each_step_of_exec_is_the_last", WHY, |test| exec(test, "signal=KILL")),
        rt_only("each_step_of_checkpoint_fails", WHY, checkpoint).needs(needs::criu),
        rt_only("each_step_of_restore_fails", WHY, restore).needs(needs::criu),
    ]
    .into_iter()
    .map(|case| case.needs(needs::strace))
    .collect()
}

/// The command under strace, as a child of ours still (`-D`), so that a container may outlive it. `follow` says which of its
/// children are traced, too.
fn traced(command: Cmd, follow: &[&str], expressions: &[&str], output: &str) -> Cmd {
    let options = [&["-D", "-qq", "-o", output], follow].concat();
    let expressions = expressions.iter().flat_map(|expression| ["-e", expression]);
    let words: Vec<_> = options.into_iter().chain(expressions).collect();
    command.under("strace", &words)
}

/// How many calls of each kind the busiest process of a command makes.
fn count(test: &Test, follow: &[&str], command: Cmd) -> Fallible<BTreeMap<String, usize>> {
    let trace = test.new_path("trace");
    traced(command, follow, &[&format!("trace={STEPS}")], &trace).succeeds()?;
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in std::fs::read_to_string(&trace)?.lines() {
        // Only with several processes is there a number before each call.
        let is_numbered = line.starts_with(|c: char| c.is_ascii_digit());
        let (pid, call) = if is_numbered { line.split_once(' ').unwrap_or_default() } else { ("", line) };
        let Some((name, _)) = call.trim().split_once('(') else { continue };
        if !STEPS.split(',').any(|step| step == name) {
            continue;
        }
        *counts.entry((name.to_owned(), pid.to_owned())).or_default() += 1;
    }
    let mut most = BTreeMap::new();
    for ((name, _), count) in counts {
        let entry = most.entry(name).or_insert(0);
        *entry = count.max(*entry);
    }
    Ok(most)
}

/// Which of `count` calls are tried.
fn sample(count: usize) -> Vec<usize> {
    let step = count.div_ceil(TRIED).max(1);
    (1..=count).step_by(step).collect()
}

/// Does `what` at one call after the other of the command that `make` gives; `check` looks at what came of it.
fn at_each(
    test: &Test,
    what: &str,
    follow: &[&str],
    make: &dyn Fn() -> Cmd,
    undo: &dyn Fn() -> Outcome,
    check: &dyn Fn(&testkit::Output) -> Outcome,
) -> Outcome {
    let counts = count(test, follow, make())?;
    undo()?;
    // One call of each kind, then the next: with too little time all kinds have had their turn.
    let mut plan: Vec<(usize, &String, usize)> = Vec::new();
    for (name, count) in &counts {
        plan.extend(sample(*count).into_iter().enumerate().map(|(turn, number)| (turn, name, number)));
    }
    plan.sort();
    let enough = counts.len().min(rounds(20));
    let (started, mut tried) = (Instant::now(), 0);
    for (_, name, number) in &plan {
        if tried >= enough && started.elapsed() > BUDGET {
            break;
        }
        let expressions = [format!("trace={name}"), format!("inject={name}:{what}:when={number}")];
        let [trace, inject] = &expressions;
        let output = traced(make(), follow, &[trace, inject], "/dev/null").output()?;
        let result = check(&output);
        result
            .map_err(|e| format!("{what} at {name} #{number}: {}\n{output}", e.message().unwrap_or("?")))?;
        tried += 1;
    }
    let total: usize = counts.values().sum();
    println!("{what}: {tried} of {total} calls of {} kinds tried", counts.len());
    Ok(())
}

fn each(
    test: &Test,
    what: &str,
    script: &str,
    make: fn(&Container<'_>) -> Cmd,
    check: fn(&Container<'_>, &testkit::Output) -> Outcome,
) -> Outcome {
    let bundle = test.bundle()?.script(script).build()?;
    let container = test.container(&bundle);
    at_each(test, what, ALL, &|| make(&container), &|| container.delete(), &|output| {
        check(&container, output)
    })
}

/// It went well in spite of all, or failed in one line; nothing is left.
fn clean(container: &Container<'_>, output: &testkit::Output) -> Outcome {
    if output.code != 0 {
        says_why(container.test, output)?;
    }
    removed(container, output)
}

/// Nothing is left, or what failed is the removal itself, and the next one does it.
fn removed(container: &Container<'_>, output: &testkit::Output) -> Outcome {
    let said = ["remove ", "undo: ", " lock "].iter().any(|word| output.stderr.contains(word));
    if said { swept(container) } else { container.test.leaves_nothing() }
}

/// One line, unless it is the loader of a dynamically linked `rt` that fails, or the user's program.
fn says_why(test: &Test, output: &testkit::Output) -> Outcome {
    let excused = output.stderr.contains("error while loading shared libraries");
    if excused { Ok(()) } else { one_line(test, output, &[]) }
}

/// A created container is one, or there is nothing.
fn created(container: &Container<'_>, output: &testkit::Output) -> Outcome {
    if output.code == 0 {
        return swept(container);
    }
    removed(container, output)
}

/// Killed: the next command cleans up.
fn swept(container: &Container<'_>) -> Outcome {
    container.delete()?;
    container.test.leaves_nothing()
}

/// The container is as before, with no process more.
fn exec(test: &Test, what: &str) -> Outcome {
    let container = test.run_script(SLEEPER)?;
    let kills = what.contains("KILL");
    testkit::wait_until("the sleeper", || container.pids().is_ok_and(|pids| pids.len() == 2))?;
    let before = 2;
    at_each(test, what, ALL, &|| container.exec(&[], &["true"]), &|| Ok(()), &|output| {
        if output.code != 0 && !kills {
            says_why(test, output)?;
        }
        testkit::wait_until("it is gone", || container.pids().is_ok_and(|pids| pids.len() == before))?;
        assert_eq!(container.status()?, "running");
        Ok(())
    })?;
    container.exec(&[], &["true"]).succeeds()?;
    container.delete()
}

/// Whatever fails, the container runs on, or it is in the images. criu is left alone, as below.
fn checkpoint(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(COUNTER).build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = std::cell::RefCell::new(String::new());
    let back = || {
        if container.status()? == "absent" {
            container.restore(&images.borrow(), &[])?;
        }
        counts_on(&container.bundle, "/log", 3)?;
        is_unbroken(&container.bundle, "/log")
    };
    at_each(
        test,
        "error=EIO",
        &[],
        &|| {
            images.replace(test.new_path("images"));
            container.cmd("checkpoint", &["--image-path", &images.borrow()])
        },
        &back,
        &|output| {
            if output.code != 0 {
                says_why(test, output)?;
            } else {
                assert_eq!(container.status()?, "absent");
            }
            back()
        },
    )?;
    container.delete()
}

/// Nothing is left, and the images are as good as before. criu is left alone: it needs ptrace(2) for itself.
fn restore(test: &Test) -> Outcome {
    let container = test.container(&test.bundle()?.script(COUNTER).build()?);
    container.run(&[])?;
    counts_on(&container.bundle, "/log", 3)?;
    let images = test.new_path("images");
    container.checkpoint(&images, &[])?;
    let flags = ["--detach", "--image-path", &images];
    at_each(
        test,
        "error=EIO",
        &[],
        &|| container.quiet("restore", &flags),
        &|| container.delete(),
        &|output| {
            if output.code == 0 { swept(&container) } else { removed(&container, output) }
        },
    )?;
    container.restore(&images, &[])?;
    counts_on(&container.bundle, "/log", 3)
}
