//! The listener: loopback only, one router, every layer of protection around all of it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use assay_protocol::limit;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, oneshot, watch},
    task::JoinHandle,
};

use super::{
    claims, disputes,
    error::{ApiError, ErrorKind},
    events::{self, EventLog},
    guard::{self, Guard},
    model::Access,
    publish, recover, reputation, shares, stake, status, tasks, work,
};
use crate::runtime::Node;

/// Largest JSON body in bytes, but for publishing.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest body of `POST /v1/publish` in bytes: a manifest and the gold of every wave as JSON.
const PUBLISH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest body of `POST /v1/disputes/proofs` in bytes: a million leaves as JSON.
const PROOF_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Requests under way at once; more are refused.
const REQUESTS_MAX: usize = 128;
/// Shards, and trees handed in as evidence, taken in at once; more wait.
const SHARDS_AT_ONCE: usize = 2;
/// How long requests under way may take after the node was told to stop.
const GRACE: Duration = Duration::from_secs(2);
/// Secret bytes of a token.
const TOKEN_BYTES: usize = 32;

/// How the API is started.
pub struct ApiConfig {
    /// Port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// How far the registration of the node's account is, one sentence.
    pub registration: watch::Receiver<String>,
}

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiStartError {
    /// The port cannot be had.
    #[error(
        "the control API cannot listen on 127.0.0.1:{port}: {source}; set `api_port` to 0 or to a free port"
    )]
    Listen {
        /// Port.
        port: u16,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness for the API's token: {0}")]
    Random(String),
}

/// What every handler can use.
#[derive(Clone)]
pub(super) struct Shared {
    pub node: Node,
    pub events: Arc<EventLog>,
    pub registration: watch::Receiver<String>,
    pub stopping: watch::Receiver<bool>,
    pub started: Instant,
    stop_asked: Arc<Notify>,
    places: Arc<Semaphore>,
    shard_places: Arc<Semaphore>,
}

/// A running API.
pub struct ApiServer {
    access: Access,
    stop_asked: Arc<Notify>,
    stopping: watch::Sender<bool>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    following: JoinHandle<()>,
}

impl ApiServer {
    /// Listens on 127.0.0.1 with a fresh token.
    ///
    /// # Errors
    /// [`ApiStartError`].
    pub async fn start(node: Node, config: ApiConfig) -> Result<Self, ApiStartError> {
        let failed = |source| ApiStartError::Listen {
            port: config.port,
            source,
        };
        let mut secret = [0; TOKEN_BYTES];
        getrandom::fill(&mut secret).map_err(|e| ApiStartError::Random(e.to_string()))?;
        let token = hex::encode(secret);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();

        let events = EventLog::new();
        let following = tokio::spawn(Arc::clone(&events).follow(node.subscribe()));
        let (stopping, stopping_out) = watch::channel(false);
        let stop_asked = Arc::new(Notify::new());
        let shared = Shared {
            node,
            events,
            registration: config.registration,
            stopping: stopping_out,
            started: Instant::now(),
            stop_asked: Arc::clone(&stop_asked),
            places: Arc::new(Semaphore::new(REQUESTS_MAX)),
            shard_places: Arc::new(Semaphore::new(SHARDS_AT_ONCE)),
        };
        let app = router(shared, Guard::new(port, &token));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let until = async move {
                // A dropped handle stops the API too.
                let _ = stopped.await;
            };
            if let Err(error) = axum::serve(listener, app)
                .with_graceful_shutdown(until)
                .await
            {
                tracing::error!(%error, "the control API has stopped");
            }
        });
        let access = Access {
            url: format!("http://127.0.0.1:{port}"),
            token,
            pid: std::process::id(),
        };
        Ok(Self {
            access,
            stop_asked,
            stopping,
            stop,
            serving,
            following,
        })
    }

    /// Where and with which token it is reached.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Waits until somebody asks the node to stop.
    pub async fn stop_asked(&self) {
        self.stop_asked.notified().await;
    }

    /// Stops listening; requests under way get a short time to end.
    pub async fn shutdown(self) {
        self.stopping.send_replace(true);
        // The server may have ended already.
        let _ = self.stop.send(());
        let mut serving = self.serving;
        if tokio::time::timeout(GRACE, &mut serving).await.is_err() {
            serving.abort();
        }
        self.following.abort();
    }
}

