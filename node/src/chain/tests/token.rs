//! Reward tokens that escrows cannot work with, found out before anything is sent.

use alloy::{sol, sol_types::SolCall};

use super::{super::deploy::Courier, *};

sol!(
    #[allow(missing_docs)]
    MoodyToken,
    "../protocol/contracts/test/artifacts/MoodyToken.json"
);

const ISSUER: [u8; 32] = [0xd1; 32];
const CLIENT: [u8; 32] = [0x31; 32];

/// As in `MoodyToken.sol`.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Sound,
    Fee,
    False,
    Silent,
    Paused,
    Eight,
    Nameless,
}

/// A network that pays in a token of changing mood.
struct Moody {
    world: World,
    issuer: Courier,
    token: Account,
    client: Account,
}

async fn moody() -> Moody {
    let (dev, server) = serve(dev_config(None, 0));
    let account = EvmKey::from_secret(&ISSUER).expect("a key").account();
    let url = server.url();
    dev_fund(&url, account, account, ETHER, Amount::ZERO)
        .await
        .expect("funds");
    let (mut issuer, _) = Courier::new(&url, &ISSUER).await.expect("sends");
    let (code, mut gas) = (&MoodyToken::BYTECODE, Vec::new());
    let placed = issuer.create("MoodyToken", code, Vec::new(), &mut gas);
    let token = Account::from(placed.await.expect("deploys").0);
    let params = DeployParams {
        token: Some(token),
        ..dev_params()
    };
    let world = network(dev, server, params).await;
    let client = world.rich(&CLIENT, 10_000).await;
    Moody {
        world,
        issuer,
        token,
        client,
    }
}

impl Moody {
    async fn set(&mut self, mood: Mood) {
        let call = MoodyToken::setMoodCall { mood_: mood as u8 };
        let data = call.abi_encode().into();
        let sent = self.issuer.send("set the mood", Some(self.token), data);
        sent.await.expect("is mined");
    }
}

async fn rehearse(client: &Client, deposit: u128) -> Result<(), ChainError> {
    let task = TaskId([1; 32]);
    let funding = (Amount(deposit), Amount(50));
    client
        .chain
        .rehearse_funding(task, 0, funding.0, funding.1)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_refused_before_anything_is_sent_when_the_token_cannot_pay_it() {
    let mut moody = moody().await;
    let store = MemoryStore::default();
    let mut client = start(&moody.world.profile, Some(CLIENT), &store);
    client.up().await;
    let bad = [
        (
            Mood::Fee,
            "of 0.00105 tokens that are sent, 0.00104 arrive: it takes a fee",
        ),
        (Mood::False, "it answers a transfer with false"),
        (Mood::Paused, "it is paused"),
        (Mood::Eight, "it has 8 decimals and the profile says 6"),
        (Mood::Nameless, "it does not tell its symbol"),
    ];
    for (mood, expected) in bad {
        moody.set(mood).await;
        let refused = rehearse(&client, 1_000).await;
        let Err(ChainError::Token { name, why }) = refused else {
            panic!("{mood:?}: {refused:?}")
        };
        assert!(name.contains(&format!("0x{}", moody.token)), "{name}");
        assert!(why.contains(expected), "{mood:?}: {why}");
        assert!(why.contains("another token"), "says what to do: {why}");
    }
    for mood in [Mood::Silent, Mood::Sound] {
        moody.set(mood).await;
        assert_eq!(rehearse(&client, 1_000).await, Ok(()), "{mood:?}");
    }
    let poor = rehearse(&client, 9_951).await.expect_err("too little");
    let said = poor.to_string();
    assert!(
        said.contains("holds 0.01 MOODY, the task needs 0.010001; send it 0.000001 more"),
        "{said}"
    );
    assert_eq!(moody.world.nonce(moody.client), 0, "nothing was sent");
    assert!(store.is_empty());

    // What was rehearsed is what happens.
    moody.set(Mood::Silent).await;
    client.chain.submit(fund(1, 1_000, 50));
    client.done().await;
    assert_eq!(rehearse(&client, 1_000).await, Ok(()), "it is funded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_state_overrides_still_shows_tokens_that_refuse_or_answer_false() {
    let mut moody = moody().await;
    let (front, url) = Front::open(moody.world.dev.clone()).await;
    let deaf = |method: &str, params: &Value| {
        let script = method == "eth_call" && params.as_array().is_some_and(|p| p.len() == 3);
        if script {
            Deal::Refuse("too many arguments, want at most 2")
        } else {
            Deal::Pass
        }
    };
    front.rule(deaf);
    let store = MemoryStore::default();
    let client = start(&moody.world.behind(url), Some(CLIENT), &store);
    for (mood, expected) in [(Mood::False, "false"), (Mood::Paused, "it is paused")] {
        moody.set(mood).await;
        let said = rehearse(&client, 1_000).await.expect_err("is refused");
        assert!(said.to_string().contains(expected), "{mood:?}: {said}");
    }
    // The escrow itself refuses this one.
    for mood in [Mood::Fee, Mood::Silent, Mood::Sound] {
        moody.set(mood).await;
        assert_eq!(rehearse(&client, 1_000).await, Ok(()), "{mood:?}");
    }
    let token = format!("{:?}", Address::from(moody.token));
    front.rule(move |method, params| {
        let asked = params[0]
            .as_str()
            .is_some_and(|a| a.eq_ignore_ascii_case(&token));
        if method == "eth_getCode" && asked {
            Deal::Answer(json!("0x"))
        } else {
            Deal::Pass
        }
    });
    let said = rehearse(&client, 1_000).await.expect_err("is refused");
    assert!(
        said.to_string().contains("no contract at its address"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_start_on_a_profile_whose_decimals_are_not_the_token_s() {
    let mut moody = moody().await;
    moody.set(Mood::Eight).await;
    let mut client = start(&moody.world.profile, None, &MemoryStore::default());
    let (why, permanent) = client.failed().await;
    assert!(permanent && why.contains("8 decimals"), "{why}");
}
