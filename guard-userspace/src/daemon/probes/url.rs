//! The parts of a URL that a request needs.

use hyper::Uri;

use super::dial;
use super::verdict::Bad;

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) tls: bool,
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// For the header of that name: with the port, unless it is the protocol's own.
    pub(super) host_header: String,
    /// Path and query.
    pub(super) path: String,
    /// `Basic ...`, for a URL with a user.
    pub(super) authorization: Option<String>,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, Bad> {
        let parse = || {
            let uri: Uri = url.parse().ok()?;
            let (tls, usual) = match uri.scheme_str()? {
                "http" => (false, 80),
                "https" => (true, 443),
                _ => return None,
            };
            let authority = uri.authority()?.as_str();
            let (user, place) = match authority.rsplit_once('@') {
                Some((user, place)) => (Some(user), place),
                None => (None, authority),
            };
            let host = dial::bare(uri.host().filter(|host| !host.is_empty())?).to_owned();
            let path = uri.path_and_query().map_or("/", |path| path.as_str());
            Some(Self {
                tls,
                host,
                port: uri.port_u16().unwrap_or(usual),
                host_header: place.to_owned(),
                path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
                authorization: user.map(|user| format!("Basic {}", base64(&unescaped(user)))),
            })
        };
        parse()
            .map_or_else(|| Bad::own(format!("`{url}` is no URL such as `http://127.0.0.1:8080/health`")), Ok)
    }
}

/// `%40` is `@`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => return bytes,
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
                bytes.push(u8::try_from(digit(*high) * 16 + digit(*low)).unwrap_or(b'%'));
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS.get((bits & 63) as usize).map_or('A', |digit| char::from(*digit));
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digits = [bits >> 18, bits >> 12, bits >> 6, bits].map(digit);
        text.extend(digits.iter().take(chunk.len() + 1));
        text.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts() {
        let target = Target::parse("http://127.0.0.1:8080/health?deep=1#top").unwrap();
        assert_eq!((target.tls, target.host.as_str(), target.port), (false, "127.0.0.1", 8080));
        assert_eq!((target.host_header.as_str(), target.path.as_str()), ("127.0.0.1:8080", "/health?deep=1"));
        assert_eq!(target.authorization, None);
        let target = Target::parse("https://[::1]").unwrap();
        assert_eq!((target.tls, target.host.as_str(), target.port), (true, "::1", 443));
        assert_eq!((target.host_header.as_str(), target.path.as_str()), ("[::1]", "/"));
        let target = Target::parse("https://a%40b:c@example.org?x").unwrap();
        // printf 'a@b:c' | base64
        assert_eq!(target.authorization.as_deref(), Some("Basic YUBiOmM="));
        assert_eq!((target.host.as_str(), target.path.as_str()), ("example.org", "/?x"));
        for text in ["", "http://", "ftp://a/", "http:///x", "http://a b/", "/health"] {
            let bad = Target::parse(text).unwrap_err().to_string();
            assert_eq!(bad, format!("`{text}` is no URL such as `http://127.0.0.1:8080/health`"));
        }
    }

    #[test]
    fn base64_is_padded() {
        // RFC 4648, section 10.
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
