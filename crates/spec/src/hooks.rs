//! The hooks of a bundle, by kind.

use crate::oci::{Hook, Spec};

/// When a hook runs (runtime-spec, config.md#posix-platform-hooks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// In the runtime's namespaces, after the container's exist (deprecated by the spec, used by engines).
    Prestart,
    /// In the runtime's namespaces, right after prestart.
    CreateRuntime,
    /// In the container's namespaces, before pivot_root.
    CreateContainer,
    /// In the container's namespaces, right before the user's program.
    StartContainer,
    /// In the runtime's namespaces, after the user's program has started.
    Poststart,
    /// In the runtime's namespaces, after the container is deleted.
    Poststop,
}

impl HookKind {
    /// The name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// All kinds, in the order in which they run.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];
}

/// The hooks of one kind, in order; empty when there are none.
pub fn hooks(spec: &Spec, kind: HookKind) -> &[Hook] {
    let Some(hooks) = spec.hooks() else { return &[] };
    #[allow(deprecated, reason = "engines still use prestart")]
    let list = match kind {
        HookKind::Prestart => hooks.prestart(),
        HookKind::CreateRuntime => hooks.create_runtime(),
        HookKind::CreateContainer => hooks.create_container(),
        HookKind::StartContainer => hooks.start_container(),
        HookKind::Poststart => hooks.poststart(),
        HookKind::Poststop => hooks.poststop(),
    };
    list.as_deref().unwrap_or_default()
}