fn router(shared: Shared, guard: Guard) -> Router {
    let shards = Router::new()
        .route("/v1/shards", post(publish::shard))
        .layer(DefaultBodyLimit::max(limit::SHARD_BYTES_MAX as usize))
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            one_of_few_shards,
        ));
    let publish = Router::new()
        .route("/v1/publish", post(publish::publish))
        .route("/v1/publish/check", post(publish::check))
        .layer(DefaultBodyLimit::max(PUBLISH_BYTES_MAX));
    let proofs = Router::new()
        .route("/v1/disputes/proofs", post(disputes::prove))
        .layer(DefaultBodyLimit::max(PROOF_BYTES_MAX))
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            one_of_few_shards,
        ));
    let rest = Router::new()
        .route("/v1/status", get(status::status))
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{id}", get(tasks::show))
        .route("/v1/tasks/{id}/manifest", get(tasks::manifest))
        .route("/v1/tasks/{id}/index", get(tasks::index))
        .route("/v1/tasks/{id}/outcome", get(tasks::outcome))
        .route("/v1/tasks/{id}/items/{item}", get(tasks::item))
        .route("/v1/tasks/{id}/assignment", get(work::assignment))
        .route("/v1/tasks/{id}/enrol", post(work::enrol))
        .route("/v1/tasks/{id}/answers", post(work::answers))
        .route("/v1/tasks/{id}/commit", post(work::commit))
        .route("/v1/tasks/{id}/recover", post(recover::recover))
        .route("/v1/claims", post(claims::relay))
        .route("/v1/claims/{payee}", get(claims::show).post(claims::claim))
        .route("/v1/disputes", get(disputes::list))
        .route("/v1/stake", get(stake::show))
        .route("/v1/stake/add", post(stake::add))
        .route("/v1/stake/unbond", post(stake::unbond))
        .route("/v1/stake/withdraw", post(stake::withdraw))
        .route("/v1/bonus/{task}", get(shares::bonus))
        .route("/v1/bonus/{task}/lock", post(shares::lock))
        .route("/v1/bonus/{task}/claim", post(shares::claim_bonus))
        .route("/v1/datasets/{task}", get(shares::dataset))
        .route("/v1/datasets/{task}/publish", post(shares::publish))
        .route("/v1/datasets/{task}/pay", post(shares::pay))
        .route("/v1/datasets/{task}/claim", post(shares::claim_income))
        .route("/v1/reputation/{account}", get(reputation::show))
        .route("/v1/events", get(events::since))
        .route("/v1/shutdown", post(shutdown))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    shards
        .merge(publish)
        .merge(proofs)
        .merge(rest)
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(middleware::from_fn_with_state(shared.clone(), one_of_many))
        .layer(middleware::from_fn_with_state(guard, guard::admit))
        .layer(middleware::from_fn(harden))
        .with_state(shared)
}

/// Answers are for programs: a browser shall neither guess a type nor frame, cache or run anything.
async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; sandbox",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn one_of_many(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Ok(_place) = shared.places.try_acquire() else {
        return ApiError::new(
            ErrorKind::Busy,
            format!("{REQUESTS_MAX} requests are under way"),
            "try again in a moment",
        )
        .into_response();
    };
    next.run(request).await
}

async fn one_of_few_shards(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let Ok(_place) = shared.shard_places.acquire().await else {
        return ApiError::new(ErrorKind::Stopped, "the node is stopping", "").into_response();
    };
    next.run(request).await
}

async fn unknown(request: Request) -> ApiError {
    let what = format!("there is no {} {}", request.method(), request.uri().path());
    ApiError::not_found(
        what,
        "the paths stand in the documentation of the control API; is the program of another version?",
    )
}

async fn shutdown(State(shared): State<Shared>) -> Json<serde_json::Value> {
    shared.stop_asked.notify_one();
    Json(serde_json::json!({ "stopping": true }))
}
