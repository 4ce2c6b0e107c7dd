//! `assay claim`: pay, through the running node or from an exported proof alone. A proof needs no node, no client and no operator: an
//! RPC address and any account with gas are enough, and the money goes to the payee in the proof whoever sends it.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use assay_protocol::{
    amount::Amount, crypto::EvmKey, id::Account, lane::Claim, network::NetworkProfile,
};
use serde::{Deserialize, Serialize};

use super::{
    args::ClaimArgs,
    client::Api,
    failure::{Exit, Failure},
    folder::{self, Folder},
    password::Passwords,
    text::Printer,
};
use crate::{
    api::model::{ClaimsDone, ClaimsView, PaidLine, RelayDone, RelayFailure, StatusView},
    chain::{Chain, ChainConfig, ChainError, OutboxStore},
};

/// Format of a proof file.
pub(super) const FORMAT: &str = "assay-claim/1";
/// Largest proof file in bytes.
const PROOF_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How long a claim without a node may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A proof as it is exported: everything that paying it takes, but a key with gas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofFile {
    /// [`FORMAT`].
    format: String,
    /// The network: chain, contracts, RPC addresses.
    profile: NetworkProfile,
    /// One per lane that owes the payee something.
    claims: Vec<Claim>,
}

/// Claims, or exports the proof.
///
/// # Errors
/// No running node, a wrong proof, a chain that refuses.
pub async fn run(folder: &Folder, args: &ClaimArgs, printer: Printer) -> Result<(), Failure> {
    if let (Some(proof), Some(key_file)) = (&args.proof, &args.key_file) {
        let key = folder::open_key(key_file, &Passwords::new(&args.password))?.evm();
        return from_proof(proof, args.rpc.as_deref(), &key, printer).await;
    }
    let config = folder.config()?;
    let profile = folder.profile(&config)?;
    let api = Api::open(folder)?;
    if args.everyone {
        let done: RelayDone = api.post("/v1/claims", &serde_json::json!({})).await?;
        return relayed(&done, profile.params.token_decimals, printer);
    }
    let payee = match args.payee {
        Some(payee) => payee,
        None => own_payee(&api).await?,
    };
    if let Some(path) = &args.export {
        return export(&api, payee, profile, path, printer).await;
    }
    let done: ClaimsDone = api
        .post(&format!("/v1/claims/{payee}"), &serde_json::json!({}))
        .await?;
    report(payee, &done.paid, profile.params.token_decimals, printer)
}

impl ProofFile {
    /// Network and claims, not checked.
    pub fn into_parts(self) -> (NetworkProfile, Vec<Claim>) {
        (self.profile, self.claims)
    }
}

pub(super) async fn own_payee(api: &Api) -> Result<Account, Failure> {
    let status: StatusView = api.get("/v1/status").await?;
    status.account.map(|a| a.payee).ok_or_else(|| {
        Failure::new(Exit::Config, "the node has no account")
            .next("name whom to pay with --payee ADDRESS")
    })
}

async fn export(
    api: &Api,
    payee: Account,
    profile: NetworkProfile,
    path: &Path,
    printer: Printer,
) -> Result<(), Failure> {
    let view: ClaimsView = api.get(&format!("/v1/claims/{payee}")).await?;
    if view.claims.is_empty() {
        return Err(Failure::new(
            Exit::Failure,
            format!("nothing was ever owed to 0x{payee}, so there is nothing to prove"),
        ));
    }
    let total = view
        .claims
        .iter()
        .map(|l| l.claim.total)
        .fold(Amount::ZERO, |s, a| s.checked_add(a).unwrap_or(s));
    let decimals = profile.params.token_decimals;
    let file = ProofFile {
        format: FORMAT.to_owned(),
        profile,
        claims: view.claims.into_iter().map(|l| l.claim).collect(),
    };
    let text = serde_json::to_string_pretty(&file).map_err(std::io::Error::from)?;
    folder::replace(path, 0o644, &text)?;
    if printer.json {
        return printer.data(&serde_json::json!({ "payee": payee, "total": total, "file": path }));
    }
    printer.say(&format!(
        "wrote the proof that 0x{payee} is owed {} tokens in total (paid or not) to {}",
        total.to_decimal(decimals),
        path.display()
    ));
    printer.say("Anyone can pay it out: assay claim --proof FILE --rpc URL --key-file FILE");
    Ok(())
}

