//! JSON-RPC endpoints: bounded HTTP below alloy's client, and the questions that the rest of the folder asks.
//!
//! Does not judge answers beyond their form. Invariants: every request ends within [`REQUEST_TIMEOUT`]; no answer larger than
//! [`ANSWER_BYTES_MAX`] is held; messages name scheme, host and port only, because the rest of a URL is often a secret.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use alloy::{
    primitives::{Address, B256, Bloom, Bytes, U64, U256},
    rpc::{
        client::RpcClient,
        json_rpc::{RequestPacket, ResponsePacket, RpcRecv, RpcSend},
        types::{Log, TransactionRequest},
    },
    sol_types::SolCall,
    transports::{TransportError, TransportErrorKind, TransportFut},
};
use assay_protocol::{
    crypto::keccak,
    id::{Account, Hash},
};
use serde::Deserialize;

use super::error::{ChainError, RpcFault};

/// Longest time for one HTTP exchange.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes (64 MiB).
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most questions in one HTTP request; public endpoints commonly allow 100.
pub(super) const BATCH_QUESTIONS_MAX: usize = 64;

/// Which block to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The newest block; shown, not acted on.
    Latest,
    /// The newest block that cannot change.
    Finalized,
    /// A block by number.
    Number(u64),
}

impl At {
    fn text(self) -> String {
        match self {
            Self::Latest => "latest".to_owned(),
            Self::Finalized => "finalized".to_owned(),
            Self::Number(number) => format!("{number:#x}"),
        }
    }
}

/// The parts of a block header that are used. Unknown fields of other chains do no harm.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderAnswer {
    number: U64,
    hash: B256,
    parent_hash: B256,
    timestamp: U64,
    mix_hash: B256,
    base_fee_per_gas: Option<U256>,
    logs_bloom: Option<Bloom>,
}

/// A block header as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeaderRow {
    pub number: u64,
    pub hash: Hash,
    pub parent: Hash,
    /// Seconds.
    pub time: u64,
    pub randao: Hash,
    /// Wei per gas; none on chains without EIP-1559.
    pub base_fee: Option<u128>,
    pub bloom: Option<Bloom>,
}

