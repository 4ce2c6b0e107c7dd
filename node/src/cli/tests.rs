//! The command line's definition, and the way from it through the control API to a real node and back.

use assay_protocol::{
    amount::Amount,
    crypto::{EvmKey, NodeKeypair},
    id::{Account, Hash, TaskId},
    network::{CodeHashes, Contracts, Extras, NetworkProfile, Params},
};
use tokio::sync::watch;

use super::*;
use crate::{
    api::{
        ApiConfig, ApiServer,
        model::{
            Access, EnrolOrder, EventsView, PublishOrder, ReputationView, ShardKept, StatusView,
            TaskDone, TaskView,
        },
    },
    dataset::{self, Decimal, SourceItem, TaskSpec},
    runtime::{Node, NodeConfig},
};

#[test]
fn the_definition_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_flag_has_an_environment_twin_and_every_command_an_example() {
    fn check(command: &clap::Command, top: bool) {
        for arg in command.get_arguments().filter(|a| !a.is_positional()) {
            let id = arg.get_id().as_str();
            if id == "help" || id == "version" {
                continue;
            }
            let env = arg.get_env().and_then(|e| e.to_str()).unwrap_or_default();
            assert!(
                env.starts_with("ASSAY_"),
                "{}: --{id} has no ASSAY_... twin",
                command.get_name()
            );
        }
        if top {
            for sub in command.get_subcommands() {
                let example = sub
                    .get_before_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    example.starts_with("Example"),
                    "{} has no example",
                    sub.get_name()
                );
            }
        }
        command.get_subcommands().for_each(|c| check(c, false));
    }
    check(&command(), true);
}

/// The reference of the command line is a file that people read; `ASSAY_BLESS=1 cargo test -p assay-node cli::tests` writes it anew.
#[test]
#[cfg(feature = "devchain")]
fn the_reference_in_the_repository_is_the_help_of_this_version() {
    fn pages(command: &clap::Command, path: &str, out: &mut String) {
        let path = if path.is_empty() {
            command.get_name().to_owned()
        } else {
            format!("{path} {}", command.get_name())
        };
        let help = command
            .clone()
            .term_width(100)
            .render_long_help()
            .to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        out.push_str(&format!(
            "## {path}\n\n```text\n{}\n```\n\n",
            help.join("\n").trim_end()
        ));
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
            pages(sub, &path, out);
        }
    }
    let mut command = command();
    command.build();
    let mut text = "# Reference of the command line\n\nMade from the program's own help; a test keeps both equal.\n\n".to_owned();
    pages(&command, "", &mut text);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/reference.md");
    if std::env::var_os("ASSAY_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "the help changed; look at the difference, then run the tests with ASSAY_BLESS=1"
    );
}

pub(super) fn profile() -> NetworkProfile {
    let address = |n| Account([n; 20]);
    let hash = |n| Hash([n; 32]);
    NetworkProfile {
        name: "dev".into(),
        chain_id: 31_337,
        dev: true,
        // Nothing listens on the discard port: the chain is down all the time.
        rpc: vec!["http://127.0.0.1:9".into()],
        bootstrap: Vec::new(),
        start_block: 0,
        contracts: Contracts {
            token: address(1),
            registry: address(2),
            escrow: address(3),
            anchor: address(4),
            distributors: vec![address(5)],
            beacon: address(6),
        },
        code: CodeHashes {
            token: hash(1),
            registry: hash(2),
            escrow: hash(3),
            anchor: hash(4),
            distributors: vec![hash(5)],
            beacon: hash(6),
            disputes: hash(7),
        },
        extras: Extras::default(),
        params: Params::dev(),
    }
}

struct Running {
    dir: tempfile::TempDir,
    node: Node,
    api: ApiServer,
}

