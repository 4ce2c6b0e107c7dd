//! Deploying a development network, and giving its accounts play money.
//!
//! For development networks only: the token can be minted by anybody. Production deployments use the same bytecode with a vetted
//! token and are described beside the contracts.

use std::time::Duration;

use alloy::{
    primitives::{Address, Bytes, U64, U256, aliases::U48},
    rpc::types::TransactionRequest,
    sol_types::{SolCall, SolConstructor},
};
use assay_protocol::{
    amount::Amount,
    id::{Account, Hash},
    network::{CodeHashes, Contracts, Extra, Extras},
};
use tokio::time::Instant;

use super::{
    bindings::{
        DevToken, Disputes, EpochAnchor, PrevrandaoBeacon, Registry, ReputationAnchor,
        RewardDistributor, TaskEscrow, datasets::DatasetShares, pool::BonusPool,
    },
    endpoint::{Endpoint, ReceiptRow},
    error::ChainError,
    pool::market,
    revert::explain,
    wallet::{Draft, Wallet},
};

/// Longest wait for one transaction to be mined.
const MINED_WAIT: Duration = Duration::from_secs(120);
/// Time between two looks for a receipt.
const RECEIPT_POLL: Duration = Duration::from_millis(25);
/// Most base units that one call may mint (the token's `MINT_CAP`).
const MINT_CAP: u128 = 1_000_000_000_000;
/// Most calls that one [`dev_fund`] makes.
const MINTS_MAX: u128 = 100;
/// Native currency of the throw-away account that mints, in wei (one ether).
const MINTER_WEI: u128 = 1_000_000_000_000_000_000;

/// Three times the two days after which a silent committee can be replaced: three draws may fail before tasks are paid without one.
const FALLBACK_SECONDS: u64 = 6 * 86_400;

/// What the contracts of a network are deployed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeployParams {
    /// The ERC-20 that tasks are paid in; play money is deployed when there is none.
    pub token: Option<Account>,
    /// Lanes; must equal the profile's.
    pub lanes: u32,
    /// Largest committee, in members.
    pub committee_max: u8,
    /// Epochs that a committee serves.
    pub term_epochs: u64,
    /// Least stake of a validator, in base units.
    pub min_validator_stake: Amount,
    /// Least stake of a labeler, in base units.
    pub min_labeler_bond: Amount,
    /// Seconds between leaving and withdrawing; more than `activation_delay`.
    pub unbond_seconds: u64,
    /// Part of the stake that a proven fault costs each signer, in hundredths of a per cent.
    pub slash_bps: u16,
    /// Seconds that a lane must be silent before its tasks can be paid without a committee, and seconds of the window for that.
    pub fallback_seconds: u64,
    /// Seconds between the posting of a payout root and the first claim on it.
    pub activation_delay: u32,
    /// Blocks between a draw's request and the block whose randomness decides it.
    pub beacon_delay_blocks: u64,
}

impl DeployParams {
    /// Defaults of a development network with a token of six decimals.
    pub const fn dev() -> Self {
        Self {
            token: None,
            lanes: 1,
            committee_max: 7,
            term_epochs: 64,
            min_validator_stake: Amount(100_000_000),
            min_labeler_bond: Amount(10_000_000),
            unbond_seconds: 600,
            slash_bps: 2_500,
            fallback_seconds: FALLBACK_SECONDS,
            activation_delay: 0,
            beacon_delay_blocks: 2,
        }
    }
}

/// A deployed network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Chain id that the endpoint reports.
    pub chain_id: u64,
    /// Addresses for the network profile.
    pub contracts: Contracts,
    /// Their code, for the profile as well.
    pub code: CodeHashes,
    /// Contracts beside the main reward.
    pub extras: Extras,
    /// First block that can hold an event of them.
    pub start_block: u64,
    /// Gas of each deployment, in order.
    pub gas: Vec<(String, u64)>,
}

