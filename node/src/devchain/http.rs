//! The loopback JSON-RPC port, for wallets, `cast` and the other processes of a local network.
//!
//! A development chain has no access control, so the port must not be reachable from elsewhere: it
//! binds to loopback only, and it refuses requests a web page could make through the browser. A page
//! of another site reaches a loopback port with its own name in `Host` (DNS rebinding) or `Origin`,
//! and cannot send `application/json` without being asked first; all three are checked.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{
        HeaderMap, StatusCode, Uri,
        header::{CONTENT_TYPE, HOST, ORIGIN},
        uri::Authority,
    },
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};

use super::{
    DevChain,
    error::DevChainError,
    rpc::{parse_error, request_error, respond},
};

/// Largest request body, in bytes (2 MiB).
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most requests in one batch.
pub const BATCH_REQUESTS_MAX: usize = 100;
/// Most bodies answered at the same time; more wait.
pub const CALLS_AT_ONCE_MAX: usize = 32;
/// How long a stopping server waits for open connections.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(2);

/// A running JSON-RPC port; it closes when this is dropped.
#[derive(Debug)]
pub struct DevChainServer {
    /// Address the port listens on, with the number the system chose when 0 was asked for.
    pub addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl DevChainServer {
    /// The URL a provider connects to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops accepting, lets running calls finish (for at most two seconds) and closes.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // An error means that the server is gone already.
            let _ = stop.send(());
        }
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(SHUTDOWN_WAIT, &mut task)
                .await
                .is_err()
        {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for DevChainServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[derive(Clone)]
struct Front {
    chain: DevChain,
    slots: Arc<Semaphore>,
}

impl DevChain {
    /// Opens the JSON-RPC port on a loopback address; port 0 lets the system choose.
    ///
    /// # Errors
    /// An address that is not loopback, a port in use, or no Tokio runtime.
    pub fn serve(self, addr: SocketAddr) -> Result<DevChainServer, DevChainError> {
        if !addr.ip().is_loopback() {
            return Err(DevChainError::NotLoopback(addr));
        }
        let runtime =
            Handle::try_current().map_err(|_| DevChainError::NoRuntime("the JSON-RPC port"))?;
        let bind = |source| DevChainError::Bind { addr, source };
        let listener = TcpListener::bind(addr).map_err(bind)?;
        listener.set_nonblocking(true).map_err(bind)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(bind)?;
        let addr = listener.local_addr().map_err(bind)?;
        let app = Router::new()
            .route("/", post(answer))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(Front {
                chain: self,
                slots: Arc::new(Semaphore::new(CALLS_AT_ONCE_MAX)),
            });
        let (stop, stopped) = oneshot::channel::<()>();
        let task = runtime.spawn(async move {
            let server = axum::serve(listener, app).with_graceful_shutdown(async move {
                // A dropped sender stops the server too.
                let _ = stopped.await;
            });
            if let Err(error) = server.await {
                tracing::error!(%error, "the development chain's JSON-RPC port failed");
            }
        });
        tracing::info!(%addr, "development chain serves JSON-RPC; it has no value");
        Ok(DevChainServer {
            addr,
            stop: Some(stop),
            task: Some(task),
        })
    }
}

async fn answer(State(front): State<Front>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(refusal) = check_headers(&headers) {
        return refusal.into_response();
    }
    let Ok(_slot) = front.slots.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let chain = front.chain.clone();
    match tokio::task::spawn_blocking(move || answer_body(&chain, &body)).await {
        Ok(Some(text)) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Answers a body: one request or a batch; nothing when it holds notifications only.
pub(super) fn answer_body(chain: &DevChain, body: &[u8]) -> Option<String> {
    let reply = match serde_json::from_slice::<Value>(body) {
        Err(e) => Some(parse_error(&e.to_string())),
        Ok(Value::Array(requests)) if requests.is_empty() => {
            Some(request_error("the batch is empty"))
        }
        Ok(Value::Array(requests)) if requests.len() > BATCH_REQUESTS_MAX => {
            Some(request_error(&format!(
                "the batch has {} requests, at most {BATCH_REQUESTS_MAX}",
                requests.len()
            )))
        }
        Ok(Value::Array(requests)) => {
            let replies: Vec<Value> = requests
                .iter()
                .filter_map(|r| respond(&chain.shared, r))
                .collect();
            (!replies.is_empty()).then_some(Value::Array(replies))
        }
        Ok(request) => respond(&chain.shared, &request),
    };
    reply.map(|r| r.to_string())
}

type Refusal = (StatusCode, &'static str);

fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    const HOST_REFUSED: Refusal = (
        StatusCode::FORBIDDEN,
        "the Host header must name localhost, 127.0.0.1 or [::1]\n",
    );
    const ORIGIN_REFUSED: Refusal = (
        StatusCode::FORBIDDEN,
        "pages of other sites may not use this port\n",
    );
    const TYPE_REFUSED: Refusal = (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the content type must be application/json\n",
    );

    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts
        .next()
        .and_then(|h| h.to_str().ok())
        .and_then(|h| Authority::from_str(h).ok());
    if hosts.next().is_some() || !host.is_some_and(|h| is_local(&h)) {
        return Err(HOST_REFUSED);
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().ok().and_then(|o| Uri::from_str(o).ok());
        if !origin.is_some_and(|o| o.authority().is_some_and(is_local)) {
            return Err(ORIGIN_REFUSED);
        }
    }
    let mime = headers
        .get(CONTENT_TYPE)
        .and_then(|t| t.to_str().ok())
        .unwrap_or_default();
    let essence = mime.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(TYPE_REFUSED)
    }
}

/// Whether an authority names this machine's loopback, on any port and without user information.
fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    !authority.as_str().contains('@')
        && (host.eq_ignore_ascii_case("localhost")
            || IpAddr::from_str(bare).is_ok_and(|ip| ip.is_loopback()))
}
