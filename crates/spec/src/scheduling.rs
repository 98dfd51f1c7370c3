//! What a process asks of the scheduler, the disks and the memory nodes; in the kernel's numbers.

use crate::oci::{
    self, ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy,
    MemoryPolicyFlagType as NodeFlag, MemoryPolicyModeType as Mode,
};
use crate::{Error, Result};

/// The most processors or memory nodes that a list may name: as many as a kernel can be built for.
const MAX_NUMBER: u32 = 8192;

/// The processors or memory nodes of a list like `0-3,7`, as a bit mask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberSet {
    /// Bit n of the whole: number n. No trailing zeros.
    pub words: Vec<u64>,
}

impl NumberSet {
    /// Parses a list as taskset(1) and numactl(8) take it: numbers and ranges, separated by commas. Blanks and empty
    /// elements are ignored. `path` names the field in errors.
    pub fn parse(text: &str, path: &str) -> Result<Self> {
        let mut set = Self::default();
        for element in text.split(',').map(str::trim).filter(|element| !element.is_empty()) {
            let (first, last) = element.split_once('-').unwrap_or((element, element));
            let number = |part: &str| {
                part.trim().parse().ok().filter(|n| *n < MAX_NUMBER).ok_or_else(|| {
                    Error::field(path, format!("{element:?} is no number below {MAX_NUMBER} and no range"))
                })
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(Error::field(path, format!("the range {element:?} ends before it begins")));
            }
            (first..=last).for_each(|n| set.insert(n));
        }
        Ok(set)
    }

    fn insert(&mut self, number: u32) {
        let (word, bit) = (number as usize / 64, number % 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
    }

    /// Whether no number is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }
}

/// `process.scheduler` (sched_setattr(2)); the fields have the kernel's meaning and units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// -20 to 19.
    pub nice: i32,
    /// Static priority of the real-time policies.
    pub priority: u32,
    /// Nanoseconds of each period; with SCHED_DEADLINE.
    pub runtime: u64,
    /// In nanoseconds.
    pub deadline: u64,
    /// In nanoseconds.
    pub period: u64,
}

impl Scheduler {
    /// Checks by runc's rules, which are those of the man page.
    pub(crate) fn of(given: &oci::Scheduler) -> Result<Self> {
        let policy = *given.policy();
        let error = |field: &str, reason: String| Error::field(format!("process.scheduler{field}"), reason);
        let nice = given.nice().unwrap_or(0);
        if matches!(policy, Policy::SchedOther | Policy::SchedBatch) && !(-20..=19).contains(&nice) {
            return Err(error(".nice", format!("{nice} is not between -20 and 19")));
        }
        let priority = given.priority().unwrap_or(0);
        if priority != 0 && !matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
            return Err(error(
                ".priority",
                "can only be specified for the policies SCHED_FIFO and SCHED_RR".into(),
            ));
        }
        let times = [given.runtime(), given.deadline(), given.period()].map(|time| time.unwrap_or(0));
        if times != [0; 3] && policy != Policy::SchedDeadline {
            return Err(error(
                "",
                "runtime, deadline and period can only be specified for the policy SCHED_DEADLINE".into(),
            ));
        }
        let [runtime, deadline, period] = times;
        Ok(Self {
            policy: policy_number(policy),
            flags: given.flags().iter().flatten().fold(0, |all, flag| all | flag_bit(*flag)),
            nice,
            priority: u32::try_from(priority).map_err(|_| error(".priority", "is negative".into()))?,
            runtime,
            deadline,
            period,
        })
    }
}

/// linux/sched.h
fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

/// linux/sched.h
fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

/// `process.ioPriority` as ioprio_set(2) takes it: the class above bit 13, the level below.
pub(crate) fn io_priority(given: LinuxIOPriority) -> Result<u16> {
    let class = match given.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u16::try_from(given.priority()) {
        Ok(level @ 0..=7) => Ok(class << 13 | level),
        _ => Err(Error::field(
            "process.ioPriority.priority",
            format!("{} is not between 0 and 7", given.priority()),
        )),
    }
}

/// `process.execCPUAffinity`: the processors of an exec'ed process before and after it enters the container's cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuAffinity {
    /// Before.
    pub initial: Option<NumberSet>,
    /// After; None leaves it to the cpuset.
    pub finally: Option<NumberSet>,
}

impl CpuAffinity {
    pub(crate) fn of(given: &ExecCPUAffinity) -> Result<Self> {
        let parse = |list: &Option<String>, name: &str| -> Result<Option<NumberSet>> {
            let path = format!("process.execCPUAffinity.{name}");
            let set = list.as_deref().map(|text| NumberSet::parse(text, &path)).transpose()?;
            Ok(set.filter(|set| !set.is_empty()))
        };
        Ok(Self {
            initial: parse(given.initial(), "initial")?,
            finally: parse(given.cpu_affinity_final(), "final")?,
        })
    }
}

/// `linux.memoryPolicy` (set_mempolicy(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `MPOL_*` with its flags.
    pub mode: u32,
    /// The memory nodes.
    pub nodes: NumberSet,
}

