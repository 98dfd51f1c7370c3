//! systemd's own part of the tree: a container is a transient unit, a scope as a rule, and systemd makes its cgroup.
//!
//! On a machine that systemd manages, the cgroup tree has one writer (systemd.io/CGROUP_DELEGATION), who must be asked. What
//! is asked for is a scope with `Delegate=yes`: its cgroup is ours, with all below it, as long as the unit exists. A scope
//! begins with a process in it. So, unlike everywhere else, here the cgroup comes after the first process: it is forked outside,
//! waits, is named to systemd, which moves it, and goes on when the limits are set ([`Cgroup::start_unit`]).
//!
//! Limits are both told to systemd ([`properties`](settings::properties)) and written into the files: systemd would take what
//! it was not told away when it is reloaded, and has no word for many of them. On v1 it makes directories for some
//! controllers only; the others are made here.

mod annotations;
mod manager;
mod name;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dbus::{Address, Value};
use serde::{Deserialize, Serialize};
use spec::oci::LinuxResources;

use crate::devices::Policy;
use crate::error::{Error, Result};
use crate::group::{Cgroup, UNIFIED, governs, make};
use crate::layout::{Hierarchy, Layout};
use crate::settings::{self, Property, Setting, Version};
use manager::Manager;
use name::Name;

/// Which systemd is to make a container's cgroup, and what says where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// The machine's.
    System,
    /// That of the unprivileged user who calls.
    User {
        /// `$XDG_RUNTIME_DIR`.
        runtime_dir: Option<PathBuf>,
        /// `$DBUS_SESSION_BUS_ADDRESS`.
        session_bus: Option<String>,
    },
}

impl Host {
    /// Where it may be reached, best first: its own socket needs no bus in between, but is for root, or its own user, alone.
    fn addresses(&self) -> Vec<Address> {
        let direct = |path: &str| Address { text: format!("unix:path={path}"), is_bus: false };
        let bus = |text: String| Address { text, is_bus: true };
        match self {
            Self::System => {
                vec![direct("/run/systemd/private"), bus("unix:path=/run/dbus/system_bus_socket".to_owned())]
            }
            Self::User { runtime_dir, session_bus } => {
                let dir = runtime_dir.iter().map(|dir| dir.display().to_string());
                let own = dir.clone().map(|dir| direct(&format!("{dir}/systemd/private")));
                let default = dir.map(|dir| bus(format!("unix:path={dir}/bus")));
                own.chain(session_bus.clone().map(bus)).chain(default).collect()
            }
        }
    }

    fn default_slice(&self) -> &'static str {
        match self {
            Self::System => "system.slice",
            Self::User { .. } => "user.slice",
        }
    }
}

/// The unit of a container; kept with its directories, so that every later command finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unit {
    /// Its name.
    name: String,
    /// The slice that it is in.
    slice: String,
    /// Where systemd was reached.
    address: String,
    /// Whether that is a bus.
    is_bus: bool,
    /// Whether it is a user's systemd, which may do less.
    is_users: bool,
}

/// All that a unit is to be, checked; only its first process is missing.
#[derive(Debug)]
pub struct UnitPlan {
    properties: Vec<Property>,
    settings: Vec<Setting>,
    /// None where the caller may not set it.
    devices: Option<Policy>,
}

impl Cgroup {
    /// The place for container `id` where systemd makes the cgroups, by runc's rules for `linux.cgroupsPath`
    /// (`SLICE:PREFIX:NAME`). It is the same in every hierarchy: below the manager's own cgroup.
    pub fn locate_unit(layout: &Layout, cgroups_path: Option<&Path>, id: &str, host: &Host) -> Result<Self> {
        let name = Name::parse(cgroups_path, id, host.default_slice())?;
        let is_users = *host != Host::System;
        if is_users && !layout.is_v2() {
            return Err(Error::UserManagerOnV1);
        }
        let (mut manager, address) = Manager::connect_any(host.addresses())?;
        let place = Path::new(&manager.control_group()?).join(name.cgroup()?);
        let unit = Unit {
            name: name.unit,
            slice: name.slice,
            address: address.text,
            is_bus: address.is_bus,
            is_users,
        };
        Ok(Self { paths: directories(layout, &place), unit: Some(unit) })
    }

