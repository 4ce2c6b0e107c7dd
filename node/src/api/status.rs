//! `GET /v1/status`.

use std::time::Duration;

use assay_protocol::{
    amount::Amount,
    core::{Core, DeliveryView},
    id::{Account, Hash},
    lane::role,
};
use axum::{Json, extract::State};

use super::{
    error::ApiError,
    model::{
        AccountView, ChainView, DeliveryLine, LaneView, NetworkView, NodeView, PeerView, StatusView,
    },
    server::Shared,
};
use crate::{net::PeerKey, runtime::Node};

/// How long the chain's endpoint may take before the answer goes without its figures.
const ENDPOINT_PATIENCE: Duration = Duration::from_secs(3);

/// Names of role bits.
pub(super) fn role_names(roles: u8) -> Vec<String> {
    [
        (role::CLIENT, "client"),
        (role::LABELER, "labeler"),
        (role::VALIDATOR, "validator"),
    ]
    .into_iter()
    .filter(|(bit, _)| roles & bit != 0)
    .map(|(_, name)| name.to_owned())
    .collect()
}

/// What the core knows, read between two inputs.
struct Known {
    lanes: Vec<LaneView>,
    followed: u64,
    block_time: u64,
    account: Option<KnownAccount>,
    deliveries: Vec<DeliveryLine>,
}

struct KnownAccount {
    roles: u8,
    stake: Amount,
    payee: Account,
    lost: Amount,
    owed: Amount,
}

fn known(core: &Core, own: Option<Account>) -> Known {
    let mut lanes = Vec::new();
    let (mut followed, mut block_time) = (u64::MAX, 0);
    for lane in 0..core.profile().params.lanes {
        let (Some(live), Some(base)) = (core.live(lane), core.base(lane)) else {
            continue;
        };
        let seen = if live.block.hash == Hash::ZERO {
            0
        } else {
            live.block.number
        };
        followed = followed.min(seen);
        block_time = live.block.time.max(block_time);
        lanes.push(LaneView {
            lane,
            epoch: base.epoch,
            head: base.head,
            committee: live.committee.as_ref().map_or(0, |c| c.members.len()),
            threshold: live
                .committee
                .as_ref()
                .map_or(0, |c| usize::from(c.threshold)),
            member: live.member_index(&core.node_key()).is_some(),
            tasks: live.tasks.len(),
        });
    }
    let account = own.and_then(|own| {
        let first = core.live(0)?.accounts.get(&own)?;
        let over_lanes = |amount: &dyn Fn(&assay_protocol::lane::LaneState) -> Amount| {
            (0..core.profile().params.lanes)
                .filter_map(|lane| core.live(lane))
                .map(amount)
                .fold(Amount::ZERO, |sum, part| {
                    sum.checked_add(part).unwrap_or(sum)
                })
        };
        Some(KnownAccount {
            roles: first.roles,
            stake: first.stake,
            payee: first.payee,
            lost: over_lanes(&|l| l.lost.get(&own).copied().unwrap_or_default()),
            owed: over_lanes(&|l| l.owed.get(&first.payee).copied().unwrap_or_default()),
        })
    });
    let deliveries = core.deliveries().into_iter().map(delivery).collect();
    Known {
        lanes,
        followed: if followed == u64::MAX { 0 } else { followed },
        block_time,
        account,
        deliveries,
    }
}

fn delivery(d: DeliveryView) -> DeliveryLine {
    let kind = d
        .kind
        .domain()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    // Without a committee the quorum is out of reach; people read a dash better than the largest number.
    let threshold = if d.threshold == usize::MAX {
        0
    } else {
        d.threshold
    };
    DeliveryLine {
        task: d.task,
        kind,
        receipts: d.receipts,
        threshold,
        last_refusal: d.last_refusal,
    }
}

/// Native and token balance, and what the payee was paid.
async fn money(
    node: &Node,
    own: Account,
    payee: Account,
    lanes: u32,
) -> Result<(u128, Amount, Amount), String> {
    let asked = async {
        let balances = node.chain().balances(own).await?;
        let mut paid = Amount::ZERO;
        for lane in 0..lanes {
            paid = paid
                .checked_add(node.chain().paid(lane, payee).await?)
                .unwrap_or(paid);
        }
        Ok::<_, crate::chain::ChainError>((balances.native, balances.token, paid))
    };
    match tokio::time::timeout(ENDPOINT_PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|e| e.to_string()),
        Err(_) => Err(format!(
            "the chain's endpoint did not answer within {} s",
            ENDPOINT_PATIENCE.as_secs()
        )),
    }
}

pub(super) async fn status(State(shared): State<Shared>) -> Result<Json<StatusView>, ApiError> {
    let node = &shared.node;
    let profile = &node.config().profile;
    let own = node.chain().account();
    let known = node.with_core(move |core| known(core, own)).await?;
    let mut chain_error = None;
    let account = match own {
        None => None,
        Some(account) => {
            let payee = known.account.as_ref().map_or(account, |a| a.payee);
            let money = money(node, account, payee, profile.params.lanes)
                .await
                .map_err(|e| chain_error = Some(e))
                .ok();
            let a = known.account.as_ref();
            Some(AccountView {
                account,
                registration: shared.registration.borrow().clone(),
                roles: a.map(|a| role_names(a.roles)).unwrap_or_default(),
                stake: a.map_or(Amount::ZERO, |a| a.stake),
                payee,
                lost: a.map_or(Amount::ZERO, |a| a.lost),
                native_wei: money.map(|m| m.0.to_string()),
                tokens: money.map(|m| m.1),
                owed: a.map_or(Amount::ZERO, |a| a.owed),
                paid: money.map(|m| m.2),
            })
        }
    };
    let peers = node
        .net()
        .peers()
        .await
        .map_err(crate::runtime::NodeError::from)?;
    let finalized = node.chain().finalized();
    Ok(Json(StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        network: NetworkView {
            name: profile.name.clone(),
            chain_id: profile.chain_id,
            dev: profile.dev,
            token_decimals: profile.params.token_decimals,
        },
        node: NodeView {
            peer_id: PeerKey(node.key().0).to_string(),
            key: node.key().to_string(),
            listen: node
                .net()
                .listen_addrs()
                .iter()
                .map(ToString::to_string)
                .collect(),
            uptime_secs: shared.started.elapsed().as_secs(),
            pid: std::process::id(),
        },
        peers: peers
            .into_iter()
            .map(|p| PeerView {
                peer_id: p.key.to_string(),
                addresses: p.addresses.iter().map(ToString::to_string).collect(),
                outbound: p.outbound,
                relayed: p.relayed,
                node: p.node,
                rtt_ms: p.rtt.map(|rtt| rtt.as_millis() as u64),
                score: p.score,
            })
            .collect(),
        chain: ChainView {
            finalized,
            followed: known.followed,
            block_time: known.block_time,
            lag_blocks: finalized.saturating_sub(known.followed),
            error: chain_error,
        },
        lanes: known.lanes,
        account,
        deliveries: known.deliveries,
        gas: node.gas_spent(),
    }))
}
