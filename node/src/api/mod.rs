//! The local control API: HTTP and JSON on the loopback interface, for the command line and for programs of the same user.
//!
//! ```text
//! request --> guard (loopback Host, no foreign Origin, bearer token) --> body limit --> handler --> Node
//! ```
//! It holds no rules: every handler is a call to [`crate::runtime::Node`] and a shape from [`model`]. It never listens elsewhere than
//! on loopback, sends no `Access-Control-*` header, and no answer holds a secret key. Amounts are base units as decimal text; times
//! are seconds of chain time unless the name says otherwise. Errors are [`ErrorBody`].
//!
//! | method and path | what |
//! |---|---|
//! | `GET /v1/status` | [`model::StatusView`] |
//! | `GET /v1/tasks`, `GET /v1/tasks/{id}` | [`model::TaskView`] |
//! | `GET /v1/tasks/{id}/manifest`, `/index`, `/outcome` | the protocol's own types |
//! | `GET /v1/tasks/{id}/items/{n}` | the item's bytes, as `application/octet-stream` |
//! | `GET /v1/tasks/{id}/assignment` | [`model::AssignmentView`] |
//! | `POST /v1/tasks/{id}/enrol`, `/answers`, `/commit` | [`model::EnrolOrder`], [`model::AnswersOrder`], [`model::CommitOrder`] |
//! | `POST /v1/tasks/{id}/recover` | [`model::RecoverOrder`], [`model::RecoverDone`] |
//! | `POST /v1/shards?task={id}` | raw bytes of one shard |
//! | `POST /v1/publish/check` | [`model::PublishCheck`] |
//! | `POST /v1/publish` | [`model::PublishOrder`] |
//! | `POST /v1/claims` | [`model::RelayDone`] |
//! | `GET`, `POST /v1/claims/{payee}` | [`model::ClaimsView`], [`model::ClaimsDone`] |
//! | `GET /v1/disputes` | [`model::DisputeView`] |
//! | `POST /v1/disputes/proofs` | [`model::ProofOrder`], [`model::ProofDone`] |
//! | `GET /v1/stake` | [`model::StakeView`] |
//! | `POST /v1/stake/add`, `/unbond`, `/withdraw` | [`model::StakeAdd`] for the first; [`model::StakeDone`] |
//! | `GET /v1/bonus/{task}`, `POST .../lock`, `.../claim` | [`model::BonusView`], [`model::PayInOrder`], [`model::ShareOrder`] |
//! | `GET /v1/datasets/{task}`, `POST .../publish`, `.../pay`, `.../claim` | [`model::DatasetView`], [`model::DatasetOrder`], [`model::PayInOrder`], [`model::ShareOrder`] |
//! | `GET /v1/reputation/{account}` | [`model::ReputationView`] |
//! | `GET /v1/events?after={seq}&wait_secs={n}` | [`model::EventsView`]: waits until there is news |
//! | `POST /v1/shutdown` | stops the node in order |

mod claims;
mod disputes;
mod error;
mod events;
mod guard;
pub mod model;
mod publish;
mod recover;
mod reputation;
mod server;
mod shares;
mod stake;
mod status;
mod tasks;
mod work;

pub use error::{ErrorBody, ErrorKind};
pub use events::EVENTS_KEPT_MAX;
pub use server::{ApiConfig, ApiServer, ApiStartError};
