//! Who may ask: which hosts a request may be addressed to, which pages it may come from, and who has the token. Pure: headers in, a
//! refusal or none out.
//!
//! A name in `Host` that is not this device's would let a page of another site reach it by a name that it points here (DNS rebinding); an
//! address cannot be pointed anywhere. A request that a browser says comes from another site is refused, reading or writing.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, StatusCode, header};
use sha2::{Digest, Sha256};

/// What a request must satisfy.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Names of this device beside localhost and addresses, in lower case.
    hosts: Vec<String>,
    /// Digest of the token, where one is needed.
    token: Option<[u8; 32]>,
}

/// Why a request is refused.
pub type Refusal = (StatusCode, &'static str);

impl Guard {
    /// For a device with these names.
    pub fn new(hosts: &[String], token: Option<&str>) -> Guard {
        let hosts = hosts.iter().map(|h| h.to_ascii_lowercase()).collect();
        Guard { hosts, token: token.map(|t| Sha256::digest(t).into()) }
    }

    /// Whether a request may be answered; what is `open` needs no token and may be reached by a link from anywhere.
    ///
    /// # Errors
    /// The refusal.
    pub fn admit(&self, method: &Method, headers: &HeaderMap, is_open: bool) -> Result<(), Refusal> {
        let host = text(headers, header::HOST.as_str()).ok_or((StatusCode::FORBIDDEN, "the request names no host"))?;
        if !self.is_own(host) {
            return Err((
                StatusCode::FORBIDDEN,
                "the request is addressed to another host; add its name to serve.hosts if it is this device's",
            ));
        }
        if is_open && *method == Method::GET {
            return Ok(());
        }
        // Any value of these headers that is not known to be harmless is refused.
        let is_same = |site: &str| matches!(site, "same-origin" | "none");
        if headers.contains_key("sec-fetch-site") && !text(headers, "sec-fetch-site").is_some_and(is_same) {
            return Err((StatusCode::FORBIDDEN, "the request comes from another site"));
        }
        if headers.contains_key(header::ORIGIN) && text(headers, "origin").and_then(authority) != Some(host) {
            return Err((StatusCode::FORBIDDEN, "the request comes from another site"));
        }
        match self.token {
            Some(token) if !text(headers, "authorization").is_some_and(|given| is_token(given, &token)) => {
                Err((StatusCode::UNAUTHORIZED, "this needs the token: Authorization: Bearer TOKEN"))
            }
            _ => Ok(()),
        }
    }

    fn is_own(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((v6, rest)) if is_port(rest) => return v6.parse::<IpAddr>().is_ok(),
                _ => return false,
            },
            None => match host.split_once(':') {
                Some((name, port)) if port.parse::<u16>().is_ok() => name,
                Some(_) => return false,
                None => host,
            },
        };
        let name = name.to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.hosts.contains(&name)
    }
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// The one value of a header; none where there are several, or it is no text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let one = all.next()?;
    if all.next().is_some() { None } else { one.to_str().ok() }
}

/// `host:port` of an origin.
fn authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
}

/// Digests are compared, so that the time says nothing of the token.
fn is_token(given: &str, token: &[u8; 32]) -> bool {
    given.strip_prefix("Bearer ").is_some_and(|given| Sha256::digest(given).as_slice() == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(k, v)| (header::HeaderName::from_static(k), v.parse().unwrap())).collect()
    }

    fn admitted(guard: &Guard, all: &[(&'static str, &str)]) -> Result<(), u16> {
        guard.admit(&Method::POST, &headers(all), false).map_err(|(code, _)| code.as_u16())
    }

    #[test]
    fn only_requests_to_this_device_are_answered() {
        let guard = Guard::new(&["Box.local".into()], None);
        for host in ["localhost", "localhost:8080", "127.0.0.1:80", "192.168.1.7", "[::1]:8080", "[fe80::1]", "box.local", "BOX.LOCAL:1"] {
            assert_eq!(admitted(&guard, &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "box.local.evil", "127.0.0.1.evil", "[::1", "[x]:1", "localhost:x", "a:b:c", ""]
        {
            assert_eq!(admitted(&guard, &[("host", host)]), Err(403), "{host}");
        }
        assert_eq!(admitted(&guard, &[]), Err(403));
        assert_eq!(admitted(&guard, &[("host", "localhost"), ("host", "evil.example")]), Err(403), "two hosts");
    }

    #[test]
    fn no_page_of_another_site_may_ask() {
        let guard = Guard::new(&[], None);
        let from = |k, v| admitted(&guard, &[("host", "127.0.0.1:8080"), (k, v)]);
        assert_eq!(from("origin", "http://127.0.0.1:8080"), Ok(()));
        assert_eq!(from("origin", "https://127.0.0.1:8080"), Ok(()));
        for origin in ["http://evil.example", "http://127.0.0.1:8081", "null", "http://localhost:8080", "127.0.0.1:8080"] {
            assert_eq!(from("origin", origin), Err(403), "{origin}");
        }
        assert_eq!(from("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(from("sec-fetch-site", "cross-site"), Err(403));
        assert_eq!(from("sec-fetch-site", "same-site"), Err(403));
        let linked = headers(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        assert!(guard.admit(&Method::GET, &linked, true).is_ok(), "a link to the page");
        assert!(guard.admit(&Method::GET, &linked, false).is_err(), "what the device knows");
        assert!(guard.admit(&Method::POST, &linked, true).is_err());
    }

    #[test]
    fn where_a_token_is_needed_no_other_will_do() {
        let guard = Guard::new(&[], Some("correct horse battery"));
        let with = |v| admitted(&guard, &[("host", "10.0.0.2"), ("authorization", v)]);
        assert_eq!(with("Bearer correct horse battery"), Ok(()));
        for wrong in ["Bearer correct horse", "Bearer ", "correct horse battery", "bearer correct horse battery", "Basic eDp5"] {
            assert_eq!(with(wrong), Err(401), "{wrong}");
        }
        assert_eq!(admitted(&guard, &[("host", "10.0.0.2")]), Err(401));
        assert!(guard.admit(&Method::GET, &headers(&[("host", "10.0.0.2")]), true).is_ok());
    }
}
