//! Books checked twice: every transaction of a chain is played through the ledger twin of the protocol, and the two must agree.
//!
//! For demonstrations, tests, and anybody who wants to know whether a deployment kept its promises. Reads only.
//! It does not model allowances, proxies or calls between foreign contracts: it fits networks whose accounts call the contracts
//! directly, as this program does. A call that the twin does not know is an error, never skipped.
//! Agreement means: each call succeeded or was refused in both; every balance, what each payee was paid, the released and claimed sums and
//! the supply are equal to the unit. With [`Ledger`]'s own invariants it follows that sum of payouts, fees and refunds equals the deposits.

use alloy::{
    primitives::{Address, B256, Bytes, U64},
    sol_types::{SolCall, SolInterface, SolValue},
};
use assay_protocol::{
    amount::Amount,
    crypto::recover,
    id::{Account, Blob, EvmSignature, Hash, NodeKey, Signature, TaskId},
    lane::{Claim, FlatClaim, FlatPay, SubtreeClaim},
    message::{BlockRef, EpochHeader, SettledTask},
    network::NetworkProfile,
    settlement::{DisputeTerms, Ledger},
};
use serde::Deserialize;

use super::{
    Totals,
    bindings::{
        DevToken,
        Disputes::DisputesCalls,
        EpochAnchor::{self, EpochAnchorCalls},
        Registry::{self, RegistryCalls},
        RewardDistributor::{self, RewardDistributorCalls},
        TaskEscrow::{self, TaskEscrowCalls},
    },
    endpoint::{Endpoint, Endpoints},
    error::ChainError,
    facts::{header, seats},
    prove, totals, units,
};

/// What an audit went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Blocks read.
    pub blocks: u64,
    /// Calls of the contracts that took effect, in chain and twin.
    pub accepted: u64,
    /// Calls that both refused.
    pub refused: u64,
    /// Accounts whose balances are equal.
    pub accounts: u64,
    /// The distributor's books, equal in both.
    pub totals: Totals,
}

#[derive(Debug, Deserialize)]
struct BlockAnswer {
    number: U64,
    hash: B256,
    timestamp: U64,
    transactions: Vec<TransactionAnswer>,
}

#[derive(Debug, Deserialize)]
struct TransactionAnswer {
    hash: B256,
    from: Address,
    to: Option<Address>,
    input: Bytes,
}

/// Plays the whole chain behind the profile's first endpoint through the twin.
///
/// # Errors
/// [`ChainError::Rpc`] when the chain cannot be read, [`ChainError::Books`] when chain and twin differ: names the transaction or
/// the account.
pub async fn audit(profile: &NetworkProfile) -> Result<Audit, ChainError> {
    let endpoints = Endpoints::new(&profile.rpc)?;
    let endpoint = endpoints.current();
    let last = endpoint.latest().await?.number;
    // The one contract that the profile does not name; the anchor does.
    let call = EpochAnchor::disputesCall {};
    let disputes = Account::from(endpoint.view(profile.contracts.anchor, call).await?);
    let call = TaskEscrow::FALLBACK_SECONDSCall {};
    let silence = endpoint.view(profile.contracts.escrow, call).await?;
    let mut ledger = Ledger::new(profile.clone(), Hash::ZERO)
        .with_fallback(silence)
        .with_disputes(dispute_terms(endpoint, profile).await?);
    let (mut accepted, mut refused) = (0, 0);
    for number in 0..=last {
        let block: BlockAnswer = endpoint
            .ask("eth_getBlockByNumber", (format!("{number:#x}"), true))
            .await?;
        ledger.begin(block.timestamp.to());
        for transaction in &block.transactions {
            let Some(to) = transaction.to else { continue };
            let twin = apply(&mut ledger, profile, disputes, to.into(), transaction)?;
            let Some(twin) = twin else {
                continue;
            };
            let hash = Hash::from(transaction.hash);
            let chain = endpoint.receipt(hash).await?.is_some_and(|r| r.ok);
            match (chain, twin) {
                (true, Ok(())) => accepted += 1,
                (false, Err(_)) => refused += 1,
                (true, Err(why)) => {
                    return Err(books(format!(
                        "transaction {hash}: the chain took it, the twin refuses it: {why}"
                    )));
                }
                (false, Ok(())) => {
                    return Err(books(format!(
                        "transaction {hash}: the chain refused it, the twin takes it"
                    )));
                }
            }
        }
        ledger.close(BlockRef {
            number: block.number.to(),
            hash: block.hash.into(),
            time: block.timestamp.to(),
        });
    }
    let (accounts, totals) = compare(endpoint, profile, &ledger).await?;
    Ok(Audit {
        blocks: last + 1,
        accepted,
        refused,
        accounts,
        totals,
    })
}

