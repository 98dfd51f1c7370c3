//! Resource control: where a container's cgroups are, what is written into them, who is in them.
//!
//! [`Layout`] tells how this machine mounts cgroups. [`Cgroup::locate`] decides where a container's cgroups belong;
//! the result is a map of directories that is kept with the container's state, and that later commands open again. The
//! order for a new container is [`Cgroup::create`], [`Cgroup::apply`], then the first process, through
//! [`Cgroup::clone_fd`] and [`Cgroup::entry`]. Where systemd makes the cgroups it is [`Cgroup::locate_unit`],
//! [`Cgroup::plan_unit`], the first process, which waits, and [`Cgroup::start_unit`].
//!
//! [`settings`] is the one place that calculates with resources, and pure; [`devices`] boils the device rules down.
//! For a container that runs there is [`Cgroup::update`].
//! The drivers only write what these two say. [`resctrl`] is for caches and memory bandwidth, which are no cgroup's.

pub mod devices;
mod driver;
mod entry;
mod error;
mod files;
mod freezer;
mod group;
mod layout;
mod oom;
mod owner;
mod permitted;
mod processes;
mod remove;
pub mod resctrl;
pub mod settings;
pub mod stats;
mod sub;
mod update;
mod view;

pub use driver::systemd::{Host, UnitPlan};
pub use entry::Entry;
pub use error::{Error, Result};
pub use freezer::{FREEZE_TIMEOUT, State};
pub use group::{Cgroup, Created};
pub use layout::{Hierarchy, Layout};
pub use oom::OomWatch;
pub use view::{View, ViewMount};
