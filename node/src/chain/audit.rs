//! Books checked twice: every transaction of a chain is played through the ledger twin of the protocol, and the two must agree.
//!
//! For demonstrations, tests, and anybody who wants to know whether a deployment kept its promises. Reads only.
//! It does not model allowances, or contracts that call ours: it fits networks whose accounts call the contracts directly, as this
//! program does. A call that the twin does not know is an error, never skipped.
//! Contracts beside the main reward (bonuses, data sets) are not judged: what their transactions moved of the main token is taken from the
//! token's own log. They can move no money of the main contracts; a transaction that had one of those act on the way is an error.
//! Agreement means: each call succeeded or was refused in both; every balance, those of the contracts among them, every stake and ban, what
//! each payee was paid, what each lane released, the heads of the lanes and the supply are equal to the unit. With [`Ledger`]'s own
//! invariants it follows that sum of payouts, fees and refunds equals the deposits.

use std::collections::BTreeSet;

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256},
    rpc::types::Log,
    sol_types::{SolCall, SolEvent, SolInterface, SolValue},
};
use assay_protocol::{
    amount::Amount,
    crypto::recover,
    id::{Account, Blob, EvmSignature, Hash, NodeKey, Signature, TaskId},
    lane::{Claim, FlatClaim, FlatPay, SubtreeClaim},
    message::{BlockRef, EpochHeader, SettledTask},
    network::NetworkProfile,
    settlement::{DisputeTerms, Evidence, Ledger, LossLeaf, MemberTerms, Stake},
};
use serde::Deserialize;