/// Sends transactions one after the other and waits for each; without a memory, unlike the outbox.
pub(super) struct Courier {
    endpoint: Endpoint,
    wallet: Wallet,
    nonce: u64,
}

impl Courier {
    pub(super) async fn new(rpc: &str, key: &[u8; 32]) -> Result<(Self, u64), ChainError> {
        let endpoint = Endpoint::new(rpc)?;
        let chain_id: U64 = endpoint.ask("eth_chainId", ()).await?;
        let wallet = Wallet::new(key, chain_id.to())?;
        let nonce = endpoint.nonce(wallet.account(), true).await?;
        Ok((
            Self {
                endpoint,
                wallet,
                nonce,
            },
            chain_id.to(),
        ))
    }

    pub(super) async fn send(
        &mut self,
        what: &str,
        to: Option<Account>,
        data: Bytes,
    ) -> Result<ReceiptRow, ChainError> {
        let refused = |why: String| ChainError::Refused {
            what: what.to_owned(),
            why,
        };
        let mut request = TransactionRequest::default()
            .from(self.wallet.account().into())
            .input(data.clone().into());
        request.to = Some(to.map_or(alloy::primitives::TxKind::Create, |to| {
            Address::from(to).into()
        }));
        let estimate = self
            .endpoint
            .ask::<_, U64>("eth_estimateGas", (request,))
            .await;
        let gas: u64 = estimate
            .map_err(|fault| match fault.revert() {
                Some(data) => refused(explain(data).1),
                None => fault.into(),
            })?
            .to();
        let fees = market(&self.endpoint).await?.map_err(refused)?;
        let draft = Draft {
            to,
            data,
            gas_limit: gas.saturating_add(gas / 4),
            fees,
        };
        let signed = self.wallet.sign(draft, self.nonce)?;
        let raw = Bytes::copy_from_slice(&signed.raw.0);
        self.endpoint
            .ask::<_, alloy::primitives::B256>("eth_sendRawTransaction", (raw,))
            .await?;
        self.nonce += 1;
        let deadline = Instant::now() + MINED_WAIT;
        loop {
            if let Some(receipt) = self.endpoint.receipt(signed.hash).await? {
                return if receipt.ok {
                    Ok(receipt)
                } else {
                    Err(refused(format!("transaction 0x{} reverted", signed.hash)))
                };
            }
            if Instant::now() >= deadline {
                return Err(refused(format!(
                    "transaction 0x{} is not mined after {MINED_WAIT:?}",
                    signed.hash
                )));
            }
            tokio::time::sleep(RECEIPT_POLL).await;
        }
    }

    pub(super) async fn create(
        &mut self,
        name: &str,
        code: &Bytes,
        arguments: Vec<u8>,
        gas: &mut Vec<(String, u64)>,
    ) -> Result<(Address, u64), ChainError> {
        let what = format!("deploy {name}");
        let data: Bytes = [code.as_ref(), &arguments].concat().into();
        let receipt = self.send(&what, None, data).await?;
        gas.push((name.to_owned(), receipt.gas_used));
        let why = || "the receipt names no contract".to_owned();
        Ok((
            receipt
                .created
                .ok_or_else(|| ChainError::Refused { what, why: why() })?,
            receipt.block,
        ))
    }
}

/// Hash of the code of a contract that has to be there.
async fn code_at(endpoint: &Endpoint, at: Account) -> Result<Hash, ChainError> {
    let found = endpoint.code_hash(at).await?;
    found.ok_or_else(|| ChainError::Refused {
        what: format!("pin the code at 0x{at}"),
        why: "there is no contract; name the address of one that is deployed".to_owned(),
    })
}

