//! As much of an HTTP server as a probe needs: one thread for each connection, one request for each.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

/// What a request's path is answered with; `None`: nothing, ever, with the connection left open.
pub(super) type Handler = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

/// Listens on the loopback interface.
pub(super) fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("listen on port {port}"))
}

/// Answers for ever.
pub(super) fn serve(listener: &TcpListener, handler: Arc<Handler>) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().context("accept")?;
        let handler = Arc::clone(&handler);
        // Whoever goes away early does without an answer.
        thread::spawn(move || drop(answer(stream, &*handler)));
    }
}

fn answer(stream: TcpStream, handler: &Handler) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let Some((status, body)) = handler(path) else {
        // Until the other side gives up.
        return reader.read_to_end(&mut Vec::new()).map(drop);
    };
    let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    reader.into_inner().write_all((head + &body).as_bytes())
}

/// Asks a server on the loopback interface; the body of its answer.
pub(super) fn ask(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connect")?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("ask")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("the answer")?;
    let (_, body) = text.split_once("\r\n\r\n").context("no answer")?;
    Ok(body.to_owned())
}
