//! systemd's units, over the system bus: the job is queued, and its end waited for.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use zbus::export::futures_core::Stream;
use zbus::proxy::SignalStream;
use zbus::zvariant::OwnedObjectPath;
use zbus::{Connection, Proxy, connection};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Why a unit was not restarted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no bus.
    #[error(
        "there is no system bus to ask systemd on: is systemd this host's init, and its package `dbus` installed?"
    )]
    Bus(#[source] zbus::Error),
    /// Nobody there.
    #[error(
        "systemd is not on the system bus: another init runs this host, and restarts its services by a command"
    )]
    Absent,
    /// No such unit.
    #[error("systemd has no unit `{0}`")]
    Unknown(String),
    /// It said no.
    #[error("systemd refuses to restart `{unit}`: {why}")]
    Refused { unit: String, why: String },
    /// The conversation broke.
    #[error("the conversation with systemd about `{unit}` broke off")]
    Broken { unit: String, source: zbus::Error },
    /// It ended before its answer.
    #[error("systemd went away while it restarted `{0}`")]
    Gone(String),
    /// The job did not do it.
    #[error("systemd's restart of `{unit}` ended as `{result}`: `systemctl status {unit}` says more")]
    Job { unit: String, result: String },
    /// It takes too long; it goes on.
    #[error("systemd did not restart `{unit}` within {}; its job goes on", guard_core::policy::model::span(*.timeout_ns))]
    Late { unit: String, timeout_ns: u64 },
}

/// Restarts a unit, by the bus at this address; `None`: the system's.
pub(super) async fn restart(address: Option<&str>, unit: &str, timeout: Duration) -> Result<(), Error> {
    let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let late = |_over| Error::Late { unit: unit.to_owned(), timeout_ns };
    tokio::time::timeout(timeout, on_bus(address, unit)).await.map_err(late)?
}

async fn on_bus(address: Option<&str>, unit: &str) -> Result<(), Error> {
    let builder = address.map_or_else(connection::Builder::system, connection::Builder::address);
    let bus: Connection = builder.map_err(Error::Bus)?.build().await.map_err(Error::Bus)?;
    let broken = |error| of_call(error, unit);
    let systemd = Proxy::new(&bus, SYSTEMD, PATH, MANAGER).await.map_err(broken)?;
    // Before the job is queued, lest its end be missed.
    let mut removed = systemd.receive_signal("JobRemoved").await.map_err(broken)?;
    systemd.call::<_, _, ()>("Subscribe", &()).await.map_err(broken)?;
    let job: OwnedObjectPath = systemd.call("RestartUnit", &(unit, "replace")).await.map_err(broken)?;
    let result = result_of(&mut removed, &job).await.map_err(broken)?;
    match result.as_deref() {
        Some("done") => Ok(()),
        Some(result) => Err(Error::Job { unit: unit.to_owned(), result: result.to_owned() }),
        None => Err(Error::Gone(unit.to_owned())),
    }
}

/// `done`, `failed`, `timeout`, `dependency`, `canceled`, `skipped`; `None`: nobody will say it.
async fn result_of(removed: &mut SignalStream<'_>, job: &OwnedObjectPath) -> zbus::Result<Option<String>> {
    while let Some(message) = poll_fn(|context| Pin::new(&mut *removed).poll_next(context)).await {
        let (_id, path, _unit, result): (u32, OwnedObjectPath, String, String) =
            message.body().deserialize()?;
        if path == *job {
            return Ok(Some(result));
        }
    }
    Ok(None)
}

fn of_call(error: zbus::Error, unit: &str) -> Error {
    let zbus::Error::MethodError(name, why, _) = &error else {
        return Error::Broken { unit: unit.to_owned(), source: error };
    };
    match name.as_str() {
        "org.freedesktop.systemd1.NoSuchUnit" => Error::Unknown(unit.to_owned()),
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            Error::Absent
        }
        name => Error::Refused { unit: unit.to_owned(), why: why.clone().unwrap_or_else(|| name.to_owned()) },
    }
}