use super::{
    Totals,
    bindings::{
        DevToken,
        Disputes::{self, DisputesCalls},
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
    /// Transactions of other contracts, and of the token beyond transfers, whose moves of the token were taken from its log.
    pub followed: u64,
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
        .with_disputes(dispute_terms(endpoint, profile).await?)
        .with_members(member_terms(endpoint, profile).await?);
    let (mut accepted, mut refused, mut followed) = (0, 0, 0);
    for number in 0..=last {
        let block: BlockAnswer = endpoint
            .ask("eth_getBlockByNumber", (format!("{number:#x}"), true))
            .await?;
        ledger.begin(block.timestamp.to());
        for transaction in &block.transactions {
            let hash = Hash::from(transaction.hash);
            let receipt = endpoint.receipt(hash).await?;
            let chain = receipt.as_ref().is_some_and(|r| r.ok);
            let Some(twin) = apply(&mut ledger, profile, disputes, transaction)? else {
                let logs = receipt.map(|r| r.logs).unwrap_or_default();
                let moved = follow(&mut ledger, profile, disputes, &logs)
                    .map_err(|why| books(format!("transaction 0x{hash}: {why}")))?;
                followed += u64::from(moved);
                continue;
            };
            match (chain, twin) {
                (true, Ok(())) => accepted += 1,
                (false, Err(_)) => refused += 1,
                (true, Err(why)) => {
                    return Err(books(format!(
                        "transaction 0x{hash}: the chain took it, the twin refuses it: {why}"
                    )));
                }
                (false, Ok(())) => {
                    return Err(books(format!(
                        "transaction 0x{hash}: the chain refused it, the twin takes it"
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
        followed,
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
    let contracts = &profile.contracts;
    let own = [contracts.registry, contracts.escrow];
    let own = own
        .into_iter()
        .chain(contracts.distributors.iter().copied());
    let holders: BTreeSet<Account> = ledger.balances().map(|b| *b.0).chain(own).collect();
    for account in &holders {
        let call = DevToken::balanceOfCall {
            account: (*account).into(),
        };
        let chain = units(endpoint.view(token, call).await?);
        let what = format!("balance of 0x{account}");
        differ(&what, chain, ledger.holdings(account))?;
    }
    let supply = units(endpoint.view(token, DevToken::totalSupplyCall {}).await?);
    differ("supply", supply, ledger.supply())?;
    for (lane, payee, paid) in ledger.paid() {
        let call = RewardDistributor::paidCall {
            payee: payee.into(),
        };
        let chain = units(endpoint.view(contracts.distributor(lane), call).await?);
        differ(&format!("paid to 0x{payee} in lane {lane}"), chain, paid)?;
    }
    compare_stakes(endpoint, profile, ledger).await?;
    for lane in 0..profile.params.lanes {
        let call = RewardDistributor::totalReleasedCall {};
        let chain = units(endpoint.view(contracts.distributor(lane), call).await?);
        let what = format!("released in lane {lane}");
        differ(&what, chain, ledger.released(lane).released)?;
        let call = EpochAnchor::headCall { lane };
        let head = endpoint.view(contracts.anchor, call).await?;
        let (chain, twin) = (
            (head.epoch, Hash::from(head.hash)),
            (ledger.epoch(lane), ledger.head(lane)),
        );
        if chain != twin {
            return Err(books(format!(
                "head of lane {lane}: chain epoch {} 0x{}, twin epoch {} 0x{}",
                chain.0, chain.1, twin.0, twin.1
            )));
        }
    }
    Ok((holders.len() as u64, totals(endpoint, contracts).await?))
}

/// Stakes, burned losses, times of leaving and bans.
async fn compare_stakes(
    endpoint: &Endpoint,
    profile: &NetworkProfile,
    ledger: &Ledger,
) -> Result<(), ChainError> {
    let registry = profile.contracts.registry;
    for (account, twin) in ledger.stakes() {
        let whose = account.into();
        let call = Registry::accountsCall { account: whose };
        let known = endpoint.view(registry, call).await?;
        let chain = Stake {
            stake: Amount(known.stake),
            ready_at: (known.readyAt != 0).then_some(known.readyAt),
            burned: Amount(known.burned),
            banned: endpoint
                .view(registry, Registry::bannedCall { account: whose })
                .await?,
            registrations: known.nonce,
        };
        if chain != twin {
            return Err(books(format!(
                "stake of 0x{account}: chain {chain:?}, twin {twin:?}"
            )));
        }
    }
    Ok(())
}

type Verdict = Result<(), String>;

/// Plays one transaction; none when it is not for the money contracts.
fn apply(
    ledger: &mut Ledger,
    profile: &NetworkProfile,
    disputes: Account,
    transaction: &TransactionAnswer,
) -> Result<Option<Verdict>, ChainError> {
    let Some(to) = transaction.to.map(Account::from) else {
        return Ok(None);
    };
    let contracts = &profile.contracts;
    let (from, input) = (Account::from(transaction.from), &transaction.input);
    let verdict = if to == contracts.token {
        Ok(token(ledger, from, input))
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

/// A call that only another contract of the network may make.
fn not_yours() -> Result<Verdict, String> {
    Ok(Err(
        "only a contract of the network may call this".to_owned()
    ))
}

/// What a transaction that the twin does not judge moved of the token, as the token says; whether it was anything.
fn follow(
    ledger: &mut Ledger,
    profile: &NetworkProfile,
    disputes: Account,
    logs: &[Log],
) -> Result<bool, String> {
    let contracts = &profile.contracts;
    let mut own = vec![
        contracts.registry,
        contracts.escrow,
        contracts.anchor,
        disputes,
    ];
    own.extend(&contracts.distributors);
    let mut moved = false;
    for log in logs {
        let by = Account::from(log.address());
        if own.contains(&by) {
            return Err("another contract called the money contracts on the way".to_owned());
        }
        if by != contracts.token || log.topic0() != Some(&DevToken::Transfer::SIGNATURE_HASH) {
            continue;
        }
        let event = DevToken::Transfer::decode_log_data_validate(log.data());
        let event = event.map_err(|e| format!("a transfer of the token: {e}"))?;
        let (from, to) = (Account::from(event.from), Account::from(event.to));
        let amount = units(event.value);
        if from == Account::default() {
            ledger.mint(to, amount);
        } else {
            let moved = ledger.transfer(from, to, amount);
            moved.map_err(|e| format!("a transfer of the token: {e}"))?;
        }
        moved = true;
    }
    Ok(moved)
}

/// A transfer; everything else that a token can do is its own affair and is followed, not judged.
fn token(ledger: &mut Ledger, from: Account, input: &[u8]) -> Option<Verdict> {
    let call = DevToken::transferCall::abi_decode(input).ok()?;
    let sent = ledger.transfer(from, call.to.into(), units(call.value));
    Some(sent.map_err(|e| e.to_string()))
}

fn registry(ledger: &mut Ledger, from: Account, call: RegistryCalls) -> Result<Verdict, String> {
    match call {
        RegistryCalls::register(c) => {
            let Ok(binding) = <[u8; 64]>::try_from(c.binding.as_ref()) else {
                return Ok(Err(format!("a binding of {} bytes", c.binding.len())));
            };
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
        RegistryCalls::addStake(c) => said(ledger.add_stake(from, Amount(c.amount))),
        RegistryCalls::requestUnbond(_) => said(ledger.request_unbond(from)),
        RegistryCalls::withdraw(c) => {
            let heads: Option<Vec<EpochHeader>> =
                c.heads.iter().map(posted).collect::<Result<_, _>>()?;
            let Some(heads) = heads else {
                return Ok(Err(TOO_MUCH.to_owned()));
            };
            let leaf = |l: &Registry::LossLeaf| LossLeaf {
                account: l.account.into(),
                total: Amount(l.lossTotal),
                index: l.index.saturating_to(),
                proof: hashes(&l.proof),
            };
            let lanes = c.perLane.iter();
            let losses: Vec<Vec<LossLeaf>> =
                lanes.map(|of| of.iter().map(leaf).collect()).collect();
            said(ledger.withdraw(from, &heads, &losses))
        }
        RegistryCalls::slash(_) => not_yours(),
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
                proof: hashes(&c.claim.proof),
            };
            match posted(&c.header)? {
                Some(header) => said(ledger.claim_fallback(&header, &claim)),
                None => Ok(Err(TOO_MUCH.to_owned())),
            }
        }
        TaskEscrowCalls::returnLateTopUp(c) => {
            said(ledger.return_late_top_up(TaskId(c.taskId.0), c.client.into()))
        }
        TaskEscrowCalls::release(_) => not_yours(),
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
            match posted(&c.header)? {
                Some(header) => said(ledger.post_epoch(from, &header, &settled, &signatures)),
                None => Ok(Err(TOO_MUCH.to_owned())),
            }
        }
        EpochAnchorCalls::rewind(_) => not_yours(),
        _ => unknown("this call of the anchor"),
    }
}

/// Why a header is refused that owes more than 128 bits: nobody can have posted it.
const TOO_MUCH: &str = "a header owes more than there can be";

/// A header of any of the contracts' bindings; none when it owes more than 128 bits.
fn posted<H: SolValue>(given: &H) -> Result<Option<EpochHeader>, String> {
    let same = EpochAnchor::EpochHeader::abi_decode(&given.abi_encode());
    let given = same.map_err(|e| e.to_string())?;
    let fits = given.totalOwed <= U256::from(u128::MAX);
    Ok(fits.then(|| header(&given)))
}

fn hashes(words: &[B256]) -> Vec<Hash> {
    words.iter().map(|word| Hash::from(*word)).collect()
}

/// Signatures of 64 bytes each; none when that does not come out even.
fn signatures(bytes: &[u8]) -> Option<Vec<EvmSignature>> {
    let (whole, rest) = bytes.as_chunks::<64>();
    let whole = whole.iter().map(|s| EvmSignature(*s)).collect();
    rest.is_empty().then_some(whole)
}

fn evidence(e: &Disputes::Evidence) -> Result<Option<Evidence>, String> {
    let chain: Option<Vec<EpochHeader>> = e.chain.iter().map(posted).collect::<Result<_, _>>()?;
    let whole = chain.zip(signatures(&e.signatures));
    Ok(whole.map(|(chain, signatures)| Evidence {
        chain,
        signatures,
        reporter: e.reporter.into(),
    }))
}

fn dispute(
    ledger: &mut Ledger,
    profile: &NetworkProfile,
    call: DisputesCalls,
) -> Result<Verdict, String> {
    let no_evidence = || Ok(Err("no evidence that anybody can have".to_owned()));
    match call {
        DisputesCalls::overrule(c) => overrule(ledger, profile, &c),
        DisputesCalls::proveEquivocation(c) => equivocation(ledger, &c),
        DisputesCalls::punish(c) => {
            let Some(signed) = signatures(&c.signatures) else {
                return no_evidence();
            };
            let header = Hash::from(c.headerHash);
            said(ledger.punish(&header, &signed, c.reporter.into()))
        }
        call => {
            let Some((e, fault)) = prove::read(&call) else {
                return unknown("this call of the disputes");
            };
            match evidence(e)?.zip(fault) {
                Some((evidence, fault)) => said(ledger.prove(&evidence, &fault)),
                None => no_evidence(),
            }
        }
    }
}

fn overrule(
    ledger: &mut Ledger,
    profile: &NetworkProfile,
    c: &Disputes::overruleCall,
) -> Result<Verdict, String> {
    let (Some(e), Some(votes)) = (evidence(&c.e)?, signatures(&c.votes)) else {
        return Ok(Err("no evidence that anybody can have".to_owned()));
    };
    let header = match ledger.accused(&e.chain) {
        Ok(header) => header,
        Err(why) => return Ok(Err(why.to_string())),
    };
    let digest = EpochHeader::overrule_digest(&header.hash(), profile);
    let votes: Option<Vec<(Account, EvmSignature)>> = votes
        .into_iter()
        .map(|s| recover(&digest, &s).map(|account| (account, s)))
        .collect();
    let Some(votes) = votes else {
        return Ok(Err("a vote recovers nobody".to_owned()));
    };
    said(ledger.overrule(&e, &votes))
}

fn equivocation(
    ledger: &mut Ledger,
    c: &Disputes::proveEquivocationCall,
) -> Result<Verdict, String> {
    // Such a header needs no post, so it can be signed, but the twin cannot express it.
    let too_much = || format!("{TOO_MUCH}; the twin cannot judge who signed it");
    let first = posted(&c.first)?.ok_or_else(too_much)?;
    let second = posted(&c.second)?.ok_or_else(too_much)?;
    let (once, again) = (
        signatures(&c.firstSignatures),
        signatures(&c.secondSignatures),
    );
    let pairs = once.zip(again).filter(|(a, b)| a.len() == b.len());
    let Some((once, again)) = pairs else {
        return Ok(Err("the signatures are no pairs".to_owned()));
    };
    let pairs: Vec<_> = once.into_iter().zip(again).collect();
    said(ledger.prove_equivocation(&first, &second, &pairs, c.reporter.into()))
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

/// What the deployment says about taking part.
async fn member_terms(
    endpoint: &Endpoint,
    profile: &NetworkProfile,
) -> Result<MemberTerms, ChainError> {
    let (registry, anchor) = (profile.contracts.registry, profile.contracts.anchor);
    let bond = endpoint.view(registry, Registry::minLabelerBondCall {});
    let unbond = endpoint.view(registry, Registry::unbondSecondsCall {});
    let seats = endpoint.view(anchor, EpochAnchor::committeeMaxCall {});
    Ok(MemberTerms {
        min_labeler_bond: Amount(bond.await?),
        unbond_secs: unbond.await?,
        committee_max: seats.await?,
        term_epochs: endpoint
            .view(anchor, EpochAnchor::termEpochsCall {})
            .await?,
    })
}

fn distributor(
    ledger: &mut Ledger,
    lane: u32,
    call: RewardDistributorCalls,
) -> Result<Verdict, String> {
    let (epoch, one, claims) = match call {
        RewardDistributorCalls::claim(c) => {
            let claim = RewardDistributor::Claim {
                payee: c.payee,
                total: c.total,
                index: c.index,
                proof: c.proof,
            };
            (c.epoch, true, vec![claim])
        }
        RewardDistributorCalls::claimMany(c) => (c.epoch, false, c.claims),
        RewardDistributorCalls::claimSubtree(c) => return subtree(ledger, lane, &c),
        RewardDistributorCalls::activate(_) | RewardDistributorCalls::revoke(_) => {
            return not_yours();
        }
        _ => return unknown("this call of the distributor"),
    };
    let Some(root) = ledger.root(lane, epoch) else {
        return Ok(Err(no_root(lane, epoch)));
    };
    let claims = claims.into_iter().map(|c| Claim {
        lane,
        epoch,
        payee: c.payee.into(),
        total: Amount(c.total),
        index: c.index.saturating_to(),
        proof: hashes(&c.proof),
        root,
    });
    let claims: Vec<Claim> = claims.collect();
    match claims.as_slice() {
        [claim] if one => said(ledger.claim(claim)),
        many => said(ledger.claim_many(lane, epoch, many)),
    }
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
    let leaves: Vec<(Account, Amount)> = places
        .iter()
        .map(|place| {
            let (payee, total) = place.split_at(Account::LEN);
            let mut account = Account::default();
            account.0.copy_from_slice(payee);
            let units = total.iter().fold(0, |sum, b| sum << 8 | u128::from(*b));
            (account, Amount(units))
        })
        .collect();
    said(ledger.claim_subtree(&SubtreeClaim {
        lane,
        epoch: c.epoch,
        first: c.first.saturating_to(),
        height: places.len().trailing_zeros() as u8,
        leaves,
        proof: hashes(&c.proof),
        root,
    }))
}
