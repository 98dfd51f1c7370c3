//! For how long a container stands still in a checkpoint that leaves it running, as a process in it sees that: against its memory, and
//! against the number of its processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cases::{Subject, text};
use crate::plot::{Plot, Series};
use crate::stats::Quartiles;

/// As the command line picks it.
pub(crate) const TITLE: &str = "frozen time";

/// How many pairs are measured at each point.
const PAIRS: usize = 5;
const MEMORY_MIB: [usize; 6] = [1, 64, 128, 256, 512, 1024];
const PROCESSES: [usize; 5] = [1, 5, 10, 20, 50];

/// What is varied.
#[derive(Clone, Copy, Debug)]
enum Axis {
    Memory,
    Processes,
}

/// One checkpoint.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The longest that a process did not run, in ms.
    frozen: f64,
    /// The command's wall time, in ms.
    wall: f64,
    /// The part of it in which CRIU was not at work, in ms; rt alone tells.
    besides: Option<f64>,
}

/// The samples of one container, by runtime.
#[derive(Debug)]
struct Point {
    at: usize,
    rt: Vec<Sample>,
    runc: Vec<Sample>,
}

impl Axis {
    fn points(self) -> &'static [usize] {
        match self {
            Self::Memory => &MEMORY_MIB,
            Self::Processes => &PROCESSES,
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Memory => "MiB of memory",
            Self::Processes => "processes",
        }
    }

    /// The picture in docs/.
    fn file(self) -> &'static str {
        match self {
            Self::Memory => "frozen-memory.svg",
            Self::Processes => "frozen-processes.svg",
        }
    }
}

/// What was measured, and the pictures of it.
#[derive(Debug, Default)]
pub(crate) struct Frozen {
    /// A table.
    pub(crate) text: String,
    /// Their names and contents.
    pub(crate) pictures: Vec<(&'static str, String)>,
}

impl Frozen {
    /// Measures both curves.
    pub(crate) fn of(rt: &Subject<'_>, runc: &Subject<'_>) -> Result<Self> {
        let mut frozen = Self::default();
        frozen.text.push_str("\n| container | rt frozen ms | runc frozen ms | rt's frozen | rt's wall |\n");
        frozen.text.push_str("| --- | ---: | ---: | ---: | ---: |\n");
        let mut besides = None;
        for axis in [Axis::Memory, Axis::Processes] {
            let points: Vec<Point> =
                axis.points().iter().map(|at| Point::measure(axis, *at, rt, runc)).collect::<Result<_>>()?;
            points.iter().for_each(|point| frozen.text.push_str(&point.row(axis)));
            frozen.pictures.push((axis.file(), picture(axis, &points)));
            besides = besides.or(points.last().and_then(|point| median(&point.rt, |sample| sample.besides)));
        }
        if let Some(besides) = besides {
            let line =
                format!("\n- a checkpoint of 1 GiB takes rt {besides:.1} ms besides what CRIU takes\n");
            frozen.text.push_str(&line);
        }
        Ok(frozen)
    }

    /// Puts the pictures beside the page.
    pub(crate) fn write(&self) -> Result<()> {
        for (name, svg) in &self.pictures {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
            fs::write(&path, svg).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

impl Point {
    fn measure(axis: Axis, at: usize, rt: &Subject<'_>, runc: &Subject<'_>) -> Result<Self> {
        eprintln!("{TITLE}: {at} {} ({PAIRS} pairs) ...", axis.unit());
        let (mib, processes) = match axis {
            Axis::Memory => (at, 1),
            Axis::Processes => (1, at),
        };
        let mut point = Self { at, rt: Vec::new(), runc: Vec::new() };
        // One round to warm up.
        for round in 0..=PAIRS {
            let turns = if round % 2 == 0 { [true, false] } else { [false, true] };
            for is_rt in turns {
                let (subject, samples) = if is_rt { (rt, &mut point.rt) } else { (runc, &mut point.runc) };
                let sample = sample(subject, mib, processes, is_rt)?;
                if round > 0 {
                    samples.push(sample);
                }
            }
        }
        Ok(point)
    }

    fn row(&self, axis: Axis) -> String {
        let frozen = |samples: &[Sample]| median(samples, |it| Some(it.frozen)).unwrap_or(f64::NAN);
        let ratio = |of: fn(&Sample) -> f64| {
            let pairs = self.rt.iter().zip(&self.runc).map(|(rt, runc)| of(rt) / of(runc));
            Quartiles::new(pairs.collect()).median
        };
        format!(
            "| {} {} | {:.1} | {:.1} | {:.2} | {:.2} |\n",
            self.at,
            axis.unit(),
            frozen(&self.rt),
            frozen(&self.runc),
            ratio(|it| it.frozen),
            ratio(|it| it.wall)
        )
    }
}

/// One checkpoint of a container that lives on.
fn sample(subject: &Subject<'_>, mib: usize, processes: usize, tells: bool) -> Result<Sample> {
    subject.in_fresh_directory(|| {
        let bundle = subject.bundles.clock(mib << 20, processes)?;
        let _container = subject.start(&bundle)?;
        let gap = subject.bundles.gap();
        while !gap.exists() {
            subject.runner.check_interrupt()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        let (images, work, stats) = (subject.path("images"), subject.path("work"), subject.path("stats"));
        let mut line = vec![
            "checkpoint",
            "--leave-running",
            "--image-path",
            text(&images)?,
            "--work-path",
            text(&work)?,
        ];
        if tells {
            line.extend(["--stats", text(&stats)?]);
        }
        line.push(subject.id());
        let cost = subject.command(&line)?;
        std::thread::sleep(Duration::from_millis(20));
        let micros: u64 = fs::read_to_string(&gap)?.trim().parse().context("the longest gap")?;
        ensure!(micros > 0, "the clock in the container has stopped");
        fs::remove_file(&gap)?;
        let wall = cost.wall.as_secs_f64() * 1e3;
        let criu = tells.then(|| criu_ms(&stats)).transpose()?;
        Ok(Sample { frozen: micros as f64 / 1e3, wall, besides: criu.map(|criu| wall - criu) })
    })
}

fn criu_ms(stats: &Path) -> Result<f64> {
    let stats: Value = serde_json::from_slice(&fs::read(stats)?)?;
    Ok(stats["dump_us"].as_f64().context("rt's statistics have no dump_us")? / 1e3)
}

fn median(samples: &[Sample], of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let values: Vec<f64> = samples.iter().filter_map(of).collect();
    (!values.is_empty()).then(|| Quartiles::new(values).median)
}

fn picture(axis: Axis, points: &[Point]) -> String {
    let series = |name, of: fn(&Point) -> &Vec<Sample>| Series {
        name,
        points: points
            .iter()
            .filter_map(|point| Some((point.at as f64, median(of(point), |it| Some(it.frozen))?)))
            .collect(),
    };
    let title = format!("Frozen time of checkpoint --leave-running, by {}", axis.unit());
    Plot {
        title,
        x: axis.unit(),
        y: "ms",
        series: vec![series("rt", |p| &p.rt), series("runc", |p| &p.runc)],
    }
    .svg()
}
