//! Events as they come, across restarts of the daemon.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Bytes;
use serde_json::Value;
use tokio::time::sleep;

use super::{Api, Error};

/// How often a daemon that has gone is looked for.
const AGAIN: Duration = Duration::from_millis(500);

/// What comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Something happened: one JSON object, as it came.
    Event(String),
    /// So many events were missed; `None`: nobody knows how many.
    Missed(Option<u64>),
    /// The daemon has gone. Its socket is watched until another one answers.
    Gone,
}

/// Follows the events of all services, or of one: the last ones first, then, if wanted, all that come, for ever. `take` says
/// whether it wants more.
///
/// # Errors
/// If there is no daemon at first, or it does not let us follow.
pub async fn follow(
    api: &Api,
    service: Option<&str>,
    last: usize,
    forever: bool,
    mut take: impl FnMut(Item) -> bool,
) -> Result<(), Error> {
    let only = service.map(|service| format!("&service={}", super::encoded(service))).unwrap_or_default();
    let path = format!("/v1/events?last={last}&once={}{only}", !forever);
    let mut parser = Parser::default();
    loop {
        let response = api.request(Method::GET, &path, Bytes::new(), parser.id.as_deref()).await;
        match response {
            Ok(response) => {
                let mut body = response.into_body();
                while let Some(Ok(frame)) = body.frame().await {
                    let Ok(bytes) = frame.into_data() else { continue };
                    for item in parser.feed(&bytes) {
                        if !take(item) {
                            return Ok(());
                        }
                    }
                }
                if !forever || !take(Item::Gone) {
                    return Ok(());
                }
                parser.begun = true;
                parser.rest.clear();
            }
            // Only one that was there is waited for.
            Err(Error::NoDaemon { .. } | Error::Answer(_)) if parser.begun => {}
            Err(error) => return Err(error),
        }
        sleep(AGAIN).await;
    }
}

/// Reads a stream of events.
#[derive(Debug, Default)]
struct Parser {
    rest: Vec<u8>,
    /// Where we are.
    id: Option<String>,
    begun: bool,
}

impl Parser {
    /// What is complete by now.
    fn feed(&mut self, bytes: &[u8]) -> Vec<Item> {
        self.rest.extend_from_slice(bytes);
        let mut items = Vec::new();
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            items.extend(self.block(&String::from_utf8_lossy(&block)));
        }
        items
    }

    fn block(&mut self, block: &str) -> Option<Item> {
        let (mut event, mut data) = ("message", None);
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => self.id = Some(id.to_owned()),
                Some(("event", kind)) => event = kind,
                Some(("data", text)) => data = Some(text.to_owned()),
                // A comment.
                _ => {}
            }
        }
        let data = data?;
        match event {
            "missed" => {
                let document: Option<Value> = serde_json::from_str(&data).ok();
                Some(Item::Missed(document.and_then(|document| document.get("missed")?.as_u64())))
            }
            "message" => Some(Item::Event(data)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_however_it_is_cut() {
        let stream = b": events follow\n\nid: 7-1\ndata: {\"a\":\"b: c\"}\n\n: still here\n\nevent: missed\ndata: {\"missed\":3}\n\n\
            event: missed\ndata: {\"missed\":null}\n\nevent: new kind\ndata: x\n\nid: 7-5\ndata: {}\n\n";
        let expected = [
            Item::Event("{\"a\":\"b: c\"}".to_owned()),
            Item::Missed(Some(3)),
            Item::Missed(None),
            Item::Event("{}".to_owned()),
        ];
        for size in [1, 2, 7, 1000] {
            let mut parser = Parser::default();
            let items: Vec<Item> = stream.chunks(size).flat_map(|piece| parser.feed(piece)).collect();
            assert_eq!(items, expected, "{size}");
            assert_eq!(parser.id.as_deref(), Some("7-5"));
        }
    }
}