fn books(why: String) -> ChainError {
    ChainError::Books(why)
}

/// Final balances and sums.
async fn compare(
    endpoint: &Endpoint,
    profile: &NetworkProfile,
    ledger: &Ledger,
) -> Result<(u64, Totals), ChainError> {
    let token = profile.contracts.token;
    let differ = |what: &str, chain: Amount, twin: Amount| {
        if chain == twin {
            Ok(())
        } else {
            Err(books(format!("{what}: chain {chain}, twin {twin}")))
        }
    };
    let mut accounts = 0;
    for (account, held) in ledger.balances() {
        let call = DevToken::balanceOfCall {
            account: (*account).into(),
        };
        let chain = units(endpoint.view(token, call).await?);
        differ(&format!("balance of 0x{account}"), chain, *held)?;
        accounts += 1;
    }
    let supply = units(endpoint.view(token, DevToken::totalSupplyCall {}).await?);
    differ("supply", supply, ledger.supply())?;
    for (lane, payee, paid) in ledger.paid() {
        let call = RewardDistributor::paidCall {
            payee: payee.into(),
        };
        let chain = units(
            endpoint
                .view(profile.contracts.distributor(lane), call)
                .await?,
        );
        differ(&format!("paid to 0x{payee} in lane {lane}"), chain, paid)?;
    }
    let totals = totals(endpoint, &profile.contracts).await?;
    let lanes = (0..profile.params.lanes).map(|lane| ledger.released(lane).released);
    differ("released", totals.released, lanes.sum())?;
    differ("claimed", totals.claimed, ledger.claimed())?;
    Ok((accounts, totals))
}

type Verdict = Result<(), String>;

/// Plays one transaction; none when it is not for the money contracts.
fn apply(
    ledger: &mut Ledger,
    profile: &NetworkProfile,
    disputes: Account,
    to: Account,
    transaction: &TransactionAnswer,
) -> Result<Option<Verdict>, ChainError> {
    let contracts = &profile.contracts;
    let (from, input) = (Account::from(transaction.from), &transaction.input);
    let verdict = if to == contracts.token {
        token(ledger, from, input)
    } else if to == contracts.registry {
        decode::<RegistryCalls>(transaction)
            .map(|call| registry(ledger, from, call))
            .transpose()
    } else if to == contracts.escrow {
        decode::<TaskEscrowCalls>(transaction)
            .map(|call| escrow(ledger, from, call))
            .transpose()
    } else if to == disputes {
        decode::<DisputesCalls>(transaction)
            .map(|call| dispute(ledger, profile, call))
            .transpose()
    } else if to == contracts.anchor {
        decode::<EpochAnchorCalls>(transaction)
            .map(|call| anchor(ledger, from, call))
            .transpose()
    } else if let Some(lane) = contracts.distributors.iter().position(|d| *d == to) {
        decode::<RewardDistributorCalls>(transaction)
            .map(|call| distributor(ledger, lane as u32, call))
            .transpose()
    } else {
        Ok(None)
    };
    verdict.map_err(|why| books(format!("transaction {}: {why}", transaction.hash)))
}

/// A call of one of our contracts; nothing for bytes that are none, which no contract takes.
fn decode<C: SolInterface>(transaction: &TransactionAnswer) -> Option<C> {
    C::abi_decode(&transaction.input).ok()
}

/// A call the twin has no counterpart of.
fn unknown<T>(call: &str) -> Result<T, String> {
    Err(format!("the twin does not know {call}"))
}

fn said<T, E: ToString>(result: Result<T, E>) -> Result<Verdict, String> {
    Ok(result.map(|_| ()).map_err(|e| e.to_string()))
}

