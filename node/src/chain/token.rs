//! Whether the reward token is one that escrows can work with, found out before anything is sent.
//!
//! The network's contracts pay in one token, which the profile names. Its code, decimals and symbol are looked at whenever an endpoint is
//! checked; how it moves is looked at when a task is published, because that takes an account with tokens: the endpoint runs approval and
//! funding as that account, in one call that changes nothing.

use alloy::{
    primitives::{Bytes, U256, map::AddressHashMap},
    rpc::types::{TransactionRequest, state::AccountOverride},
    sol,
    sol_types::{SolCall, SolError, SolValue},
};
use assay_protocol::{
    amount::Amount,
    id::{Account, TaskId},
    network::NetworkProfile,
};

use super::{
    Chain, ChainError,
    bindings::{AccountScript, DevToken, TaskEscrow},
    endpoint::Endpoint,
    error::{RpcFault, clip},
    revert::explain,
};

sol! {
    /// What OpenZeppelin's pausable tokens refuse with.
    #[derive(Debug)]
    error EnforcedPause();
}

/// What to do about a token that does not fit.
const WHAT_NEXT: &str = "escrows cannot work with it: ask whoever issues it, or use the profile of a network that pays in another token";

/// What a contract answers; none when it refuses.
async fn answer<C: SolCall>(
    endpoint: &Endpoint,
    from: Account,
    to: Account,
    call: &C,
) -> Result<Result<Bytes, Bytes>, RpcFault> {
    let request = TransactionRequest::default()
        .from(from.into())
        .to(to.into())
        .input(Bytes::from(call.abi_encode()).into());
    match endpoint.ask("eth_call", (request, "latest")).await {
        Ok(data) => Ok(Ok(data)),
        Err(RpcFault::Refused {
            revert: Some(data), ..
        }) => Ok(Err(data)),
        // A refusal without a reason has no data.
        Err(RpcFault::Refused { message, .. }) if message.contains("revert") => {
            Ok(Err(Bytes::new()))
        }
        Err(fault) => Err(fault),
    }
}

/// Old tokens say their name in one word, newer ones in a string.
fn text(data: &[u8]) -> Option<String> {
    let word = |data: &[u8]| {
        let word = <[u8; 32]>::try_from(data).ok()?;
        let end = word.iter().position(|b| *b == 0).unwrap_or(word.len());
        String::from_utf8(word[..end].to_vec()).ok()
    };
    let text = String::abi_decode_validate(data)
        .ok()
        .or_else(|| word(data))?;
    (!text.is_empty()).then(|| clip(&text))
}

/// Whether an answer to a transfer or an approval says that it was done: true, or nothing.
fn is_yes(data: &[u8]) -> bool {
    data.is_empty() || bool::abi_decode_validate(data) == Ok(true)
}

/// The symbol of the profile's token, or what is wrong with what the token says of itself.
pub(super) async fn symbol(
    endpoint: &Endpoint,
    profile: &NetworkProfile,
) -> Result<Result<String, String>, RpcFault> {
    let (token, nobody) = (profile.contracts.token, Account::default());
    if endpoint.code_hash(token).await?.is_none() {
        return Ok(Err("there is no contract at its address".to_owned()));
    }
    let decimals = answer(endpoint, nobody, token, &DevToken::decimalsCall {}).await?;
    let decimals = decimals.map(|data| DevToken::decimalsCall::abi_decode_returns_validate(&data));
    let expected = profile.params.token_decimals;
    match decimals {
        Ok(Ok(decimals)) if decimals == expected => {}
        Ok(Ok(decimals)) => {
            return Ok(Err(format!(
                "it has {decimals} decimals and the profile says {expected}, so every amount shown would be wrong"
            )));
        }
        _ => return Ok(Err("it does not tell its decimals".to_owned())),
    }
    let symbol = answer(endpoint, nobody, token, &DevToken::symbolCall {}).await?;
    let symbol = symbol.ok().and_then(|data| text(&data));
    Ok(symbol.ok_or_else(|| "it does not tell its symbol".to_owned()))
}

/// Why a refused transfer to the escrow was refused.
fn reason(data: &[u8], tokens: impl Fn(U256) -> String) -> String {
    if let Ok(inexact) = TaskEscrow::InexactTransfer::abi_decode(data) {
        return format!(
            "of {} tokens that are sent, {} arrive: it takes a fee, or changes balances by itself",
            tokens(inexact.expected),
            tokens(inexact.received)
        );
    }
    if TaskEscrow::SafeERC20FailedOperation::abi_decode(data).is_ok() {
        return "it answers a transfer with false".to_owned();
    }
    if EnforcedPause::abi_decode(data).is_ok() {
        return "it is paused".to_owned();
    }
    format!("a transfer to the escrow fails, {}", explain(data).1)
}

