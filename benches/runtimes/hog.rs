//! A program that holds memory: this one, copied into the container.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The argument that turns this program into the hog.
pub(crate) const FLAG: &str = "--hog";

/// Fills `bytes` of memory and sleeps. No page of it is zero and no two are the same, so nothing can be left out of an image
/// or shared.
pub(crate) fn run(bytes: usize) -> ! {
    let mut memory = vec![0xa5_u8; bytes];
    for (number, page) in memory.chunks_mut(4096).enumerate() {
        for (byte, value) in page.iter_mut().zip(number.to_le_bytes()) {
            *byte = value;
        }
    }
    std::hint::black_box(&memory);
    loop {
        std::thread::park();
    }
}

/// The argument that turns this program into a clock.
pub(crate) const CLOCK: &str = "--clock";

/// Where the clock writes the longest time, in microseconds, in which it did not run.
pub(crate) const GAP: &str = "gap";

/// How long the clock sleeps.
const TICK: Duration = Duration::from_micros(100);

/// Holds `bytes` of memory, starts processes until there are so many, and notes down for how long it did not run.
pub(crate) fn clock(bytes: usize, processes: usize) -> Result<()> {
    let mut memory = vec![0xa5_u8; bytes];
    memory.chunks_mut(4096).enumerate().for_each(|(number, page)| page[0] = number as u8 | 1);
    std::hint::black_box(&memory);
    let own = std::env::current_exe()?;
    let others: Vec<_> =
        (1..processes).map(|_| Command::new(&own).args([FLAG, "1"]).spawn()).collect::<Result<_, _>>()?;
    std::thread::sleep(Duration::from_millis(100));
    let file = fs::File::create(Path::new("/").join(GAP))?;
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    loop {
        std::thread::sleep(TICK);
        let now = Instant::now();
        if now - last > longest {
            longest = now - last;
            file.write_all_at(format!("{:12}", longest.as_micros()).as_bytes(), 0)?;
        }
        last = now;
        std::hint::black_box(&others);
    }
}

/// Copies this program to `/hog` in `rootfs`, and the shared libraries that it needs, if any, to where it looks for them.
pub(crate) fn install(rootfs: &Path) -> Result<()> {
    let own = std::env::current_exe()?;
    fs::copy(&own, rootfs.join("hog")).context("copy the memory hog into the bundle")?;
    // For a static program ldd fails and lists nothing.
    let listed = Command::new("ldd").arg(&own).output().context("ldd")?.stdout;
    for line in String::from_utf8_lossy(&listed).lines() {
        if let Some(library) = line.split_whitespace().find_map(|word| word.strip_prefix('/')) {
            let target = rootfs.join(library);
            fs::create_dir_all(target.parent().unwrap_or(rootfs))?;
            fs::copy(Path::new("/").join(library), &target)
                .with_context(|| format!("copy /{library} into the bundle"))?;
        }
    }
    Ok(())
}

/// Whether the process `pid` has filled its `bytes` and sleeps.
pub(crate) fn is_ready(pid: i32, bytes: usize) -> Result<bool> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the memory hog has died")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let resident = field("VmRSS:").and_then(|text| text.trim_end_matches(" kB").parse::<usize>().ok());
    let asleep = field("State:").is_some_and(|state| state.starts_with('S'));
    Ok(asleep && resident.is_some_and(|kib| kib * 1024 >= bytes))
}
