//! The lines of a `schemata` file: `L3:0=7f0;1=1f`, a resource and a value for each of its domains.

use spec::oci::LinuxIntelRdt;

/// What `linux.intelRdt` wants to be written, one text for each write: what stands in `schemata` comes last, since it has the last word,
/// and the kernel takes no domain twice in one write.
pub(super) fn wanted(rdt: &LinuxIntelRdt) -> Vec<String> {
    let own = joint(rdt.l3_cache_schema().as_deref(), rdt.mem_bw_schema().as_deref());
    let lines = rdt.schemata().iter().flatten().map(|line| format!("{line}\n")).collect::<String>();
    [own, lines].into_iter().filter(|text| !text.is_empty()).collect()
}

/// The two schemas as one text. Of bandwidth in the one for caches nothing is taken if it has its own (config-linux.md, "IntelRdt").
pub(super) fn joint(l3_cache: Option<&str>, bandwidth: Option<&str>) -> String {
    let bandwidth = bandwidth.filter(|text| !text.is_empty());
    let is_wanted = |line: &&str| !line.is_empty() && (bandwidth.is_none() || resource(line) != "MB");
    let lines = l3_cache.iter().flat_map(|text| text.lines()).filter(is_wanted).chain(bandwidth);
    lines.map(|line| format!("{line}\n")).collect()
}

/// The first line of `wanted` that would change something where `found` stands, with the line that is there.
pub(super) fn difference<'a>(wanted: &'a [String], found: &'a str) -> Option<(&'a str, &'a str)> {
    let lines = wanted.iter().flat_map(|text| text.lines()).filter(|line| !line.trim().is_empty());
    lines.map(|line| (line, line_of(resource(line), found))).find(|(line, there)| {
        let there: Vec<_> = domains(there).collect();
        !domains(line).all(|domain| domain.is_some() && there.contains(&domain))
    })
}

/// The line of a resource, without the blanks that the kernel aligns them with.
pub(super) fn line_of<'a>(name: &str, schemata: &'a str) -> &'a str {
    schemata.lines().map(str::trim).find(|line| resource(line) == name).unwrap_or_default()
}

fn resource(line: &str) -> &str {
    line.split(':').next().unwrap_or_default().trim()
}

/// Domain and value of each part of a line, the value without leading zeros; None for what is neither.
fn domains(line: &str) -> impl Iterator<Item = Option<(String, String)>> {
    let parts = line.split_once(':').map_or("", |(_, parts)| parts).split(';');
    parts.filter(|part| !part.trim().is_empty()).map(|part| {
        let (domain, value) = part.split_once('=')?;
        let value = value.trim().to_ascii_lowercase();
        let plain = value.strip_prefix("0x").unwrap_or(&value).trim_start_matches('0');
        Some((domain.trim().to_owned(), plain.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(json: &str) -> LinuxIntelRdt {
        serde_json::from_str(json).expect("an intelRdt object")
    }

    #[test]
    fn both_schemas_are_one_write_and_lines_come_after() {
        let all =
            rdt(r#"{"l3CacheSchema":"L3:0=f","memBwSchema":"MB:0=20","schemata":["L3:0=ff","L2:0=1"]}"#);
        assert_eq!(wanted(&all), ["L3:0=f\nMB:0=20\n", "L3:0=ff\nL2:0=1\n"]);
        assert_eq!(wanted(&rdt(r#"{"memBwSchema":"MB:0=20"}"#)), ["MB:0=20\n"]);
        assert_eq!(wanted(&rdt(r#"{"l3CacheSchema":"","schemata":[],"closID":"a"}"#)), Vec::<String>::new());
    }

    #[test]
    fn bandwidth_has_one_place() {
        assert_eq!(joint(Some("L3:0=f\nMB:0=10"), Some("MB:0=20")), "L3:0=f\nMB:0=20\n");
        assert_eq!(joint(Some("L3:0=f\n MB:0=10"), None), "L3:0=f\n MB:0=10\n");
    }

    #[test]
    fn what_would_change_something_differs() {
        let there = "    L3:0=7f0;1=01f\n    MB:0= 20;1=100\n";
        let differs =
            |line: &str| difference(&[format!("{line}\n")], there).map(|(_, there)| there.to_owned());
        for same in ["L3:0=7f0;1=1f", "L3: 1=0x1F", "MB:0=20", "MB:1=100; 0=20;", ""] {
            assert_eq!(differs(same), None, "{same}");
        }
        for (other, found) in [
            ("L3:0=7f1", "L3:0=7f0;1=01f"),
            ("L3:2=1f", "L3:0=7f0;1=01f"),
            ("L3:0", "L3:0=7f0;1=01f"),
            ("MB:0=200", "MB:0= 20;1=100"),
            ("L2:0=1", ""),
        ] {
            assert_eq!(differs(other).as_deref(), Some(found), "{other}");
        }
    }
}