impl From<HeaderAnswer> for HeaderRow {
    fn from(h: HeaderAnswer) -> Self {
        Self {
            number: h.number.to(),
            hash: h.hash.into(),
            parent: h.parent_hash.into(),
            time: h.timestamp.to(),
            randao: h.mix_hash.into(),
            base_fee: h.base_fee_per_gas.map(|fee| fee.saturating_to()),
            bloom: h.logs_bloom,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReceiptAnswer {
    status: U64,
    block_number: Option<U64>,
    block_hash: Option<B256>,
    gas_used: U64,
    contract_address: Option<Address>,
    #[serde(default)]
    logs: Vec<Log>,
}

/// The outcome of a mined transaction.
#[derive(Clone, Debug)]
pub(super) struct ReceiptRow {
    pub ok: bool,
    pub block: u64,
    pub block_hash: Hash,
    pub gas_used: u64,
    pub created: Option<Address>,
    pub logs: Vec<Log>,
}

/// HTTP with bounds, as an alloy transport.
#[derive(Clone, Debug)]
struct BoundedHttp {
    client: reqwest::Client,
    url: reqwest::Url,
}

impl BoundedHttp {
    async fn exchange(self, packet: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let body = packet.serialize().map_err(TransportError::ser_err)?;
        // reqwest's own messages carry the whole URL.
        let failed = |e: reqwest::Error| TransportErrorKind::custom_str(&reason(&e.without_url()));
        let request = self
            .client
            .post(self.url)
            .header("content-type", "application/json")
            .body(body.get().to_owned());
        let mut answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        let too_large = || {
            TransportErrorKind::custom_str(&format!(
                "the answer is larger than {ANSWER_BYTES_MAX} bytes"
            ))
        };
        if answer
            .content_length()
            .is_some_and(|length| length > ANSWER_BYTES_MAX as u64)
        {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        match serde_json::from_slice(&bytes) {
            // Some endpoints put a JSON-RPC error under an HTTP error status; it says more than the status.
            Ok(packet) => Ok(packet),
            Err(_) if !status.is_success() => Err(TransportErrorKind::custom_str(&format!(
                "HTTP status {}",
                status.as_u16()
            ))),
            Err(e) => Err(TransportError::deser_err(
                e,
                String::from_utf8_lossy(&bytes[..bytes.len().min(200)]),
            )),
        }
    }
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_timeout() {
        format!("no answer in time ({cause})")
    } else {
        cause.to_string()
    }
}

impl tower::Service<RequestPacket> for BoundedHttp {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        Box::pin(self.clone().exchange(packet))
    }
}

/// One JSON-RPC endpoint.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Scheme, host and port.
    pub label: String,
    client: RpcClient,
}

impl Endpoint {
    pub fn new(url: &str) -> Result<Self, ChainError> {
        let parsed = reqwest::Url::parse(url).map_err(|e| {
            ChainError::Config(format!(
                "an RPC address is not a URL ({e}); write it like http://127.0.0.1:8545"
            ))
        })?;
        let host = parsed.host_str().unwrap_or_default().to_owned();
        if !matches!(parsed.scheme(), "http" | "https") || host.is_empty() {
            return Err(ChainError::Config(format!(
                "the RPC address at {host:?} must start with http:// or https://"
            )));
        }
        let port = parsed.port().map(|p| format!(":{p}")).unwrap_or_default();
        let label = format!("{}://{host}{port}", parsed.scheme());
        let mut client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
            // A proxy from the environment cannot reach this machine's loopback.
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|e| ChainError::Config(format!("HTTP client: {e}")))?;
        Ok(Self {
            label,
            client: RpcClient::new(
                BoundedHttp {
                    client,
                    url: parsed,
                },
                false,
            ),
        })
    }

    /// One question.
    pub async fn ask<P: RpcSend, R: RpcRecv>(
        &self,
        method: &'static str,
        params: P,
    ) -> Result<R, RpcFault> {
        self.client
            .request(method, params)
            .await
            .map_err(|e| RpcFault::new(&self.label, method, &e))
    }

    /// A view of a contract at the newest block.
    pub async fn view<C: SolCall>(&self, to: Account, call: C) -> Result<C::Return, RpcFault> {
        self.view_as(Account([0; 20]), to, call).await
    }

    /// What a call by `from` would return now, without sending anything.
    pub async fn view_as<C: SolCall>(
        &self,
        from: Account,
        to: Account,
        call: C,
    ) -> Result<C::Return, RpcFault> {
        let request = TransactionRequest::default()
            .from(from.into())
            .to(to.into())
            .input(Bytes::from(call.abi_encode()).into());
        let data: Bytes = self.ask("eth_call", (request, "latest")).await?;
        C::abi_decode_returns_validate(&data).map_err(|e| {
            RpcFault::garbage(
                &self.label,
                "eth_call",
                format!("{} of 0x{to}: {e}", C::SIGNATURE),
            )
        })
    }

    /// A header; none when the endpoint does not have the block.
    pub async fn header(&self, at: At) -> Result<Option<HeaderRow>, RpcFault> {
        let answer: Option<HeaderAnswer> =
            self.ask("eth_getBlockByNumber", (at.text(), false)).await?;
        Ok(answer.map(HeaderRow::from))
    }

    /// The newest header.
    pub async fn latest(&self) -> Result<HeaderRow, RpcFault> {
        let none = || {
            RpcFault::garbage(
                &self.label,
                "eth_getBlockByNumber",
                "there is no latest block",
            )
        };
        self.header(At::Latest).await?.ok_or_else(none)
    }

    /// The headers `from..=to` in few requests.
    pub async fn headers(&self, from: u64, to: u64) -> Result<Vec<HeaderRow>, RpcFault> {
        const METHOD: &str = "eth_getBlockByNumber";
        let mut rows = Vec::new();
        let mut first = from;
        while first <= to {
            let last = to.min(first + BATCH_QUESTIONS_MAX as u64 - 1);
            let mut batch = self.client.new_batch();
            let mut answers = Vec::new();
            for number in first..=last {
                let answer = batch.add_call::<_, Option<HeaderAnswer>>(
                    METHOD,
                    &(At::Number(number).text(), false),
                );
                answers.push((
                    number,
                    answer.map_err(|e| RpcFault::new(&self.label, METHOD, &e))?,
                ));
            }
            batch
                .send()
                .await
                .map_err(|e| RpcFault::new(&self.label, METHOD, &e))?;
            for (number, answer) in answers {
                let row = answer
                    .await
                    .map_err(|e| RpcFault::new(&self.label, METHOD, &e))?
                    .map(HeaderRow::from);
                match row {
                    Some(row) if row.number == number => rows.push(row),
                    Some(row) => {
                        return Err(RpcFault::garbage(
                            &self.label,
                            METHOD,
                            format!("block {} instead of {number}", row.number),
                        ));
                    }
                    None => {
                        return Err(RpcFault::garbage(
                            &self.label,
                            METHOD,
                            format!("no block {number}, which it called final"),
                        ));
                    }
                }
            }
            first = last + 1;
        }
        Ok(rows)
    }

    /// The receipt of a mined transaction, none while it is not mined.
    pub async fn receipt(&self, tx: Hash) -> Result<Option<ReceiptRow>, RpcFault> {
        let answer: Option<ReceiptAnswer> = self
            .ask("eth_getTransactionReceipt", (B256::from(tx),))
            .await?;
        Ok(answer.and_then(|r| {
            Some(ReceiptRow {
                ok: r.status == U64::from(1),
                block: r.block_number?.to(),
                block_hash: r.block_hash?.into(),
                gas_used: r.gas_used.to(),
                created: r.contract_address,
                logs: r.logs,
            })
        }))
    }

    /// Transactions of an account so far; with `pending` those that wait in the endpoint's pool, too.
    pub async fn nonce(&self, account: Account, pending: bool) -> Result<u64, RpcFault> {
        let tag = if pending { "pending" } else { "latest" };
        let count: U64 = self
            .ask("eth_getTransactionCount", (Address::from(account), tag))
            .await?;
        Ok(count.to())
    }

    /// keccak-256 of the code at an address; none where there is no code.
    pub async fn code_hash(&self, at: Account) -> Result<Option<Hash>, RpcFault> {
        let code: Bytes = self
            .ask("eth_getCode", (Address::from(at), "latest"))
            .await?;
        Ok((!code.is_empty()).then(|| keccak(&code)))
    }

    /// Native balance in wei.
    pub async fn native(&self, account: Account) -> Result<u128, RpcFault> {
        let wei: U256 = self
            .ask("eth_getBalance", (Address::from(account), "latest"))
            .await?;
        Ok(wei.saturating_to())
    }
}

/// The configured endpoints; one is in use, the next one after a failure.
#[derive(Debug)]
pub(super) struct Endpoints {
    list: Vec<Endpoint>,
    current: AtomicUsize,
}

impl Endpoints {
    pub fn new(urls: &[String]) -> Result<Self, ChainError> {
        if urls.is_empty() {
            return Err(ChainError::Config(
                "the network profile names no RPC address (field `rpc`)".to_owned(),
            ));
        }
        let list = urls
            .iter()
            .map(|url| Endpoint::new(url))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            list,
            current: AtomicUsize::new(0),
        })
    }

    /// The endpoint in use.
    pub fn current(&self) -> &Endpoint {
        &self.list[self.current.load(Ordering::Relaxed) % self.list.len()]
    }

    /// Another endpoint than the one in use, if there are two.
    pub fn witness(&self) -> Option<&Endpoint> {
        let at = self.current.load(Ordering::Relaxed);
        (self.list.len() > 1).then(|| &self.list[(at + 1) % self.list.len()])
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Uses the next endpoint from now on.
    pub fn rotate(&self) {
        self.current.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_an_endpoint_without_the_secret_parts_of_its_address() {
        let endpoint =
            Endpoint::new("https://user:pass@rpc.example:8443/v2/api-key?token=x").expect("a URL");
        assert_eq!(endpoint.label, "https://rpc.example:8443");
        for bad in ["", "ftp://host", "rpc.example", "http://"] {
            let error = Endpoint::new(bad).expect_err(bad).to_string();
            assert!(error.contains("RPC address"), "{error}");
        }
        assert!(Endpoints::new(&[]).is_err());
    }
}
