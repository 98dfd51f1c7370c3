//! A container's mounts: the plan, and its execution by file descriptor.
//!
//! ```text
//! config.json --Plan::new (pure)--> Plan --Rootfs::prepare, pivot, finish--> the container's file tree
//!                                    |---externals, locate_externals-------> what CRIU must treat as external
//!                                    '---create_mountpoints----------------> a rootfs that CRIU can mount into
//! ```
//!
//! The plan makes no system call; the effects never read `config.json`. Every path of the container is resolved once,
//! inside its root ([`sys::path::Root`]), into a descriptor that is then worked on.

mod apply;
mod beside;
mod error;
mod external;
mod hollow;
mod options;
mod plan;
mod restore;

pub use apply::{FindUserns, Rootfs, Sources, enter_root, reopen_null};
pub use beside::{detach_tree, mount_at};
pub use error::{Error, Result};
pub use external::{External, ExternalKind, Located, locate_externals, mount_mask};
pub use hollow::{Hollow, find_hollow};
pub use options::{FsOption, MountOptions, SuperFlag};
pub use plan::{
    Bind, CgroupView, Context, DeviceKind, DeviceNode, Fs, Hierarchy, IdMap, IdRange, Kind, MountStep, Plan,
    V1View, Within,
};
pub use restore::{create_mountpoints, protect_again};