    /// Whether systemd makes the cgroup, around a process that must be there first.
    pub fn is_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// What the unit is to be, if there is to be one; annotations become properties, as far as they may.
    ///
    /// # Errors
    /// All that can be known before anything is made: values that cannot be, processes in the cgroup.
    pub fn plan_unit(
        &self,
        resources: &LinuxResources,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Option<UnitPlan>> {
        let Some(unit) = &self.unit else { return Ok(None) };
        let settings = settings::settings(resources, self.version())?;
        let policy = Policy::new(resources.devices().as_deref().unwrap_or_default())?;
        let devices = Some(policy).filter(|_| !unit.is_users);
        let mut properties = unit.own_properties(self.version());
        properties.extend(annotations::properties(annotations)?);
        properties.extend(resource_properties(&settings, devices.as_ref(), self.version()));
        self.dirs().into_iter().try_for_each(|(controller, dir)| self.check_free(controller, dir))?;
        Ok(Some(UnitPlan { properties, settings, devices }))
    }

    /// Has systemd make the cgroup with `pid`, a process that waits for it, in it; then sets the limits.
    ///
    /// # Errors
    /// After [`Error::UnitExists`] the cgroup is somebody else's. After any other error [`remove`](Self::remove) undoes what
    /// was done.
    pub fn start_unit(&self, plan: &UnitPlan, pid: i32) -> Result<()> {
        let Some(unit) = &self.unit else { return Ok(()) };
        let mut properties = plan.properties.clone();
        if !name::is_slice(&unit.name) {
            let pid = Value::U32(pid.unsigned_abs());
            properties.push(Property::new("PIDs", Value::Array("u".to_owned(), vec![pid])));
        }
        unit.manager()?.start(&unit.name, &properties)?;
        for (controller, dir) in self.dirs() {
            make(controller, dir, &mut Vec::new())?;
        }
        super::prepare(self)?;
        let written = super::write_all(self, &plan.settings, None);
        if unit.is_users {
            written.map_err(Error::permission)?;
        } else {
            written?;
        }
        plan.devices.as_ref().map_or(Ok(()), |policy| super::set_devices(self, policy))?;
        // On v2 it is there already; v1 has hierarchies that systemd does not know.
        if self.is_v2() && !name::is_slice(&unit.name) { Ok(()) } else { self.add(pid) }
    }
}

impl Unit {
    /// Tells systemd about changed settings, so that it does not undo them.
    pub(crate) fn tell(
        &self,
        settings: &[Setting],
        devices: Option<&Policy>,
        version: Version,
    ) -> Result<()> {
        let properties = resource_properties(settings, devices.filter(|_| !self.is_users), version);
        if properties.is_empty() { Ok(()) } else { self.manager()?.set(&self.name, &properties) }
    }

    /// Stops the unit, which ends what is left in it; one that is gone by itself is no error.
    pub(crate) fn stop(&self) -> Result<()> {
        self.manager()?.stop(&self.name)
    }

    fn manager(&self) -> Result<Manager> {
        Manager::connect(&Address { text: self.address.clone(), is_bus: self.is_bus })
    }

    /// What makes it a container's, whatever its limits.
    fn own_properties(&self, version: Version) -> Vec<Property> {
        let yes = |name| Property::new(name, Value::Bool(true));
        let io = if version == Version::V1 { "BlockIOAccounting" } else { "IOAccounting" };
        let mut properties = vec![
            Property::new("Description", Value::text(format!("rt container {}", self.name))),
            // With processes in it from the start, so that statistics are whole.
            yes("MemoryAccounting"),
            yes("CPUAccounting"),
            yes(io),
            yes("TasksAccounting"),
            // A container is stopped by who has started it, before the services that it needs.
            Property::new("DefaultDependencies", Value::Bool(false)),
        ];
        if name::is_slice(&self.name) {
            properties.push(Property::new("Wants", Value::texts([&self.slice])));
        } else {
            properties.push(Property::new("Slice", Value::text(&self.slice)));
            properties.push(yes("Delegate"));
        }
        properties
    }
}

/// Limits and devices in systemd's words.
fn resource_properties(settings: &[Setting], devices: Option<&Policy>, version: Version) -> Vec<Property> {
    let mut properties = settings::properties(settings, version);
    let Some(policy) = devices else { return properties };
    let (mode, allowed) = policy.unit_entries();
    let entries = |entries: Vec<(String, String)>| {
        let pair = |(device, access)| Value::Struct(vec![Value::Text(device), Value::Text(access)]);
        Property::new("DeviceAllow", Value::Array("(ss)".to_owned(), entries.into_iter().map(pair).collect()))
    };
    // An empty list forgets what was allowed before; another one adds to it.
    properties.extend([Property::new("DevicePolicy", Value::text(mode)), entries(Vec::new())]);
    if !allowed.is_empty() {
        properties.push(entries(allowed));
    }
    properties
}

/// The directory of the cgroup `place`, counted from the root, in each hierarchy that a container has one in.
fn directories(layout: &Layout, place: &Path) -> BTreeMap<String, PathBuf> {
    let dir = |hierarchy: &Hierarchy| {
        // Inside a container without a cgroup namespace, the mount shows less than /proc tells.
        let shown = place.strip_prefix(&hierarchy.root).or_else(|_| place.strip_prefix("/")).unwrap_or(place);
        hierarchy.mountpoint.join(shown)
    };
    let v1 = layout.hierarchies.iter().flat_map(|hierarchy| {
        let names = hierarchy.controllers.iter().filter(|name| governs(name));
        names.map(move |name| (name.clone(), dir(hierarchy)))
    });
    v1.chain(layout.unified.iter().map(|unified| (UNIFIED.to_owned(), dir(unified)))).collect()
}

#[cfg(test)]
mod tests;