fn token(ledger: &mut Ledger, from: Account, input: &[u8]) -> Result<Option<Verdict>, String> {
    if let Ok(call) = DevToken::mintCall::abi_decode(input) {
        ledger.mint(call.to.into(), units(call.amount));
        return Ok(Some(Ok(())));
    }
    if let Ok(call) = DevToken::transferCall::abi_decode(input) {
        return said(ledger.transfer(from, call.to.into(), units(call.value))).map(Some);
    }
    if DevToken::approveCall::abi_decode(input).is_ok() {
        return Ok(None);
    }
    unknown("this call of the token")
}

fn registry(ledger: &mut Ledger, from: Account, call: RegistryCalls) -> Result<Verdict, String> {
    match call {
        RegistryCalls::register(c) => {
            let binding = <[u8; 64]>::try_from(c.binding.as_ref())
                .map_err(|_| format!("a binding of {} bytes", c.binding.len()))?;
            said(ledger.register(
                from,
                NodeKey(c.nodeKey.0),
                c.sealKey.into(),
                c.payee.into(),
                c.roles,
                Amount(c.stake),
                Signature(binding),
            ))
        }
        RegistryCalls::requestUnbond(_) => said(ledger.request_unbond(from)),
        _ => unknown("this call of the registry"),
    }
}

fn escrow(ledger: &mut Ledger, from: Account, call: TaskEscrowCalls) -> Result<Verdict, String> {
    match call {
        TaskEscrowCalls::fund(c) => said(ledger.fund(
            from,
            TaskId(c.taskId.0),
            c.lane,
            Amount(c.deposit),
            Amount(c.goldBond),
        )),
        TaskEscrowCalls::topUp(c) => {
            said(ledger.top_up(from, TaskId(c.taskId.0), c.client.into(), Amount(c.amount)))
        }
        TaskEscrowCalls::openFallback(c) => {
            said(ledger.open_fallback(TaskId(c.taskId.0), c.client.into()))
        }
        TaskEscrowCalls::claimFallback(c) => {
            let claim = FlatClaim {
                pay: FlatPay {
                    task: TaskId(c.taskId.0),
                    client: c.client.into(),
                    payee: c.claim.payee.into(),
                    amount: Amount(c.claim.amount),
                },
                state: c.claim.stateHash.into(),
                index: c.claim.index.saturating_to(),
                proof: c.claim.proof.iter().map(|h| Hash::from(*h)).collect(),
            };
            let bytes = c.header.abi_encode();
            let posted = EpochAnchor::EpochHeader::abi_decode(&bytes).map_err(|e| e.to_string())?;
            said(ledger.claim_fallback(&header(&posted), &claim))
        }
        TaskEscrowCalls::forceRecord(c) => {
            let record = Blob(c.record.to_vec());
            said(ledger.force_record(TaskId(c.taskId.0), c.client.into(), record))
        }
        TaskEscrowCalls::closeFallback(c) => {
            said(ledger.close_fallback(TaskId(c.taskId.0), c.client.into()))
        }
        _ => unknown("this call of the escrow"),
    }
}

fn anchor(ledger: &mut Ledger, from: Account, call: EpochAnchorCalls) -> Result<Verdict, String> {
    match call {
        EpochAnchorCalls::drawCommittee(c) => said(ledger.draw_committee(c.lane)),
        EpochAnchorCalls::post(c) => {
            let settled: Vec<SettledTask> = c
                .settled
                .iter()
                .map(|s| SettledTask {
                    task: TaskId(s.taskId.0),
                    client: s.client.into(),
                })
                .collect();
            let (signatures, rest) = c.signatures.as_chunks::<64>();
            let signers = seats(c.signers);
            if !rest.is_empty() || signatures.len() != signers.len() {
                return Ok(Err("signatures and signers do not fit together".to_owned()));
            }
            let signatures: Vec<(u8, EvmSignature)> = signers
                .into_iter()
                .zip(signatures)
                .map(|(place, bytes)| (place, EvmSignature(*bytes)))
                .collect();
            said(ledger.post_epoch(from, &header(&c.header), &settled, &signatures))
        }
        _ => unknown("this call of the anchor"),
    }
}