fn read_proof(path: &Path) -> Result<ProofFile, Failure> {
    let failed = |e: &std::io::Error| Failure::file(Exit::Data, "read the proof", path, e);
    if fs::metadata(path).map_err(|e| failed(&e))?.len() > PROOF_BYTES_MAX {
        return Err(Failure::new(
            Exit::Data,
            format!("{} is larger than {PROOF_BYTES_MAX} bytes", path.display()),
        ));
    }
    parse_proof(
        &fs::read(path).map_err(|e| failed(&e))?,
        &path.display().to_string(),
    )
}

fn parse_proof(bytes: &[u8], name: &str) -> Result<ProofFile, Failure> {
    let bad = |why: String| {
        Failure::new(Exit::Data, format!("proof {name}: {why}"))
            .next("export it again with `assay claim --export FILE`")
    };
    let file: ProofFile = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    if file.format != FORMAT {
        return Err(bad(format!(
            "format {:?} is unknown, this version reads {FORMAT:?}",
            file.format
        )));
    }
    file.profile.check().map_err(|e| bad(e.to_string()))?;
    if let Some(wrong) = file.claims.iter().find(|c| !c.is_valid()) {
        return Err(bad(format!(
            "the claim of lane {} does not lead to its root",
            wrong.lane
        )));
    }
    Ok(file)
}

/// An outbox that lives as long as the command: enough to read, and for claims, which are idempotent on chain.
#[derive(Default)]
pub(super) struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl OutboxStore for Memory {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8]) -> Result<(), String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        Ok(())
    }
}

async fn from_proof(
    proof: &Path,
    rpc: Option<&str>,
    key: &EvmKey,
    printer: Printer,
) -> Result<(), Failure> {
    let mut file = read_proof(proof)?;
    if let Some(rpc) = rpc {
        file.profile.rpc = vec![rpc.to_owned()];
    }
    let decimals = file.profile.params.token_decimals;
    let config = ChainConfig::new(file.profile, Some(key.secret()));
    let (chain, news) = Chain::start(config, Arc::new(Memory::default()))?;
    // Without a reader the client follows no blocks; claims need only the newest ones.
    drop(news);
    let claiming = async {
        let mut paid = Vec::new();
        for claim in &file.claims {
            match chain.claim(claim).await {
                Ok(done) => paid.push(PaidLine {
                    lane: claim.lane,
                    amount: done.amount,
                    tx: done.tx,
                    gas_used: done.gas_used,
                }),
                Err(ChainError::NothingDue { .. }) => {}
                Err(error) => return Err(Failure::from(error)),
            }
        }
        Ok(paid)
    };
    let paid = tokio::time::timeout(PATIENCE, claiming)
        .await
        .unwrap_or_else(|_| {
            Err(Failure::new(
                Exit::Chain,
                format!("the claim is not in a block after {} s", PATIENCE.as_secs()),
            )
            .next("has the key's account enough gas money? Claiming again never pays twice"))
        });
    chain.shutdown().await;
    let payee = file.claims.first().map(|c| c.payee).unwrap_or_default();
    report(payee, &paid?, decimals, printer)
}

fn relayed(done: &RelayDone, decimals: u8, printer: Printer) -> Result<(), Failure> {
    if printer.json {
        printer.data(done)?;
        return failures(done);
    }
    if done.paid.is_empty() && done.failed.is_empty() {
        printer.say("nothing is due to anybody now");
    }
    for p in &done.paid {
        printer.line(&format!(
            "paid {} tokens to a group of {} payees (lane {}, transaction 0x{}, {} gas)",
            p.amount.to_decimal(decimals),
            p.payees,
            p.lane,
            p.tx,
            p.gas_used
        ))?;
    }
    failures(done)
}

