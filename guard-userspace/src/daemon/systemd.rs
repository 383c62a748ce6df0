//! What the service manager is told: ready, reloading, stopping, and that the loop still answers.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing is said, and nothing fails.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::door::{Door, Peer, Question, Refusal};

/// The daemon is ready: its services are being kept, its API answers.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// What `systemctl status` shows of it, in one line.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// Policies are read again. [`ready`] ends it, however it went.
pub fn reloading() {
    // Type=notify-reload wants the time of it.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the service manager cannot be told of a reload: {error}"),
    }
}

/// The daemon ends. Its services go on.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("ends; its services go on")]);
}

/// How often the service manager wants to hear of us; `None`: it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    let mut usec = 0;
    // The variables stay: changing the environment is unsound once there are threads, and the
    // services that are started get their own.
    (sd_notify::watchdog_enabled(false, &mut usec) && usec > 0).then(|| Duration::from_micros(usec))
}

/// Tells the service manager at half its interval that the daemon's loop answers, while it does. Ends when the daemon does.
pub async fn watch(door: Door, every: Duration) {
    let me = Peer {
        uid: rustix::process::geteuid().as_raw(),
        pid: rustix::process::getpid().as_raw_nonzero().get(),
    };
    let half = every / 2;
    let mut ticks = interval(half);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(half, door.ask(me, Question::Flags)).await {
            Ok(Err(Refusal::Gone)) => return,
            Ok(_) => tell(&[NotifyState::Watchdog]),
            Err(_late) => tracing::warn!("the daemon's loop did not answer within {half:?}"),
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}

/// Every line would be a message of its own.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
