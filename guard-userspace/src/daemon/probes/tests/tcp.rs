//! Connections.

use guard_core::policy::model::{Expected, Probe, TcpProbe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::servers::Server;
use super::*;

fn probe(server: &Server, send: Option<&str>, expect: Option<Expected>) -> Probe {
    let address = server.address.to_string();
    Probe::Tcp(TcpProbe { address, send: send.map(str::to_owned), expect, timeout: 300 * MILLISECOND })
}

fn contains(text: &str) -> Option<Expected> {
    Some(Expected::Contains(text.to_owned()))
}

#[tokio::test]
async fn something_is_said_and_answered() {
    let server = Server::each(|mut stream| async move {
        let mut said = [0; 6];
        if stream.read_exact(&mut said).await.is_ok() && said == *b"PING\r\n" {
            stream.write_all(b"+PONG\r\n").await.unwrap();
        }
        let _until_it_goes = stream.read_u8().await;
    })
    .await;
    assert_eq!(probed(probe(&server, None, None)).await, Answer::Pass);
    assert_eq!(probed(probe(&server, Some("PING\r\n"), contains("+PONG"))).await, Answer::Pass);
    let matches = Some(Expected::Matches("^\\+PONG\\s".into()));
    assert_eq!(probed(probe(&server, Some("PING\r\n"), matches)).await, Answer::Pass);
    let text = "no answer with `-ERR` (what came: `+PONG\\x0d\\n`) within 300ms";
    assert_eq!(probed(probe(&server, Some("PING\r\n"), contains("-ERR"))).await, fail(text));
    assert_eq!(probed(probe(&server, None, contains("x"))).await, fail("no answer within 300ms"));
}

#[tokio::test]
async fn servers_that_talk_oddly() {
    let server = Server::drips(b"220 mail.example ESMTP\r\n").await;
    assert_eq!(probed(probe(&server, None, contains("ESMTP"))).await, Answer::Pass);
    assert_eq!(
        probed(probe(&server, None, contains("IMAP"))).await,
        fail("the answer lacks `IMAP`: `220 mail.example ESMTP\\x0d\\n`")
    );
    let server = Server::each(|_closed| async {}).await;
    assert_eq!(probed(probe(&server, None, contains("x"))).await, fail("the answer lacks `x`: nothing came"));
    let server = Server::resets().await;
    let text = format!("connection reset by {}", server.address);
    assert_eq!(probed(probe(&server, Some("x"), contains("x"))).await, fail(text));
    // One that never stops is heard for a while only.
    let server =
        Server::each(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} })
            .await;
    let Answer::Fail(text) = probed(probe(&server, None, contains("end"))).await else { panic!() };
    let beginning = format!("the answer lacks `end`: `{}`... (", "x".repeat(80));
    assert!(text.starts_with(&beginning), "{text}");
}

#[tokio::test]
async fn addresses_that_are_none() {
    let probe = |address: &str| {
        Probe::Tcp(TcpProbe { address: address.into(), send: None, expect: None, timeout: SECOND })
    };
    let text = "`127.0.0.1` is no address such as `127.0.0.1:5432`";
    assert_eq!(probed(probe("127.0.0.1")).await, error(text));
}
