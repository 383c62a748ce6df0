//! `listen --address ADDRESS [--port N]`: listens on a TCP port, 0 for any.

use std::net::{IpAddr, TcpListener};

use anyhow::{Context, Result};
use serde_json::json;

use super::Args;
use super::truth::Truth;
use crate::sys;

pub(super) fn listen(args: &Args) -> Result<()> {
    let address: IpAddr = args.number("address", [127, 0, 0, 1].into())?;
    let listener = TcpListener::bind((address, args.number("port", 0)?)).context("bind")?;
    let port = listener.local_addr().context("getsockname")?.port();
    Truth::open(args)?.line(&json!({
        "what": "listener",
        "pid": sys::pid(),
        "address": address.to_string(),
        "port": port,
    }))
}