/// What came of the calls that `account` would make one after the other; none when the endpoint cannot tell.
async fn rehearse(
    endpoint: &Endpoint,
    account: Account,
    calls: Vec<AccountScript::Call>,
) -> Result<Option<Vec<AccountScript::Outcome>>, RpcFault> {
    let request = TransactionRequest::default()
        .from(account.into())
        .to(account.into())
        .input(Bytes::from(AccountScript::runCall { calls }.abi_encode()).into());
    let mut script: AddressHashMap<AccountOverride> = AddressHashMap::default();
    let code = AccountScript::DEPLOYED_BYTECODE.clone();
    script.insert(account.into(), AccountOverride::default().with_code(code));
    let answer: Result<Bytes, _> = endpoint.ask("eth_call", (request, "latest", script)).await;
    match answer {
        // Without the script the account has no code, and answers nothing.
        Ok(data) => Ok(AccountScript::runCall::abi_decode_returns_validate(&data).ok()),
        Err(RpcFault::Refused { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// What a token says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenTerms {
    /// Short name; the address of a token that has none.
    pub symbol: String,
    /// Decimals.
    pub decimals: u8,
}

impl Chain {
    /// What any token says of itself.
    ///
    /// # Errors
    /// [`ChainError::Token`] when it does not tell its decimals; [`ChainError::Rpc`].
    pub async fn token_terms(&self, token: Account) -> Result<TokenTerms, ChainError> {
        let (endpoint, nobody) = (self.shared.endpoints.current(), Account::default());
        let decimals = answer(endpoint, nobody, token, &DevToken::decimalsCall {}).await?;
        let decimals = decimals
            .ok()
            .and_then(|data| DevToken::decimalsCall::abi_decode_returns_validate(&data).ok())
            .ok_or_else(|| ChainError::Token {
                name: format!("0x{token}"),
                why: "it does not tell its decimals; check the address".to_owned(),
            })?;
        let symbol = answer(endpoint, nobody, token, &DevToken::symbolCall {}).await?;
        let symbol = symbol.ok().and_then(|data| text(&data));
        Ok(TokenTerms {
            symbol: symbol.unwrap_or_else(|| format!("0x{token}")),
            decimals,
        })
    }

    /// Whether our account can fund this task with the network's token: what the token says of itself, balance, and approval and funding
    /// as they would go now. Sends nothing. An endpoint that knows no state overrides shows everything but a fee.
    ///
    /// # Errors
    /// [`ChainError::Token`] with what is wrong with the token, [`ChainError::Refused`] for a balance that is too small,
    /// [`ChainError::NoKey`], [`ChainError::Rpc`].
    pub async fn rehearse_funding(
        &self,
        task: TaskId,
        lane: u32,
        deposit: Amount,
        gold_bond: Amount,
    ) -> Result<(), ChainError> {
        let account = self.account.ok_or(ChainError::NoKey)?;
        let (endpoint, profile) = (self.shared.endpoints.current(), &self.shared.profile);
        let (token, escrow) = (profile.contracts.token, profile.contracts.escrow);
        let bad = |name: String, why: String| ChainError::Token {
            name,
            why: format!("{why}; {WHAT_NEXT}"),
        };
        let symbol = symbol(endpoint, profile).await?;
        let symbol = symbol.map_err(|why| bad(format!("0x{token}"), why))?;
        let bad = |why: String| bad(format!("{symbol} (0x{token})"), why);
        let tokens =
            |units: U256| Amount(units.saturating_to()).to_decimal(profile.params.token_decimals);

        let call = TaskEscrow::escrowsCall {
            taskId: task.0.into(),
            client: account.into(),
        };
        if endpoint.view(escrow, call).await?.deposit != 0 {
            return Ok(());
        }
        let need = U256::from(deposit.0) + U256::from(gold_bond.0);
        let owner = account.into();
        let held = endpoint
            .view(token, DevToken::balanceOfCall { account: owner })
            .await?;
        if held < need {
            return Err(ChainError::Refused {
                what: format!("fund task {task}"),
                why: format!(
                    "account 0x{account} holds {} {symbol}, the task needs {}; send it {} more",
                    tokens(held),
                    tokens(need),
                    tokens(need - held)
                ),
            });
        }
        let spender = escrow.into();
        let allowed = endpoint
            .view(token, DevToken::allowanceCall { owner, spender })
            .await?;
        let approve = DevToken::approveCall {
            spender,
            value: need,
        };
        let fund = TaskEscrow::fundCall {
            taskId: task.0.into(),
            lane,
            deposit: deposit.0,
            goldBond: gold_bond.0,
        };
        let call = |to: Account, data: Vec<u8>| AccountScript::Call {
            to: to.into(),
            data: data.into(),
        };
        let mut calls = Vec::new();
        if allowed < need {
            calls.push(call(token, approve.abi_encode()));
        }
        calls.push(call(escrow, fund.abi_encode()));
        let expected = calls.len();
        let outcomes = rehearse(endpoint, account, calls).await?;
        let Some(outcomes) = outcomes.filter(|o| o.len() == expected) else {
            tracing::debug!(
                endpoint = endpoint.label,
                "no state overrides; looking at a plain transfer instead"
            );
            let transfer = DevToken::transferCall {
                to: spender,
                value: need,
            };
            return match answer(endpoint, account, token, &transfer).await? {
                Ok(data) if is_yes(&data) => Ok(()),
                Ok(_) => Err(bad("it answers a transfer with false".to_owned())),
                Err(data) => Err(bad(reason(&data, tokens))),
            };
        };
        if let [approved, _] = outcomes.as_slice() {
            if !approved.success {
                let why = explain(&approved.data).1;
                return Err(bad(format!("it cannot be approved for the escrow, {why}")));
            }
            if !is_yes(&approved.data) {
                return Err(bad("it answers an approval with false".to_owned()));
            }
        }
        match outcomes.last() {
            Some(funded) if !funded.success => Err(bad(reason(&funded.data, tokens))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_read_in_both_forms_that_tokens_use() {
        assert_eq!(
            text(&"USDX".to_owned().abi_encode()).as_deref(),
            Some("USDX")
        );
        let mut word = [0; 32];
        word[..3].copy_from_slice(b"MKX");
        assert_eq!(text(&word).as_deref(), Some("MKX"));
        for none in [&[][..], &[0; 32], &[0xff; 32], &String::new().abi_encode()] {
            assert_eq!(text(none), None, "{none:?}");
        }
    }

    #[test]
    fn true_and_nothing_mean_done_and_everything_else_does_not() {
        assert!(is_yes(&[]) && is_yes(&true.abi_encode()));
        for no in [&false.abi_encode()[..], &[1], &[0xff; 32], &[0; 64]] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
