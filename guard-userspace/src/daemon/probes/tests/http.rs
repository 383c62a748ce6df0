//! Requests, and servers that answer oddly.

use std::collections::BTreeMap;

use guard_core::policy::model::{AuthProbe, Expected, HttpProbe, Probe, StatusRange};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::super::servers::{Authority, Server, head};
use super::super::trust::Trust;
use super::super::verdict::Bad;
use super::*;

fn get(url: String) -> HttpProbe {
    HttpProbe {
        url,
        method: "GET".into(),
        headers: BTreeMap::new(),
        status: vec![StatusRange { first: 200, last: 299 }],
        body: None,
        timeout: 20 * SECOND,
    }
}

async fn got(probe: HttpProbe) -> Answer {
    probed(Probe::Http(probe)).await
}

#[tokio::test]
async fn status_and_body() {
    let server = Server::answers("200 OK", "", "all is ready").await;
    let url = server.url("/health");
    assert_eq!(got(get(url.clone())).await, Answer::Pass);
    let with = |body| HttpProbe { body: Some(body), ..get(url.clone()) };
    assert_eq!(got(with(Expected::Contains("ready".into()))).await, Answer::Pass);
    assert_eq!(got(with(Expected::Matches("^all .* ready$".into()))).await, Answer::Pass);
    assert_eq!(got(with(Expected::Contains("steady".into()))).await, fail("the body lacks `steady`"));
    let matches = got(with(Expected::Matches("^ready".into()))).await;
    assert_eq!(matches, fail("the body does not match `^ready`"));
    let other = HttpProbe { status: vec![StatusRange { first: 204, last: 204 }], ..get(url) };
    assert_eq!(got(other).await, fail("status 200"));
    let server = Server::answers("503 Service Unavailable", "", "").await;
    assert_eq!(got(get(server.url("/"))).await, fail("status 503"));
    let server = Server::answers("302 Found", "Location: /login\x1b\r\n", "").await;
    // hyper refuses that header's byte before we see it.
    let Answer::Fail(text) = got(get(server.url("/"))).await else { panic!() };
    assert!(text.starts_with("the answer is not HTTP: "), "{text}");
    let server = Server::answers("302 Found", "Location: /login\r\n", "").await;
    assert_eq!(got(get(server.url("/"))).await, fail("status 302, which leads to /login"));
}

