//! The command line's side of the control API.

use std::{error::Error as _, fmt::Write as _, time::Duration};

use assay_protocol::id::TaskId;
use reqwest::{Method, header};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    failure::{Exit, Failure},
    folder::Folder,
};
use crate::api::{
    ErrorBody,
    model::{EventsView, TaskView},
};

/// How long connecting to a node on this machine may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// How long one answer may take: claims wait for a block, items for other nodes.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);
/// Tasks named when a prefix fits several.
const AMBIGUOUS_SHOWN: usize = 5;

/// A running node's API.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
    place: String,
}

impl Api {
    /// The API of the node that runs in `folder`.
    ///
    /// # Errors
    /// When none runs, or its access file cannot be read.
    pub fn open(folder: &Folder) -> Result<Self, Failure> {
        let access = folder.access()?;
        // The answer never comes from elsewhere than this machine: no proxy, no redirect.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_PATIENCE)
            .timeout(ANSWER_PATIENCE)
            .build()
            .map_err(|e| {
                Failure::new(
                    Exit::Failure,
                    format!("the HTTP client does not start: {e}"),
                )
            })?;
        Ok(Self {
            http,
            url: access.url,
            token: access.token,
            place: folder.path().display().to_string(),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Vec<u8>, Failure> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token);
        if let Some((kind, bytes)) = body {
            request = request.header(header::CONTENT_TYPE, kind).body(bytes);
        }
        let answer = request.send().await.map_err(|e| self.unreachable(&e))?;
        let good = answer.status().is_success();
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|e| self.unreachable(&e))?;
        if good {
            return Ok(bytes.into());
        }
        Err(match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => body.into(),
            // Layers before the handlers (body limits, malformed JSON) answer in plain text.
            Err(_) => {
                let words = String::from_utf8_lossy(&bytes);
                Failure::new(
                    Exit::Failure,
                    format!("the node answers {path} with {status}: {}", words.trim()),
                )
            }
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            return Failure::new(Exit::Failure, "the node takes too long to answer")
                .next("look at its log, then try again");
        }
        let mut why = String::new();
        let mut cause = error.source();
        while let Some(inner) = cause {
            why = inner.to_string();
            cause = inner.source();
        }
        let text = format!(
            "the node in {} does not answer ({why}); it was stopped, or it crashed",
            self.place
        );
        Failure::new(Exit::NotRunning, text).next("start it with `assay run`")
    }

    fn read<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|e| {
            Failure::new(
                Exit::Failure,
                format!("the node's answer to {path} is unreadable: {e}"),
            )
            .next("is the running node of another version? start it again with this program")
        })
    }

    /// Asks.
    ///
    /// # Errors
    /// The node's refusal, or none reached.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        Self::read(path, &self.send(Method::GET, path, None).await?)
    }

    /// Asks for bytes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        self.send(Method::GET, path, None).await
    }

    /// Orders.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(std::io::Error::from)?;
        Self::read(
            path,
            &self
                .send(Method::POST, path, Some(("application/json", body)))
                .await?,
        )
    }

    /// Sends raw bytes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, Failure> {
        Self::read(
            path,
            &self
                .send(
                    Method::POST,
                    path,
                    Some(("application/octet-stream", bytes)),
                )
                .await?,
        )
    }

    /// News after `after`, waiting at most `wait_secs`; without `after`, only the present number.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn events(&self, after: Option<u64>, wait_secs: u64) -> Result<EventsView, Failure> {
        let mut path = format!("/v1/events?wait_secs={wait_secs}");
        if let Some(after) = after {
            // Writing to a string cannot fail.
            let _ = write!(path, "&after={after}");
        }
        self.get(&path).await
    }

    /// The task with this id, or the only one whose id starts like this.
    ///
    /// # Errors
    /// None or several.
    pub async fn task_id(&self, text: &str) -> Result<TaskId, Failure> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let prefix = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Failure::new(Exit::Usage, format!("{text:?} is no task id"))
                .next("ids stand in `assay task list`"));
        }
        let tasks: Vec<TaskView> = self.get("/v1/tasks").await?;
        pick(&tasks.iter().map(|t| t.id).collect::<Vec<_>>(), &prefix)
    }
}

fn pick(tasks: &[TaskId], prefix: &str) -> Result<TaskId, Failure> {
    let fits: Vec<TaskId> = tasks
        .iter()
        .filter(|t| t.to_string().starts_with(prefix))
        .copied()
        .collect();
    match fits.as_slice() {
        [one] => Ok(*one),
        [] => Err(Failure::new(
            Exit::Failure,
            format!("no task known here starts with {prefix}"),
        )
        .next("look at `assay task list`, or wait until its announcement arrives")),
        several => {
            let names: Vec<String> = several
                .iter()
                .take(AMBIGUOUS_SHOWN)
                .map(ToString::to_string)
                .collect();
            Err(Failure::new(
                Exit::Failure,
                format!("{} tasks start with {prefix}", several.len()),
            )
            .next(format!("give more digits: {}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_a_task_only_when_it_is_the_only_one() {
        let tasks = [TaskId([0xab; 32]), TaskId([0xac; 32])];
        assert_eq!(pick(&tasks, "ab"), Ok(tasks[0]));
        assert!(
            pick(&tasks, "a")
                .expect_err("two")
                .next
                .contains(&tasks[1].to_string())
        );
        assert!(pick(&tasks, "b").is_err());
    }
}