/// The command fails when somebody could not be paid; what was paid is said before.
fn failures(done: &RelayDone) -> Result<(), Failure> {
    let [first, more @ ..] = done.failed.as_slice() else {
        return Ok(());
    };
    let name = |f: &RelayFailure| match f.payees {
        0 => format!("lane {}: {}", f.lane, f.why),
        n => format!("a group of {n} payees (lane {}): {}", f.lane, f.why),
    };
    let (paid, failed) = (done.paid.len(), done.failed.len());
    let mut text = format!(
        "{paid} of {} groups with something due were paid; not paid: {}",
        paid + failed,
        name(first)
    );
    for failure in more {
        text.push_str("; ");
        text.push_str(&name(failure));
    }
    Err(Failure::new(Exit::Chain, text)
        .next("claim again; what is left is paid then, and nothing twice"))
}

fn report(
    payee: Account,
    paid: &[PaidLine],
    decimals: u8,
    printer: Printer,
) -> Result<(), Failure> {
    if printer.json {
        return printer.data(&ClaimsDone {
            payee,
            paid: paid.to_vec(),
        });
    }
    if paid.is_empty() {
        printer.say(&format!("nothing is due to 0x{payee} now"));
    }
    for p in paid {
        printer.line(&format!(
            "paid {} tokens to 0x{payee} (lane {}, transaction 0x{}, {} gas)",
            p.amount.to_decimal(decimals),
            p.lane,
            p.tx,
            p.gas_used
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use assay_protocol::{
        lane::PayoutFile,
        network::{CodeHashes, Contracts, Extras, Params},
    };

    use super::*;

    fn file() -> ProofFile {
        let address = |n| Account([n; 20]);
        let payouts = PayoutFile {
            lane: 0,
            epoch: 4,
            leaves: (1..=5)
                .map(|n| (address(n), Amount(u128::from(n))))
                .collect(),
        };
        ProofFile {
            format: FORMAT.to_owned(),
            profile: NetworkProfile {
                name: "dev".into(),
                chain_id: 31_337,
                dev: true,
                rpc: vec!["http://127.0.0.1:1".into()],
                bootstrap: Vec::new(),
                start_block: 0,
                contracts: Contracts {
                    token: address(9),
                    registry: address(8),
                    escrow: address(7),
                    anchor: address(6),
                    distributors: vec![address(5)],
                    beacon: address(4),
                },
                code: CodeHashes::none(1),
                extras: Extras::default(),
                params: Params::dev(),
            },
            claims: vec![payouts.proofs().claim(&address(3)).unwrap()],
        }
    }

    #[test]
    fn paying_everybody_fails_with_every_group_that_was_not_paid_and_says_how_many_were() {
        use crate::api::model::RelayLine;
        let failure = |payees, why: &str| RelayFailure {
            lane: 2,
            payees,
            why: why.to_owned(),
        };
        let done = RelayDone {
            paid: vec![RelayLine {
                lane: 2,
                payees: 128,
                amount: Amount(5),
                tx: assay_protocol::id::Hash::ZERO,
                gas_used: 7,
            }],
            failed: vec![failure(128, "no gas"), failure(0, "no file")],
        };
        let failed = failures(&done).expect_err("two were not paid");
        assert_eq!(failed.exit, Exit::Chain);
        assert_eq!(
            failed.text,
            "1 of 3 groups with something due were paid; not paid: a group of 128 payees (lane 2): no gas; lane 2: no file"
        );
        assert_eq!(failures(&RelayDone::default()), Ok(()));
    }

    #[test]
    fn a_proof_file_holds_everything_and_is_checked_when_read() {
        let good = serde_json::to_vec(&file()).unwrap();
        assert_eq!(parse_proof(&good, "p"), Ok(file()));
        let mut more = file();
        more.claims[0].total = Amount(4);
        let mut old = file();
        old.format = "assay-claim/0".into();
        for (bytes, why) in [
            (
                serde_json::to_vec(&more).unwrap(),
                "does not lead to its root",
            ),
            (serde_json::to_vec(&old).unwrap(), "unknown"),
            (b"{}".to_vec(), "missing field"),
            (b"nonsense".to_vec(), "expected"),
        ] {
            let refused = parse_proof(&bytes, "p").expect_err(why);
            assert_eq!(refused.exit, Exit::Data);
            assert!(refused.text.contains(why), "{}", refused.text);
        }
    }
}