/// Deploys a whole development network: token, beacon, registry, a distributor for each lane, escrow, anchor, disputes, wired to each other,
/// and the contracts beside the main reward.
///
/// The account behind `deployer` pays the gas and keeps no rights.
///
/// # Errors
/// [`ChainError::Refused`] with the contract's reason, [`ChainError::Rpc`], [`ChainError::Config`] for a bad address or key.
pub async fn deploy(
    rpc: &str,
    deployer: &[u8; 32],
    params: &DeployParams,
) -> Result<Deployed, ChainError> {
    let (mut courier, chain_id) = Courier::new(rpc, deployer).await?;
    let mut gas = Vec::new();
    // The contracts name each other, so the last one's address is computed in advance.
    let before = 3 + u64::from(params.token.is_none()) + u64::from(params.lanes);
    let deployer = Address::from(courier.wallet.account());
    let anchor = deployer.create(courier.nonce + before);
    let disputes = deployer.create(courier.nonce + before + 1);

    let token = match params.token {
        Some(token) => {
            code_at(&courier.endpoint, token).await?;
            token.into()
        }
        None => {
            let code = &DevToken::BYTECODE;
            courier
                .create("DevToken", code, Vec::new(), &mut gas)
                .await?
                .0
        }
    };
    let arguments = PrevrandaoBeacon::constructorCall {
        delay: params.beacon_delay_blocks,
    }
    .abi_encode();
    let (beacon, start_block) = courier
        .create(
            "PrevrandaoBeacon",
            &PrevrandaoBeacon::BYTECODE,
            arguments,
            &mut gas,
        )
        .await?;
    let arguments = Registry::constructorCall {
        token_: token,
        minValidatorStake_: params.min_validator_stake.0,
        minLabelerBond_: params.min_labeler_bond.0,
        unbondSeconds_: params.unbond_seconds,
        slashBps_: params.slash_bps,
        anchor_: anchor,
    };
    let (registry, _) = courier
        .create(
            "Registry",
            &Registry::BYTECODE,
            arguments.abi_encode(),
            &mut gas,
        )
        .await?;
    let mut distributors = Vec::new();
    for lane in 0..params.lanes {
        let arguments = RewardDistributor::constructorCall {
            token_: token,
            anchor_: anchor,
            lane_: lane,
            activationDelay: U48::from(params.activation_delay),
        };
        let code = &RewardDistributor::BYTECODE;
        let (placed, _) = courier
            .create("RewardDistributor", code, arguments.abi_encode(), &mut gas)
            .await?;
        distributors.push(placed);
    }
    let arguments = TaskEscrow::constructorCall {
        token_: token,
        anchor_: anchor,
        fallbackSeconds: params.fallback_seconds,
    };
    let (escrow, _) = courier
        .create(
            "TaskEscrow",
            &TaskEscrow::BYTECODE,
            arguments.abi_encode(),
            &mut gas,
        )
        .await?;
    let arguments = EpochAnchor::constructorCall {
        registry_: registry,
        escrow_: escrow,
        distributors_: distributors.clone(),
        beacon_: beacon,
        disputes_: disputes,
        committeeMax_: params.committee_max,
        termEpochs_: params.term_epochs,
    };
    let (placed, _) = courier
        .create(
            "EpochAnchor",
            &EpochAnchor::BYTECODE,
            arguments.abi_encode(),
            &mut gas,
        )
        .await?;
    if placed != anchor {
        return Err(ChainError::Refused {
            what: "deploy EpochAnchor".to_owned(),
            why: format!(
                "it stands at {placed}, the others were told {anchor}; the deployer's key was used elsewhere meanwhile, deploy again"
            ),
        });
    }
    let arguments = Disputes::constructorCall { anchor_: anchor };
    // It refuses to be deployed anywhere but where the anchor expects it.
    let code = &Disputes::BYTECODE;
    courier
        .create("Disputes", code, arguments.abi_encode(), &mut gas)
        .await?;
    let contracts = Contracts {
        token: token.into(),
        registry: registry.into(),
        escrow: escrow.into(),
        anchor: anchor.into(),
        distributors: distributors.into_iter().map(Account::from).collect(),
        beacon: beacon.into(),
    };
    let endpoint = &courier.endpoint;
    let mut distributors = Vec::new();
    for distributor in &contracts.distributors {
        distributors.push(code_at(endpoint, *distributor).await?);
    }
    let code = CodeHashes {
        token: code_at(endpoint, contracts.token).await?,
        registry: code_at(endpoint, contracts.registry).await?,
        escrow: code_at(endpoint, contracts.escrow).await?,
        anchor: code_at(endpoint, contracts.anchor).await?,
        distributors,
        beacon: code_at(endpoint, contracts.beacon).await?,
        disputes: code_at(endpoint, disputes.into()).await?,
    };
    let extras = deploy_extras(&mut courier, &contracts, &mut gas).await?;
    Ok(Deployed {
        chain_id,
        contracts,
        code,
        extras,
        start_block,
        gas,
    })
}

