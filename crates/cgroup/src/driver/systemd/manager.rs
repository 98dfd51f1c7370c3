//! systemd itself: the few of its methods that a container needs (org.freedesktop.systemd1(5)).

use std::time::Duration;

use dbus::{Address, Call, Connection, Rule, Value};

use crate::error::{Error, Result};
use crate::settings::Property;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT_EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// How long systemd may take for one thing; as long as runc waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a service manager.
#[derive(Debug)]
pub(super) struct Manager {
    connection: Connection,
}

impl Manager {
    pub(super) fn connect(address: &Address) -> Result<Self> {
        let connection = Connection::open(address, PATIENCE).map_err(failed("connect"))?;
        Ok(Self { connection })
    }

    /// The first of several that answers, and where that is.
    pub(super) fn connect_any(addresses: Vec<Address>) -> Result<(Self, Address)> {
        let mut first_error = None;
        for address in addresses {
            match Self::connect(&address) {
                Ok(manager) => return Ok((manager, address)),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or(Error::NoUserManager))
    }

    /// Starts a unit that exists until it is stopped or empty.
    ///
    /// A failed unit of this name, which nobody has looked after, gives way.
    ///
    /// # Errors
    /// [`Error::UnitExists`] if a unit of this name is there and is somebody's.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let doing = || format!("start unit {unit}");
        let properties = self.known(properties)?;
        let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let arguments = [Value::text(unit), Value::text("replace"), properties, none];
        self.listen_for_jobs()?;
        let mut job = self.call("StartTransientUnit", &arguments);
        if job.as_ref().is_err_and(|error| error.is_reply(UNIT_EXISTS)) {
            // It may be a failed one, which this makes go away; if it is not, the second call fails as the first did.
            let _ = self.reset_failed(unit);
            job = self.call("StartTransientUnit", &arguments);
        }
        let job = job.map_err(|error| match error.is_reply(UNIT_EXISTS) {
            true => Error::UnitExists(unit.to_owned()),
            false => failed(doing())(error),
        })?;
        self.wait_for(&job, doing).inspect_err(|_| drop(self.reset_failed(unit)))
    }

    /// Stops a unit and makes systemd forget it; one that is not there is no error.
    pub(super) fn stop(&mut self, unit: &str) -> Result<()> {
        let doing = || format!("stop unit {unit}");
        self.listen_for_jobs()?;
        let stopped = match self.call("StopUnit", &[Value::text(unit), Value::text("replace")]) {
            Err(error) if error.is_reply(NO_SUCH_UNIT) => return Ok(()),
            Err(error) => Err(failed(doing())(error)),
            Ok(job) => self.wait_for(&job, doing),
        };
        // Whatever became of it: a failed unit would stay, and keep the next one of this name from starting.
        let _ = self.reset_failed(unit);
        stopped
    }

    /// Changes properties of a unit until it is gone.
    pub(super) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        let properties = self.known(properties)?;
        let arguments = [Value::text(unit), Value::Bool(true), properties];
        self.call("SetUnitProperties", &arguments)
            .map(drop)
            .map_err(failed(format!("set properties of unit {unit}")))
    }

    /// The cgroup that all units of this manager are in; empty for the root.
    pub(super) fn control_group(&mut self) -> Result<String> {
        self.property("ControlGroup")
    }

    fn reset_failed(&mut self, unit: &str) -> dbus::Result<()> {
        self.call("ResetFailedUnit", &[Value::text(unit)]).map(drop)
    }

    /// `properties` as an argument, without those that this systemd is too old for; their files are written all the same.
    fn known(&mut self, properties: &[Property]) -> Result<Value> {
        let newest = properties.iter().map(|property| property.since).max().unwrap_or(0);
        let version = if newest == 0 { 0 } else { version_number(&self.property("Version")?) };
        let known = properties.iter().filter(|property| property.since <= version);
        let pair = |property: &Property| {
            Value::Struct(vec![Value::text(property.name.clone()), property.value.clone().variant()])
        };
        Ok(Value::Array("(sv)".to_owned(), known.map(pair).collect()))
    }

    fn property(&mut self, name: &str) -> Result<String> {
        let arguments = [Value::text(MANAGER), Value::text(name)];
        let interface = "org.freedesktop.DBus.Properties";
        let call = Call { destination: NAME, path: PATH, interface, method: "Get", arguments: &arguments };
        let doing = || format!("read property {name}");
        let values = self.connection.call(&call).map_err(failed(doing()))?;
        let text = values.first().and_then(Value::as_text).map(str::to_owned);
        text.ok_or_else(|| failed(doing())(dbus::Error::Malformed("not a text")))
    }

    fn call(&mut self, method: &str, arguments: &[Value]) -> dbus::Result<Vec<Value>> {
        self.connection.call(&Call { destination: NAME, path: PATH, interface: MANAGER, method, arguments })
    }

    /// Before the job is: it may be done before we hear of it.
    fn listen_for_jobs(&mut self) -> Result<()> {
        let rule = Rule { sender: NAME, interface: MANAGER, member: "JobRemoved" };
        self.connection.listen(rule).map_err(failed("listen"))
    }

    /// Waits until the job that a method has answered with is done.
    fn wait_for(&mut self, answer: &[Value], doing: impl Fn() -> String) -> Result<()> {
        let job = answer.first().and_then(Value::as_text).unwrap_or_default();
        let result = self.connection.wait(|signal| match signal.body.as_slice() {
            [_, removed, _, result] if signal.member == "JobRemoved" && removed.as_text() == Some(job) => {
                Some(result.as_text().unwrap_or_default().to_owned())
            }
            _ => None,
        });
        match result.map_err(failed(doing()))?.as_str() {
            "done" => Ok(()),
            other => Err(Error::Job { action: doing(), result: other.to_owned() }),
        }
    }
}

/// Says what systemd was to do when it failed.
fn failed(action: impl Into<String>) -> impl FnOnce(dbus::Error) -> Error {
    let action = action.into();
    |error| Error::Systemd { action, error }
}

/// The number in `252.38-1~deb12u1`, `v245` or `systemd 239`.
fn version_number(text: &str) -> u32 {
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::version_number;

    #[test]
    fn versions_are_numbers_in_words() {
        for (text, number) in [
            ("252.38-1~deb12u1", 252),
            ("v245.4-4ubuntu3", 245),
            ("systemd 239", 239),
            ("257~rc1", 257),
            ("x", 0),
        ] {
            assert_eq!(version_number(text), number, "{text}");
        }
    }
}
