//! The local API: HTTP over a unix socket.
//!
//! ```text
//! listen.rs  the socket and its mode
//! peer.rs    who asks, as the kernel says it, and what they may
//! routes.rs  ONE table: method, path, role, what is asked, what is answered. From it are made
//! router.rs      what is done with a request, and
//! document.rs    the OpenAPI document
//! events.rs  what happens, as it happens
//! problem.rs what is said if something is not done
//! ```
//! Nothing here decides anything about services: each request becomes questions that go through [`Door`].

mod answers;
mod body;
mod call;
mod document;
mod events;
mod listen;
mod peer;
mod problem;
mod router;
mod routes;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use tokio::net::{UnixListener, UnixStream};

use super::door::Door;
use super::web::{Crowd, Limits};
use crate::clock::{self, Stamp};
use crate::exit::Failure;
use peer::Access;
pub use peer::{Caller, Readers, Role};
pub use problem::Problem;
use router::Router;
pub use routes::{Restart, Scale, Switch};

/// Where the socket is unless told otherwise.
pub const SOCKET: &str = "/run/processguard/api.sock";

/// What a connection may take. Followers of events stay for as long as they like: they are connections too.
const LIMITS: Limits =
    Limits { connections: 64, head: Duration::from_secs(10), stalled: Duration::from_secs(10) };

/// How many of these may be from those who may only read: they cannot keep those out who may act.
const READERS: usize = 48;

/// Where the API is, and who may use it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The socket.
    pub path: PathBuf,
    /// Members of this group may act.
    pub group: Option<u32>,
    /// Who else may read.
    pub readers: Readers,
}

/// The API's server. Its socket goes with it.
#[derive(Debug)]
pub struct Server {
    socket: listen::Socket,
    access: Access,
    router: Arc<Router>,
}

impl Server {
    /// Makes the socket. What an earlier daemon left is replaced.
    ///
    /// # Errors
    /// If it cannot be made, or somebody listens there.
    pub fn bind(settings: &Settings, door: Door) -> Result<Self, Failure> {
        let boot = clock::boot_id()
            .map_err(|source| Failure::System { action: "read the boot id from /proc", source })?;
        let access = Access::new(settings.group, settings.readers);
        let socket = listen::Socket::bind(&settings.path, &access)?;
        Ok(Self { socket, access, router: Arc::new(Router::new(door, boot)) })
    }

    /// Serves until it is told to end. Whoever is being answered then gets the answer.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self { socket, access, router } = self;
        let mut crowd = Crowd::new(LIMITS);
        let reading = Arc::new(AtomicUsize::new(0));
        let (mut stop, mut keeping) = (std::pin::pin!(stop), std::pin::pin!(router.keep()));
        loop {
            let room = crowd.has_room();
            tokio::select! {
                () = &mut stop => break,
                () = crowd.gone() => {}
                () = &mut keeping => {}
                stream = accept(socket.listener()), if room => {
                    enter(&mut crowd, stream, &access, &router, &reading);
                }
            }
        }
        drop(socket);
        crowd.leave().await;
    }
}

async fn accept(listener: &UnixListener) -> UnixStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // Out of descriptors, say: those who wait can wait longer.
            Err(error) => {
                tracing::warn!("cannot accept a client: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one client. Who it is was fixed when it connected: it cannot become somebody else.
fn enter(
    crowd: &mut Crowd,
    stream: UnixStream,
    access: &Access,
    router: &Arc<Router>,
    reading: &Arc<AtomicUsize>,
) {
    let caller = match Caller::of(&stream) {
        Ok(caller) => caller,
        Err(error) => {
            return tracing::warn!("a client that the kernel does not name was turned away: {error}");
        }
    };
    let role = access.role(&caller);
    let place = (role != Some(Role::Act)).then(|| Place::take(reading));
    let crowded = place.as_ref().is_some_and(|place| place.number > READERS);
    let lenient = Arc::new(AtomicBool::new(false));
    let (router, ending, follows) = (Arc::clone(router), crowd.ending(), Arc::clone(&lenient));
    let service = service_fn(move |request| {
        // The place is kept for as long as the connection.
        let _held = &place;
        let context = router::Context {
            peer: caller.peer,
            role,
            crowded,
            ending: ending.clone(),
            lenient: Arc::clone(&follows),
        };
        let router = Arc::clone(&router);
        async move { Ok(router.answer(request, context).await) }
    });
    crowd.enter(stream, service, lenient);
}

/// A place among those who may only read.
#[derive(Debug)]
struct Place {
    taken: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Self {
        Self { taken: Arc::clone(taken), number: taken.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The OpenAPI document, as `docs/openapi.json` has it.
#[must_use]
pub fn document() -> serde_json::Value {
    document::document(routes::TABLE)
}

/// The clocks as they are now.
fn stamp(boot: guard_core::ids::BootId) -> Stamp {
    Stamp { boot, utc_offset_ns: clock::utc_offset_ns() }
}