/// The contracts that stand beside the main reward.
async fn deploy_extras(
    courier: &mut Courier,
    contracts: &Contracts,
    gas: &mut Vec<(String, u64)>,
) -> Result<Extras, ChainError> {
    let (anchor_, escrow_) = (contracts.anchor.into(), contracts.escrow.into());
    let arguments = ReputationAnchor::constructorCall { anchor_ }.abi_encode();
    let code = &ReputationAnchor::BYTECODE;
    let (reputation, _) = courier
        .create("ReputationAnchor", code, arguments, gas)
        .await?;
    let arguments = BonusPool::constructorCall { anchor_, escrow_ }.abi_encode();
    let code = &BonusPool::BYTECODE;
    let (bonuses, _) = courier.create("BonusPool", code, arguments, gas).await?;
    let code = &DatasetShares::BYTECODE;
    let (datasets, _) = courier
        .create("DatasetShares", code, Vec::new(), gas)
        .await?;
    let endpoint = &courier.endpoint;
    let call = DatasetShares::splitterCall {};
    let splitter = endpoint.view(datasets.into(), call).await?;
    let extra = async |address: Address| {
        Ok::<_, ChainError>(Some(Extra {
            address: address.into(),
            code: code_at(endpoint, address.into()).await?,
        }))
    };
    Ok(Extras {
        reputation: extra(reputation).await?,
        bonuses: extra(bonuses).await?,
        datasets: extra(datasets).await?,
        splitter: extra(splitter).await?,
    })
}

/// Gives an account of an embedded development chain native currency and play money: its balance becomes `wei`, and `tokens` base
/// units of `token` are minted for it.
///
/// # Errors
/// [`ChainError::Rpc`] on any other chain, which does not set balances; [`ChainError::Refused`] for more than 100 times the token's
/// cap of one call.
pub async fn dev_fund(
    rpc: &str,
    token: Account,
    account: Account,
    wei: u128,
    tokens: Amount,
) -> Result<(), ChainError> {
    let endpoint = Endpoint::new(rpc)?;
    set_balance(&endpoint, account, wei).await?;
    if tokens == Amount::ZERO {
        return Ok(());
    }
    if tokens.0 > MINT_CAP * MINTS_MAX {
        let why = format!("at most {} base units at a time", MINT_CAP * MINTS_MAX);
        return Err(ChainError::Refused {
            what: format!("mint {tokens} base units"),
            why,
        });
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(|e| ChainError::Config(format!("no randomness from the system: {e}")))?;
    let (mut courier, _) = Courier::new(rpc, &key).await?;
    set_balance(&endpoint, courier.wallet.account(), MINTER_WEI).await?;
    let mut left = tokens.0;
    while left > 0 {
        let amount = left.min(MINT_CAP);
        let call = DevToken::mintCall {
            to: account.into(),
            amount: U256::from(amount),
        };
        courier
            .send("mint play money", Some(token), call.abi_encode().into())
            .await?;
        left -= amount;
    }
    Ok(())
}

async fn set_balance(endpoint: &Endpoint, account: Account, wei: u128) -> Result<(), ChainError> {
    let _: bool = endpoint
        .ask("dev_setBalance", (Address::from(account), U256::from(wei)))
        .await?;
    Ok(())
}