impl MemoryPolicy {
    pub(crate) fn of(given: &LinuxMemoryPolicy) -> Result<Self> {
        let path = "linux.memoryPolicy.nodes";
        let nodes = NumberSet::parse(given.nodes().as_deref().unwrap_or_default(), path)?;
        let mode = given.mode();
        match mode {
            Mode::MpolDefault | Mode::MpolLocal if !nodes.is_empty() => {
                return Err(Error::field(path, format!("must be empty with mode {mode}")));
            }
            Mode::MpolBind
            | Mode::MpolInterleave
            | Mode::MpolPreferredMany
            | Mode::MpolWeightedInterleave
                if nodes.is_empty() =>
            {
                return Err(Error::field(path, format!("must name at least one node with mode {mode}")));
            }
            _ => {}
        }
        let flags = given.flags().iter().flatten().fold(0, |all, flag| all | node_flag_bit(*flag));
        Ok(Self { mode: mode_number(mode) | flags, nodes })
    }
}

/// linux/mempolicy.h
fn mode_number(mode: Mode) -> u32 {
    match mode {
        Mode::MpolDefault => 0,
        Mode::MpolPreferred => 1,
        Mode::MpolBind => 2,
        Mode::MpolInterleave => 3,
        Mode::MpolLocal => 4,
        Mode::MpolPreferredMany => 5,
        Mode::MpolWeightedInterleave => 6,
    }
}

/// linux/mempolicy.h
fn node_flag_bit(flag: NodeFlag) -> u32 {
    match flag {
        NodeFlag::MpolFStaticNodes => 1 << 15,
        NodeFlag::MpolFRelativeNodes => 1 << 14,
        NodeFlag::MpolFNumaBalancing => 1 << 13,
    }
}

/// The execution domain of `linux.personality` (personality(2)).
pub(crate) fn personality(given: &LinuxPersonality) -> u32 {
    match given.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(json: &str) -> std::result::Result<Scheduler, String> {
        Scheduler::of(&serde_json::from_str(json).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn lists_of_numbers() {
        let words = |text| NumberSet::parse(text, "p").map(|set| set.words).map_err(|e| e.to_string());
        assert_eq!(words("0-3,7").unwrap(), [0b1000_1111]);
        assert_eq!(words(" 1 , ,64").unwrap(), [2, 1]);
        assert_eq!(words("").unwrap(), [0u64; 0]);
        for bad in ["x", "-1", "1-", "8192", "3-1", "1--2", "99999999999"] {
            assert!(words(bad).is_err_and(|e| e.starts_with("config.json: p: ")), "{bad}");
        }
    }

    #[test]
    fn scheduler_by_the_rules_of_the_man_page() {
        let attr =
            scheduler(r#"{"policy":"SCHED_RR","priority":5,"flags":["SCHED_RESET_ON_FORK"]}"#).unwrap();
        assert_eq!((attr.policy, attr.priority, attr.flags), (2, 5, 1));
        let deadline = r#"{"policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3}"#;
        assert_eq!(scheduler(deadline).unwrap().period, 3);
        for (json, word) in [
            (r#"{"policy":"SCHED_OTHER","nice":20}"#, "scheduler.nice: 20"),
            (r#"{"policy":"SCHED_BATCH","priority":1}"#, "scheduler.priority"),
            (r#"{"policy":"SCHED_FIFO","priority":-1}"#, "is negative"),
            (r#"{"policy":"SCHED_IDLE","period":1}"#, "SCHED_DEADLINE"),
        ] {
            assert!(scheduler(json).is_err_and(|e| e.contains(word)), "{json}");
        }
    }

    #[test]
    fn memory_policies_need_the_nodes_that_they_use() {
        let of =
            |json: &str| MemoryPolicy::of(&serde_json::from_str(json).unwrap()).map_err(|e| e.to_string());
        let policy = of(r#"{"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES"]}"#).unwrap();
        assert_eq!((policy.mode, policy.nodes.words), (2 | 1 << 15, vec![1]));
        assert!(of(r#"{"mode":"MPOL_PREFERRED"}"#).is_ok());
        assert!(of(r#"{"mode":"MPOL_BIND"}"#).is_err_and(|e| e.contains("at least one node")));
        assert!(of(r#"{"mode":"MPOL_LOCAL","nodes":"0"}"#).is_err_and(|e| e.contains("must be empty")));
    }

    #[test]
    fn io_priorities_have_eight_levels() {
        let of = |json: &str| io_priority(serde_json::from_str(json).unwrap());
        assert_eq!(of(r#"{"class":"IOPRIO_CLASS_IDLE","priority":7}"#).unwrap(), 3 << 13 | 7);
        assert!(of(r#"{"class":"IOPRIO_CLASS_RT","priority":8}"#).is_err());
        assert!(of(r#"{"class":"IOPRIO_CLASS_RT","priority":-1}"#).is_err());
    }

    #[test]
    fn personality_has_two_domains() {
        let of = |json: &str| personality(&serde_json::from_str(json).unwrap());
        assert_eq!(of(r#"{"domain":"LINUX32"}"#), 8);
        assert_eq!(of(r#"{"domain":"LINUX","flags":["X"]}"#), 0);
    }
}