#[tokio::test]
async fn what_is_sent() {
    let (sender, mut heads) = unbounded_channel();
    let server = Server::each(move |mut stream| {
        let sender = sender.clone();
        async move {
            sender.send(head(&mut stream).await).unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let headers = BTreeMap::from([("X-Deep".into(), "1".into()), ("Host".into(), "web.example".into())]);
    let url = format!("http://a:b@{}/x?y=1", server.address);
    let probe = HttpProbe { method: "PURGE".into(), headers, ..get(url) };
    assert_eq!(got(probe).await, Answer::Pass);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("PURGE /x?y=1 HTTP/1.1\r\n"), "{head}");
    let agent = format!("user-agent: processguard/{}", env!("CARGO_PKG_VERSION"));
    for line in ["host: web.example", "x-deep: 1", "connection: close", "authorization: Basic YTpi", &agent] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    let odd = HttpProbe { headers: BTreeMap::from([("a b".into(), "1".into())]), ..get(server.url("/")) };
    assert_eq!(got(odd).await, error("`a b` is no name of a header"));
    let odd = HttpProbe { headers: BTreeMap::from([("a".into(), "1\n2".into())]), ..get(server.url("/")) };
    assert_eq!(got(odd).await, error("the header `a` cannot have that value"));
}

#[tokio::test]
async fn servers_that_answer_badly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(got(get(format!("http://{nobody}/"))).await, fail(format!("connection refused by {nobody}")));

    let server = Server::resets().await;
    let text = format!("connection reset by {}", server.address);
    assert_eq!(got(get(server.url("/"))).await, fail(text));

    let short = |url| HttpProbe { timeout: 100 * MILLISECOND, ..get(url) };
    let server = Server::stalls(b"").await;
    assert_eq!(got(short(server.url("/"))).await, fail("no answer within 100ms"));
    let server = Server::stalls(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await;
    let text = "no end of the answer (status 200, 5 bytes of its body came) within 100ms";
    assert_eq!(got(short(server.url("/"))).await, fail(text));
    let server = Server::drips(&[b'x'; 2000]).await;
    let Answer::Fail(text) = got(short(server.url("/"))).await else { panic!() };
    assert!(text.starts_with("the answer is not HTTP"), "{text}");

    let closed = |server: &Server| {
        fail(format!("{} closed the connection before its answer was complete", server.address))
    };
    let server = Server::says("").await;
    assert_eq!(got(get(server.url("/"))).await, closed(&server));
    let server = Server::says("HTTP/1.1 200 OK\r\nContent-Le").await;
    assert_eq!(got(get(server.url("/"))).await, closed(&server));
    let server = Server::says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await;
    assert_eq!(got(get(server.url("/"))).await, closed(&server));
}

#[tokio::test]
async fn of_a_long_body_the_beginning_is_read() {
    let body = |end: &str| "x".repeat(2 << 20) + end;
    let server = Server::answers("200 OK", "", &body("end")).await;
    let lacking = HttpProbe { body: Some(Expected::Contains("end".into())), ..get(server.url("/")) };
    assert_eq!(got(lacking).await, fail("the first 1MiB of the body lacks `end`"));
    // Not even its end is waited for.
    let server = Server::each(|mut stream| async move {
        head(&mut stream).await;
        let _sent = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(got(get(server.url("/"))).await, Answer::Pass);
}

#[tokio::test]
async fn whoever_has_no_credentials_must_be_refused() {
    let auth = |url| {
        Probe::Auth(AuthProbe { url, method: "GET".into(), refused: vec![401, 403], timeout: 20 * SECOND })
    };
    let server = Server::answers("401 Unauthorized", "", "").await;
    assert_eq!(probed(auth(server.url("/admin"))).await, Answer::Pass);
    let server = Server::answers("200 OK", "", "").await;
    let text = "let in without credentials: status 200 instead of 401 or 403";
    assert_eq!(probed(auth(server.url("/admin"))).await, fail(text));
    let server = Server::answers("302 Found", "Location: /login\r\n", "").await;
    let text = "not refused as it must be: status 302, which leads to /login instead of 401 or 403";
    assert_eq!(probed(auth(server.url("/admin"))).await, fail(text));
}

#[tokio::test]
async fn over_tls() {
    let authority = Authority::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready";
    let server = authority.server("localhost", 1000, false, answer).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let probe = HttpProbe { body: Some(Expected::Contains("ready".into())), ..get(url.clone()) };
    let trust = Trust::new(Some(authority.file()));
    assert_eq!(super::super::http::probe(&probe, &trust).await, Ok(()));
    // Another authority vouches for it.
    let stranger = Authority::new();
    let trust = Trust::new(Some(stranger.file()));
    let text = "the certificate's issuer is not trusted";
    let refused = super::super::http::probe(&probe, &trust).await;
    assert_eq!(refused, Err(Bad::Fail(text.into())));
    let trust = Trust::new(Some("/nonexistent/ca.pem".into()));
    let Err(Bad::Own(text)) = super::super::http::probe(&probe, &trust).await else { panic!() };
    assert!(text.starts_with("no certificate authority in `/nonexistent/ca.pem`: "), "{text}");
    let plain = Server::stalls(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let probe = get(format!("https://{}/", plain.address));
    let trust = Trust::new(Some(authority.file()));
    let refused = super::super::http::probe(&probe, &trust).await;
    assert_eq!(refused, Err(Bad::Fail("what came is not TLS".into())));
}

#[tokio::test]
async fn garbage_is_a_failure_and_no_danger() {
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let piece = proptest::prop_oneof![
        proptest::collection::vec(proptest::num::u8::ANY, 0..40),
        proptest::sample::select(vec![
            "HTTP/1.1 200 OK\r\n",
            "HTTP/9.9 ",
            "\r\n",
            "\r\n\r\n",
            "Content-Length: ",
            "18446744073709551615",
            "Transfer-Encoding: chunked\r\n",
            "ffffffffffffffffff\r\n",
            "0\r\n",
            ": ",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let pieces = proptest::collection::vec(piece, 0..8);
    for _ in 0..150 {
        let answer = pieces.new_tree(&mut runner).unwrap().current().concat();
        let server = Server::says(answer.clone()).await;
        let probe = HttpProbe {
            timeout: 5 * SECOND,
            status: vec![StatusRange { first: 600, last: 600 }],
            ..get(server.url("/"))
        };
        let Answer::Fail(text) = got(probe).await else { panic!("{answer:?}") };
        assert!(!text.starts_with("no answer"), "{text}: {answer:?}");
    }
}