impl Running {
    /// A node without a chain, and its API; its folder looks as `assay run` leaves it.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(NodeConfig {
            data_dir: dir.path().join("store"),
            profile: profile(),
            node: NodeKeypair::from_seed(&[7; 32]),
            evm: EvmKey::from_secret(&[8; 32]),
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            poll: Duration::from_millis(100),
        })
        .await
        .unwrap();
        let (_, registration) = watch::channel("waiting for the chain".to_owned());
        let api = ApiServer::start(
            node.clone(),
            ApiConfig {
                port: 0,
                registration,
            },
        )
        .await
        .unwrap();
        let running = Self { dir, node, api };
        running.allow(running.api.access());
        running
    }

    fn folder(&self) -> Folder {
        Folder::find(Some(self.dir.path().to_owned())).unwrap()
    }

    fn allow(&self, access: &Access) {
        folder::replace(
            &self.folder().access_path(),
            0o600,
            &serde_json::to_string(access).unwrap(),
        )
        .unwrap();
    }

    fn client(&self) -> Api {
        Api::open(&self.folder()).unwrap()
    }

    async fn stop(self) {
        self.api.shutdown().await;
        self.node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_chain_answers_its_owner() {
    let running = Running::start().await;
    let api = running.client();
    let status: StatusView = api.get("/v1/status").await.unwrap();
    assert_eq!(
        (
            status.network.name.as_str(),
            status.chain.followed,
            status.lanes.len()
        ),
        ("dev", 0, 1)
    );
    assert_eq!(
        status.node.key,
        NodeKeypair::from_seed(&[7; 32]).public().to_string()
    );
    let account = status.account.unwrap();
    assert_eq!(
        account.account,
        EvmKey::from_secret(&[8; 32]).unwrap().account()
    );
    assert_eq!(
        (account.roles.len(), account.tokens),
        (0, None),
        "not registered, and the chain does not answer"
    );
    assert!(status.chain.error.is_some());
    assert_eq!(api.get::<Vec<TaskView>>("/v1/tasks").await.unwrap(), []);
    assert_eq!(
        api.events(None, 0).await.unwrap(),
        EventsView {
            next: 0,
            missed: false,
            events: Vec::new()
        }
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_carry_their_kind_as_an_exit_code() {
    let running = Running::start().await;
    let api = running.client();
    let unknown = TaskId([3; 32]);
    for path in [
        format!("/v1/tasks/{unknown}"),
        format!("/v1/tasks/{unknown}/outcome"),
        "/v1/nonsense".into(),
        "/v1/tasks/zz".into(),
    ] {
        let refused = api.get::<TaskView>(&path).await.expect_err(&path);
        assert_eq!(refused.exit, Exit::Failure, "{path}");
        assert!(!refused.next.is_empty(), "{path} says what to do next");
    }
    let refused = api
        .post::<TaskDone>(
            &format!("/v1/tasks/{unknown}/enrol"),
            &EnrolOrder { capacity: 5 },
        )
        .await;
    assert!(
        refused
            .expect_err("unknown task")
            .text
            .contains("not known here")
    );
    let refused = api
        .post::<TaskDone>(
            &format!("/v1/tasks/{unknown}/enrol"),
            &serde_json::json!({ "cap": 5 }),
        )
        .await;
    assert_eq!(refused.expect_err("unknown field").exit, Exit::Failure);
    let refused = api
        .post::<serde_json::Value>(
            &format!("/v1/claims/{}", Account([1; 20])),
            &serde_json::json!({}),
        )
        .await;
    assert_eq!(
        refused.unwrap()["paid"],
        serde_json::json!([]),
        "nothing anchored, nothing to claim"
    );

    let mut access = running.api.access().clone();
    access.token = "0".repeat(64);
    running.allow(&access);
    let refused = running
        .client()
        .get::<StatusView>("/v1/status")
        .await
        .expect_err("wrong token");
    assert_eq!(refused.exit, Exit::Unauthorised);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_is_told_apart_from_a_refusal() {
    let running = Running::start().await;
    let (folder, dir) = (running.folder(), running.dir.path().to_owned());
    let api = running.client();
    let answer: serde_json::Value = api
        .post("/v1/shutdown", &serde_json::json!({}))
        .await
        .unwrap();
    assert_eq!(answer["stopping"], true);
    tokio::time::timeout(Duration::from_secs(10), running.api.stop_asked())
        .await
        .expect("the node is told to stop");
    let Running {
        dir: kept,
        node,
        api: server,
    } = running;
    server.shutdown().await;
    node.shutdown().await;
    assert!(dir.join("api.json").exists(), "as after a crash");
    let refused = Api::open(&folder)
        .unwrap()
        .get::<StatusView>("/v1/status")
        .await
        .expect_err("nobody listens");
    assert_eq!(refused.exit, Exit::NotRunning);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_allow_no_other_origin_and_long_polls_end_with_the_node() {
    let running = Running::start().await;
    let access = running.api.access().clone();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let get = |origin: Option<&'static str>| {
        let mut request = http
            .get(format!("{}/v1/status", access.url))
            .bearer_auth(&access.token);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.send()
    };
    for origin in [None, Some("http://evil.example")] {
        let answer = get(origin).await.unwrap();
        assert_eq!(
            answer.status().as_u16(),
            if origin.is_none() { 200 } else { 403 }
        );
        assert!(
            answer
                .headers()
                .keys()
                .all(|name| !name.as_str().starts_with("access-control-"))
        );
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    let api = running.client();
    let poll = tokio::spawn(async move { api.events(Some(0), 30).await });
    let started = std::time::Instant::now();
    running.stop().await;
    // Either the empty answer or a closed connection, but long before the 30 seconds that it asked for.
    let _ = poll.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "the node waited for a poll"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bonuses_data_sets_and_reputations_are_asked_for_by_task_and_account() {
    let running = Running::start().await;
    let api = running.client();
    let nobody = Account([9; 20]);
    let view: ReputationView = api
        .get(&format!("/v1/reputation/0x{nobody}"))
        .await
        .unwrap();
    assert_eq!((view.account, view.lanes.len()), (nobody, 0));
    let refused = api.get::<ReputationView>("/v1/reputation/nobody").await;
    assert!(refused.is_err());
    let task = TaskId([7; 32]);
    for path in [format!("/v1/bonus/{task}"), format!("/v1/datasets/{task}")] {
        let refused = api.get::<serde_json::Value>(&path).await;
        let refused = refused.expect_err("an unknown task");
        assert!(refused.text.contains("is not known here"), "{refused:?}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_kept_before_publishing_and_unregistered_clients_are_refused() {
    let running = Running::start().await;
    let api = running.client();
    let client = EvmKey::from_secret(&[8; 32]).unwrap().account();
    let spec = TaskSpec::new(
        "t",
        vec!["a".into(), "b".into()],
        Decimal("0.01".into()),
        "CC0-1.0",
    );
    let item = SourceItem {
        name: "one".into(),
        media: "text/plain".into(),
        bytes: b"hello".to_vec(),
        gold: None,
    };
    let built = dataset::build(
        &spec,
        vec![item],
        &[1; 32],
        client,
        &profile().id(),
        &Params::dev(),
    )
    .unwrap();
    let order = PublishOrder {
        manifest: built.manifest.clone(),
        gold: built.gold.clone(),
    };
    let refused = api
        .post::<TaskDone>("/v1/publish", &order)
        .await
        .expect_err("no shards yet");
    assert!(
        refused.text.contains("is not here") && refused.next.contains("/v1/shards"),
        "{refused:?}"
    );
    let task = built.manifest.id();
    for (shard, bytes) in built.shards {
        let kept: ShardKept = api
            .post_bytes(&format!("/v1/shards?task={task}"), bytes)
            .await
            .unwrap();
        assert_eq!(kept, shard);
    }
    let refused = api
        .post::<TaskDone>("/v1/publish", &order)
        .await
        .expect_err("not registered");
    assert!(
        refused.text.contains("not registered as a client"),
        "{refused:?}"
    );
    let mut foreign = order.clone();
    foreign.manifest.price = Amount(u128::MAX);
    assert!(
        api.post::<TaskDone>("/v1/publish", &foreign)
            .await
            .expect_err("overflow")
            .text
            .contains("price")
    );
    running.stop().await;
}