fn dispute(
    ledger: &mut Ledger,
    profile: &NetworkProfile,
    call: DisputesCalls,
) -> Result<Verdict, String> {
    let DisputesCalls::overrule(c) = call else {
        let Some(proof) = prove::read(&call) else {
            return unknown("this call of the disputes");
        };
        let signatures = proof.signatures.as_deref().unwrap_or_default();
        if proof.signatures.is_none() {
            return Ok(Err("a signature is cut short".to_owned()));
        }
        return said(ledger.prove_fault(proof.reporter, &proof.header, signatures, &proof.fault));
    };
    let posted = c.e.chain.first().ok_or("no header is accused")?;
    let posted = EpochAnchor::EpochHeader::abi_decode(&posted.abi_encode());
    let header = header(&posted.map_err(|e| e.to_string())?);
    let digest = EpochHeader::overrule_digest(&header.hash(), profile);
    let signed = |bytes: &[u8]| -> Vec<EvmSignature> {
        let (whole, _) = bytes.as_chunks::<64>();
        whole.iter().map(|s| EvmSignature(*s)).collect()
    };
    let votes: Option<Vec<(Account, EvmSignature)>> = signed(&c.votes)
        .into_iter()
        .map(|s| recover(&digest, &s).map(|account| (account, s)))
        .collect();
    let Some(votes) = votes else {
        return Ok(Err("a vote recovers nobody".to_owned()));
    };
    let reporter = c.e.reporter.into();
    said(ledger.overrule(reporter, &header, &signed(&c.e.signatures), &votes))
}

/// What the deployment says about taking epochs back. All lanes of a network have one delay.
async fn dispute_terms(
    endpoint: &Endpoint,
    profile: &NetworkProfile,
) -> Result<DisputeTerms, ChainError> {
    let registry = profile.contracts.registry;
    let call = RewardDistributor::ACTIVATION_DELAYCall {};
    let delay = endpoint
        .view(profile.contracts.distributor(0), call)
        .await?;
    let least = endpoint.view(registry, Registry::minValidatorStakeCall {});
    Ok(DisputeTerms {
        activation_delay: delay.to(),
        min_validator_stake: Amount(least.await?),
        slash_bps: endpoint.view(registry, Registry::slashBpsCall {}).await?,
    })
}

fn distributor(
    ledger: &mut Ledger,
    lane: u32,
    call: RewardDistributorCalls,
) -> Result<Verdict, String> {
    let c = match call {
        RewardDistributorCalls::claim(c) => c,
        RewardDistributorCalls::claimSubtree(c) => return subtree(ledger, lane, &c),
        _ => return unknown("this call of the distributor"),
    };
    let Some(root) = ledger.root(lane, c.epoch) else {
        return Ok(Err(no_root(lane, c.epoch)));
    };
    said(ledger.claim(&Claim {
        lane,
        epoch: c.epoch,
        payee: c.payee.into(),
        total: Amount(c.total),
        index: c.index.saturating_to(),
        proof: c.proof.into_iter().map(Hash::from).collect(),
        root,
    }))
}

fn no_root(lane: u32, epoch: u64) -> String {
    format!("no root of epoch {epoch} in lane {lane}")
}

fn subtree(
    ledger: &mut Ledger,
    lane: u32,
    c: &RewardDistributor::claimSubtreeCall,
) -> Result<Verdict, String> {
    let Some(root) = ledger.root(lane, c.epoch) else {
        return Ok(Err(no_root(lane, c.epoch)));
    };
    let (places, rest) = c.leaves.as_chunks::<36>();
    if !rest.is_empty() || !places.len().is_power_of_two() {
        return Ok(Err("the leaves are no whole subtree".to_owned()));
    }
    let mut leaves: Vec<(Account, Amount)> = places
        .iter()
        .map(|place| {
            let (payee, total) = place.split_at(Account::LEN);
            let mut account = Account::default();
            account.0.copy_from_slice(payee);
            let units = total.iter().fold(0, |sum, b| sum << 8 | u128::from(*b));
            (account, Amount(units))
        })
        .collect();
    // Places without a payee; only behind the last leaf of an honest tree.
    while leaves.last().is_some_and(|l| l.0 == Account::default()) {
        leaves.pop();
    }
    said(ledger.claim_subtree(&SubtreeClaim {
        lane,
        epoch: c.epoch,
        first: c.first.saturating_to(),
        height: places.len().trailing_zeros() as u8,
        leaves,
        proof: c.proof.iter().map(|h| Hash::from(*h)).collect(),
        root,
    }))
}
