//! `linux.resources.blockIO`.

use spec::oci::{LinuxBlockIo, LinuxThrottleDevice, LinuxWeightDevice};

use super::{List, Version, write};
use crate::error::{Error, Result};

/// The weights that the old schedulers know.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

pub(super) fn block_io(block_io: &LinuxBlockIo, list: &mut List) -> Result<()> {
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        let io_weight = io_weight(weight)?;
        match list.version {
            Version::V1 => {
                list.push(
                    "blkio",
                    vec![write("blkio.weight", &weight), write("blkio.bfq.weight", &weight)],
                    false,
                );
            }
            Version::V2 => {
                list.push("io", vec![write("io.bfq.weight", &weight), write("io.weight", &io_weight)], false);
            }
        }
    }
    if let Some(weight) = block_io.leaf_weight().filter(|weight| *weight != 0) {
        list.put(Some(("blkio", "blkio.leaf_weight")), None, &weight);
    }
    for device in block_io.weight_device().iter().flatten() {
        weight_device(device, list);
    }
    throttle(block_io.throttle_read_bps_device(), "blkio.throttle.read_bps_device", "rbps", list);
    throttle(block_io.throttle_write_bps_device(), "blkio.throttle.write_bps_device", "wbps", list);
    throttle(block_io.throttle_read_iops_device(), "blkio.throttle.read_iops_device", "riops", list);
    throttle(block_io.throttle_write_iops_device(), "blkio.throttle.write_iops_device", "wiops", list);
    Ok(())
}

/// A weight of v1 (10 to 1000) as a weight of v2's `io.weight` (1 to 10000), linearly.
fn io_weight(weight: u16) -> Result<u64> {
    if WEIGHTS.contains(&weight) {
        Ok(1 + (u64::from(weight) - 10) * 9999 / 990)
    } else {
        Err(Error::resource("blockIO.weight", format!("{weight} is out of range, valid range is 10-1000")))
    }
}

fn weight_device(device: &LinuxWeightDevice, list: &mut List) {
    let (major, minor) = (device.major(), device.minor());
    if let Some(weight) = device.weight().filter(|weight| *weight != 0) {
        let value = format!("{major}:{minor} {weight}");
        match list.version {
            Version::V1 => {
                let choices =
                    vec![write("blkio.weight_device", &value), write("blkio.bfq.weight_device", &value)];
                list.push("blkio", choices, false);
            }
            // Only the BFQ scheduler knows weights of a device; without it there is nothing to weigh.
            Version::V2 => list.push("io", vec![write("io.bfq.weight", &value)], true),
        }
    }
    if let Some(weight) = device.leaf_weight().filter(|weight| *weight != 0) {
        list.put(Some(("blkio", "blkio.leaf_weight_device")), None, &format!("{major}:{minor} {weight}"));
    }
}

fn throttle(devices: &Option<Vec<LinuxThrottleDevice>>, v1: &'static str, v2: &'static str, list: &mut List) {
    for device in devices.iter().flatten() {
        let (major, minor, rate) = (device.major(), device.minor(), device.rate());
        match list.version {
            Version::V1 => list.push("blkio", vec![write(v1, &format!("{major}:{minor} {rate}"))], false),
            Version::V2 => {
                // v1 takes 0 for "no limit"; io.max has a word for it and refuses 0.
                let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
                list.push("io", vec![write("io.max", &format!("{major}:{minor} {v2}={rate}"))], false);
            }
        }
    }
}
