//! Who may speak to the API. Runs before routing and before any body is read.
//!
//! Three independent locks, because each has failed alone elsewhere: the socket is loopback only; the `Host` must be a loopback name
//! with our port (a web page that rebinds its own name to 127.0.0.1 sends its own name) and an `Origin` must be our own; the bearer token
//! must be the one in the file that only the owner can read. The token is asked even for reading.

use std::{net::Ipv6Addr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::error::{ApiError, ErrorKind};

/// What the guard compares with.
#[derive(Clone)]
pub(super) struct Guard(Arc<Expected>);

struct Expected {
    port: u16,
    token: blake3::Hash,
}

impl Guard {
    pub fn new(port: u16, token: &str) -> Self {
        Self(Arc::new(Expected {
            port,
            token: blake3::hash(token.as_bytes()),
        }))
    }

    fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let misdirected = |what: &str| {
            let next = format!(
                "ask http://127.0.0.1:{} directly, without a proxy or a web page in between",
                self.0.port
            );
            ApiError::new(ErrorKind::Unauthorised, what, next)
                .with_status(StatusCode::MISDIRECTED_REQUEST)
        };
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(misdirected("the request must name exactly one Host"));
        };
        if !host.to_str().is_ok_and(|h| self.is_own_authority(h)) {
            return Err(misdirected(
                "the Host is not this machine's loopback interface with the API's port",
            ));
        }
        if uri
            .authority()
            .is_some_and(|a| !self.is_own_authority(a.as_str()))
        {
            return Err(misdirected("the request line names another host"));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let own = origin
                .to_str()
                .ok()
                .and_then(|o| o.strip_prefix("http://"))
                .is_some_and(|o| self.is_own_authority(o));
            if !own {
                return Err(
                    misdirected("requests of web pages from elsewhere are refused")
                        .with_status(StatusCode::FORBIDDEN),
                );
            }
        }
        for site in headers.get_all("sec-fetch-site") {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err(
                    misdirected("requests of web pages from elsewhere are refused")
                        .with_status(StatusCode::FORBIDDEN),
                );
            }
        }
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.strip_prefix("Bearer "));
        // Hashes compare in constant time and tell nothing about the token by how long it takes.
        if token.is_none_or(|t| blake3::hash(t.as_bytes()) != self.0.token) {
            let next = "send `Authorization: Bearer TOKEN` with the token in api.json of the node's data directory";
            return Err(ApiError::new(
                ErrorKind::Unauthorised,
                "the token is missing or wrong",
                next,
            ));
        }
        Ok(())
    }

    /// Whether `text` is `127.0.0.1`, `localhost` or `[::1]` with our port.
    fn is_own_authority(&self, text: &str) -> bool {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port),
            _ => return false,
        };
        let loopback = name == "127.0.0.1"
            || name.eq_ignore_ascii_case("localhost")
            || name
                .strip_prefix('[')
                .and_then(|n| n.strip_suffix(']'))
                .and_then(|n| n.parse().ok())
                == Some(Ipv6Addr::LOCALHOST);
        loopback && port.bytes().all(|b| b.is_ascii_digit()) && port.parse() == Ok(self.0.port)
    }
}

/// The middleware.
pub(super) async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn check(headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        match Guard::new(4242, TOKEN).check(&Uri::from_static("/v1/status"), &map) {
            Ok(()) => 200,
            Err(refused) => refused.into_response().status().as_u16(),
        }
    }

    const AUTH: (&str, &str) = ("authorization", "Bearer 0123456789abcdef");

    #[test]
    fn only_loopback_names_with_our_port_are_served() {
        for host in [
            "127.0.0.1:4242",
            "localhost:4242",
            "LOCALHOST:4242",
            "[::1]:4242",
        ] {
            assert_eq!(check(&[("host", host), AUTH]), 200, "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:4243",
            "127.0.0.1:",
            "localhost",
            "localhost.evil.example:4242",
            "evil.example:4242",
            "[::1]",
            "[::2]:4242",
            "::1:4242",
            "127.0.0.1.evil.example:4242",
            "",
            "127.0.0.1:+4242",
        ] {
            assert_eq!(check(&[("host", host), AUTH]), 421, "{host}");
        }
        assert_eq!(check(&[AUTH]), 421, "no Host");
        assert_eq!(
            check(&[("host", "127.0.0.1:4242"), ("host", "evil.example"), AUTH]),
            421,
            "two Hosts"
        );
    }

    #[test]
    fn an_absolute_request_line_cannot_smuggle_another_host_in() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:4242"));
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Bearer 0123456789abcdef"),
        );
        let guard = Guard::new(4242, TOKEN);
        assert!(
            guard
                .check(&Uri::from_static("http://evil.example/v1/status"), &headers)
                .is_err()
        );
        assert!(
            guard
                .check(
                    &Uri::from_static("http://127.0.0.1:4242/v1/status"),
                    &headers
                )
                .is_ok()
        );
    }

    #[test]
    fn web_pages_from_elsewhere_are_refused_even_with_the_token() {
        let host = ("host", "127.0.0.1:4242");
        assert_eq!(
            check(&[host, AUTH, ("origin", "http://127.0.0.1:4242")]),
            200
        );
        assert_eq!(check(&[host, AUTH, ("sec-fetch-site", "same-origin")]), 200);
        for origin in [
            "http://evil.example",
            "null",
            "http://127.0.0.1:8080",
            "https://127.0.0.1:4242",
            "http://evil.example:4242",
        ] {
            assert_eq!(check(&[host, AUTH, ("origin", origin)]), 403, "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(
                check(&[host, AUTH, ("sec-fetch-site", site)]),
                403,
                "{site}"
            );
        }
    }

    #[test]
    fn a_missing_or_wrong_token_is_refused() {
        let host = ("host", "127.0.0.1:4242");
        assert_eq!(check(&[host]), 401);
        for token in [
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "0123456789abcdef",
            "Basic 0123456789abcdef",
        ] {
            assert_eq!(check(&[host, ("authorization", token)]), 401, "{token}");
        }
    }
}
