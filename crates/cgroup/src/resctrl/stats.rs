//! What a group uses, and of what; the JSON is runc's (`events --stats`, `intel_rdt`).

use std::path::Path;

use rustix::fs::OFlags;
use serde::Serialize;

use super::schemata::line_of;
use super::{Group, Result, SCHEMATA};
use crate::files;

/// The share of a container, of caches and of memory bandwidth.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<CacheInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    l3_cache_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<BandwidthInfo>,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema_root: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    mem_bw_schema: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<Bandwidth>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<Occupancy>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct CacheInfo {
    cbm_mask: String,
    min_cbm_bits: u64,
    num_closids: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct BandwidthInfo {
    bandwidth_gran: u64,
    delay_linear: u64,
    min_bandwidth: u64,
    num_closids: u64,
}

/// Bytes since the group is there, for one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Bandwidth {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

/// Bytes of one cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Occupancy {
    llc_occupancy: u64,
}

impl Group {
    /// What the group may use and uses. The counters are the container's own where it has such, else those of its class.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let own = self.read(&self.class.join(SCHEMATA))?;
        let all = self.read(&self.root.join(SCHEMATA))?;
        let info = self.root.join("info");
        let l3 = info.join("L3");
        if l3.is_dir() {
            stats.l3_cache_info = Some(CacheInfo {
                cbm_mask: text(&l3, "cbm_mask"),
                min_cbm_bits: number(&l3, "min_cbm_bits"),
                num_closids: number(&l3, "num_closids"),
            });
            line_of("L3", &all).clone_into(&mut stats.l3_cache_schema_root);
            line_of("L3", &own).clone_into(&mut stats.l3_cache_schema);
        }
        let mb = info.join("MB");
        if mb.is_dir() {
            stats.mem_bw_info = Some(BandwidthInfo {
                bandwidth_gran: number(&mb, "bandwidth_gran"),
                delay_linear: number(&mb, "delay_linear"),
                min_bandwidth: number(&mb, "min_bandwidth"),
                num_closids: number(&mb, "num_closids"),
            });
            line_of("MB", &all).clone_into(&mut stats.mem_bw_schema_root);
            line_of("MB", &own).clone_into(&mut stats.mem_bw_schema);
        }
        self.count(&mut stats, &text(&info.join("L3_MON"), "mon_features"));
        Ok(stats)
    }

    /// Fills in the counters: a directory for each domain, a file for each feature.
    fn count(&self, stats: &mut Stats, features: &str) {
        let has = |name: &str| features.lines().any(|feature| feature == name);
        let counters = self.monitor.as_ref().unwrap_or(&self.class).join("mon_data");
        let domains = std::fs::read_dir(counters).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut domains: Vec<_> = domains.filter(|path| path.is_dir()).collect();
        domains.sort();
        if has("mbm_total_bytes") || has("mbm_local_bytes") {
            let of = |dir: &std::path::PathBuf| Bandwidth {
                mbm_total_bytes: number(dir, "mbm_total_bytes"),
                mbm_local_bytes: number(dir, "mbm_local_bytes"),
            };
            stats.mbm_stats = Some(domains.iter().map(of).collect());
        }
        if has("llc_occupancy") {
            let of = |dir: &std::path::PathBuf| Occupancy { llc_occupancy: number(dir, "llc_occupancy") };
            stats.cmt_stats = Some(domains.iter().map(of).collect());
        }
    }
}

/// The text of a file; empty if it cannot be read.
fn text(dir: &Path, file: &str) -> String {
    let text = files::open(&dir.join(file), OFlags::RDONLY).and_then(|fd| files::read_all(&fd));
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The number in a file; 0 where there is none: a counter may be unavailable for a while ("Unavailable", "Error").
fn number(dir: &Path, file: &str) -> u64 {
    text(dir, file).parse().unwrap_or_default()
}
