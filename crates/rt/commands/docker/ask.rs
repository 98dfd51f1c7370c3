//! Asking for a container that was not named.

use super::Action;
use crate::output;
use anyhow::{Context, bail};
use container::takeover::Engine;

/// Lists the containers and reads the answer. To a restore all are of interest, since the engine takes them for ended.
pub(super) fn container(engine: &Engine, action: Action) -> anyhow::Result<String> {
    output::print(&engine.list(action == Action::Restore)?)?;
    output::print("\nContainer ID: ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("read from stdin")?;
    match answer.trim() {
        "" => bail!("no container was named"),
        id => Ok(id.to_owned()),
    }
}
