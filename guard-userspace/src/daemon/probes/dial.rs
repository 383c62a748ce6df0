//! Names become addresses, and addresses connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use super::verdict::{Bad, Deadline, system};

/// Names that are looked up at once: each takes a thread, for half a minute if no name server answers, and others need threads too.
static LOOKUPS: Semaphore = Semaphore::const_new(16);

/// A connection, and whom it leads to.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
}

/// `host:port` of an address; an IPv6 host is in brackets, which are taken off.
pub(super) fn split(address: &str) -> Result<(&str, u16), Bad> {
    let parts = address.rsplit_once(':');
    match parts.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => Ok((bare(host), port)),
        None => Bad::own(format!("`{address}` is no address such as `127.0.0.1:5432`")),
    }
}

/// An IPv6 host without its brackets.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Connects to the first of the host's addresses that lets us. Each has an equal part of the time that is left, so that one which
/// says nothing does not hide one which would answer.
pub(super) async fn connect(host: &str, port: u16, deadline: Deadline) -> Result<Connection, Bad> {
    let addresses = match timeout_at(deadline.at(), resolve(host, port)).await {
        Ok(addresses) => addresses?,
        // Whoever resolves names is not who is asked about.
        Err(_over) => return Bad::own(deadline.missed(format_args!("address of `{host}`")).to_string()),
    };
    let (mut fails, mut own) = (Vec::new(), Vec::new());
    for (number, &peer) in addresses.iter().enumerate() {
        let until = deadline.part(addresses.len() - number);
        let bad = match timeout_at(until, TcpStream::connect(peer)).await {
            // A port that nobody listens on may be the one that the kernel chose for us: then we are connected to ourselves.
            Ok(Ok(stream)) if stream.local_addr().is_ok_and(|own| own == peer) => {
                Bad::Fail(format!("connection refused by {peer}"))
            }
            Ok(Ok(stream)) => {
                // What we send is small, and the answer waits for it.
                let _slower = stream.set_nodelay(true);
                return Ok(Connection { stream, peer });
            }
            Ok(Err(error)) => Bad::of_io(&error, peer),
            Err(_over) => deadline.missed(format_args!("connection to {peer}")),
        };
        match bad {
            Bad::Fail(text) => fails.push(text),
            Bad::Own(text) => own.push(text),
        }
    }
    if fails.is_empty() { Bad::own(own.join(", ")) } else { Bad::fail(fails.join(", ")) }
}

/// The addresses of a host. `localhost` needs nobody to ask (RFC 6761): both loopback addresses.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Bad> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost") {
        let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        return Ok(both.map(|address| SocketAddr::new(address, port)).to_vec());
    }
    let lookup = (host.to_owned(), port);
    let place = LOOKUPS.acquire().await;
    let looking = tokio::task::spawn_blocking(move || {
        let found = lookup.to_socket_addrs();
        drop(place);
        found
    });
    let found: Vec<SocketAddr> = match looking.await.unwrap_or_else(|ended| Err(io::Error::other(ended))) {
        Ok(found) => found.collect(),
        Err(error) => return Bad::own(format!("the name `{host}` has no address: {}", system(&error))),
    };
    if found.is_empty() { Bad::own(format!("the name `{host}` has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn addresses() {
        assert_eq!(split("[::1]:80"), Ok(("::1", 80)));
        assert_eq!(split("db.example:5432"), Ok(("db.example", 5432)));
        let text = "`db` is no address such as `127.0.0.1:5432`";
        assert_eq!(split("db"), Err(Bad::Own(text.to_owned())));
    }

    #[tokio::test]
    async fn localhost_is_both() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let connection = connect("localhost", port, Deadline::after(SECOND)).await.unwrap();
            assert_eq!(connection.peer, listener.local_addr().unwrap());
        }
    }

    #[tokio::test]
    async fn nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = connect("localhost", port, Deadline::after(SECOND)).await.unwrap_err();
        let text = format!("connection refused by 127.0.0.1:{port}, connection refused by [::1]:{port}");
        assert_eq!(refused, Bad::Fail(text));
    }

    #[tokio::test]
    async fn a_name_that_nobody_has() {
        let bad = connect("no-such-host.invalid", 80, Deadline::after(20 * SECOND)).await.unwrap_err();
        let Bad::Own(text) = bad else { panic!("{bad:?}") };
        assert!(text.starts_with("the name `no-such-host.invalid` has no address: "), "{text}");
    }
}
