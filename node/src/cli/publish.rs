//! `assay publish`: builds the task here, shows what it costs, hands it to the running node.

use std::{fs, io::Read as _, path::Path};

use assay_protocol::{
    amount::Amount,
    id::TaskId,
    limit,
    network::{NetworkProfile, Params},
};

use super::{
    args::PublishArgs,
    client::Api,
    failure::{Exit, Failure},
    folder::{self, Folder},
    text::{self, Printer},
};
use crate::{
    api::model::{Event, PublishCheck, PublishOrder, ShardKept, StatusView, TaskDone, TaskView},
    dataset::{self, Built, Decimal, TaskSpec, items},
};

/// Largest task file in bytes: the guidelines in every language, and some room.
const SPEC_BYTES_MAX: u64 = (limit::GUIDELINES_MAX * limit::GUIDELINE_BYTES_MAX * 2) as u64;
/// Seconds that one look for news may wait.
const LOOK_SECS: u64 = 2;

/// What a task costs at most, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Quote {
    labels_most: u128,
    budget: Amount,
    fee: Amount,
    gold_bond: Amount,
    total: Amount,
}

/// Publishes.
///
/// # Errors
/// Wrong items or terms, no running node, too little money, a refusal.
pub async fn run(folder: &Folder, args: &PublishArgs, printer: Printer) -> Result<(), Failure> {
    let config = folder.config()?;
    let profile = folder.profile(&config)?;
    let client = folder.account()?;
    let spec = spec(args)?;
    let source =
        items::read(&args.items, &spec.labels).map_err(|e| Failure::new(Exit::Failure, e))?;
    let seed = folder::random()?;
    let built = dataset::build(&spec, source, &seed, client, &profile.id(), &profile.params)
        .map_err(|e| Failure::new(Exit::Failure, e))?;
    let quote = quote(&built, &profile.params)?;
    show_quote(&built, &quote, &profile, printer);
    if args.dry_run {
        return dry(&built, &quote, printer);
    }

    let api = Api::open(folder)?;
    let status: StatusView = api.get("/v1/status").await?;
    check_account(&status, client, &quote, &profile)?;
    let from = api.events(None, 0).await?.next;
    let task = built.manifest.id();
    let check = PublishCheck {
        manifest: built.manifest.clone(),
    };
    let _: TaskDone = api.post("/v1/publish/check", &check).await?;
    let total: u64 = built.shards.iter().map(|(shard, _)| shard.bytes).sum();
    printer.say(&format!(
        "handing {} shards ({total} bytes) to the node",
        built.shards.len()
    ));
    for (shard, bytes) in built.shards {
        let kept: ShardKept = api
            .post_bytes(&format!("/v1/shards?task={task}"), bytes)
            .await?;
        if kept != shard {
            return Err(Failure::new(
                Exit::Data,
                format!("the node kept shard {} as {}", shard.hash, kept.hash),
            )
            .next("publish again; check the memory and disk of this machine if it happens again"));
        }
    }
    let done: TaskDone = api
        .post(
            "/v1/publish",
            &PublishOrder {
                manifest: built.manifest,
                gold: built.gold,
            },
        )
        .await?;
    printer.say("announced");
    if args.wait {
        follow(&api, task, from, printer).await?;
    } else {
        printer.say(&format!(
            "The node goes on by itself. Next: assay task watch {}",
            task.short()
        ));
    }
    if printer.json {
        printer.data(&done)
    } else {
        printer.line(&task.to_string())
    }
}

fn dry(built: &Built, quote: &Quote, printer: Printer) -> Result<(), Failure> {
    if printer.json {
        return printer.data(&serde_json::json!({
            "items": built.manifest.items.count, "labels_most": quote.labels_most.to_string(), "label_budget": quote.budget,
            "fee": quote.fee, "gold_bond": quote.gold_bond, "total": quote.total,
        }));
    }
    printer.say("Nothing was sent (--dry-run).");
    Ok(())
}

fn spec(args: &PublishArgs) -> Result<TaskSpec, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::new(Exit::Failure, e);
    if let Some(path) = &args.spec {
        return TaskSpec::from_toml(&read_text(path)?).map_err(|e| wrong(&e));
    }
    let missing = |flag: &str| {
        Failure::new(Exit::Usage, format!("--{flag} is missing")).next("or name a file with --spec")
    };
    let title = args.title.as_deref().ok_or_else(|| missing("title"))?;
    let price = args.price.as_deref().ok_or_else(|| missing("price"))?;
    let licence = args.licence.as_deref().ok_or_else(|| missing("licence"))?;
    let labels = args.labels.iter().map(|l| l.trim().to_owned()).collect();
    let mut spec = TaskSpec::new(title, labels, Decimal(price.to_owned()), licence);
    if let Some(path) = &args.guideline {
        spec.guideline
            .insert(args.language.clone(), read_text(path)?);
    }
    spec.k = args.k.unwrap_or(spec.k);
    spec.k_max = args.k_max;
    spec.open = args.open;
    spec.waves = args.waves;
    if let Some(target) = &args.target {
        spec.target_posterior = Decimal(target.clone());
    }
    spec.gold_bond = args.gold_bond.clone().map(Decimal);
    spec.labelers_min = args.labelers_min;
    spec.labelers_max = args.labelers_max.unwrap_or(spec.labelers_max);
    let d = &mut spec.durations;
    d.enrol_secs = args.enrol.unwrap_or(d.enrol_secs);
    d.commit_secs = args.commit.unwrap_or(d.commit_secs);
    d.reveal_secs = args.reveal.unwrap_or(d.reveal_secs);
    d.gold_secs = args.gold_time.unwrap_or(d.gold_secs);
    Ok(spec)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let failed = |e: &std::io::Error| Failure::file(Exit::Failure, "read", path, e);
    let mut text = String::new();
    let read = fs::File::open(path)
        .map_err(|e| failed(&e))?
        .take(SPEC_BYTES_MAX + 1)
        .read_to_string(&mut text);
    if read.map_err(|e| failed(&e))? as u64 > SPEC_BYTES_MAX {
        return Err(Failure::new(
            Exit::Failure,
            format!("{} is larger than {SPEC_BYTES_MAX} bytes", path.display()),
        ));
    }
    Ok(text)
}

fn quote(built: &Built, params: &Params) -> Result<Quote, Failure> {
    let m = &built.manifest;
    let all = || {
        let budget = m.label_budget()?;
        let (deposit, gold_bond) = m.required(params)?;
        Some(Quote {
            labels_most: u128::from(m.items.count) * u128::from(m.assignment.k_max()),
            budget,
            fee: m.fee(params)?,
            gold_bond,
            total: deposit.checked_add(gold_bond)?,
        })
    };
    all().ok_or_else(|| {
        Failure::new(Exit::Failure, "items x k-max x price is too large").next("lower one of them")
    })
}

fn show_quote(built: &Built, quote: &Quote, profile: &NetworkProfile, printer: Printer) {
    let tokens = |amount: Amount| amount.to_decimal(profile.params.token_decimals);
    let gold: u32 = built.manifest.waves.iter().map(|w| w.gold_count).sum();
    printer.say(&format!(
        "items           {} ({gold} of them gold)",
        built.manifest.items.count
    ));
    printer.say(&format!(
        "labels at most  {} at {} tokens",
        quote.labels_most,
        tokens(built.manifest.price)
    ));
    printer.say(&format!("label budget    {} tokens", tokens(quote.budget)));
    printer.say(&format!("committee fee   {} tokens", tokens(quote.fee)));
    printer.say(&format!(
        "gold bond       {} tokens, back when the gold is opened in time and good",
        tokens(quote.gold_bond)
    ));
    printer.say(&format!(
        "to be locked    {} tokens; what is not earned comes back",
        tokens(quote.total)
    ));
}

fn check_account(
    status: &StatusView,
    client: assay_protocol::id::Account,
    quote: &Quote,
    profile: &NetworkProfile,
) -> Result<(), Failure> {
    let tokens = |amount: Amount| amount.to_decimal(profile.params.token_decimals);
    let Some(account) = status.account.as_ref().filter(|a| a.account == client) else {
        return Err(Failure::new(
            Exit::Config,
            "the running node has another account than the one in this folder",
        )
        .next("stop it and start it again with `assay run`"));
    };
    if !account.roles.iter().any(|r| r == "client") {
        let text = format!(
            "account 0x{client} is not registered as a client; registration: {}",
            account.registration
        );
        return Err(Failure::new(Exit::Failure, text)
            .next("wait until it is registered (`assay status`); the role must stand in the settings (`assay config get roles`)"));
    }
    if let Some(held) = account.tokens.filter(|held| *held < quote.total) {
        let text = format!(
            "account 0x{client} holds {} tokens, the task needs {}",
            tokens(held),
            tokens(quote.total)
        );
        return Err(Failure::new(Exit::Failure, text)
            .next("send it tokens, or lower the price, k-max or the number of items"));
    }
    if account.tokens.is_none() {
        let why = status
            .chain
            .error
            .clone()
            .unwrap_or_else(|| "no answer".to_owned());
        return Err(Failure::new(
            Exit::Chain,
            format!("the chain cannot be asked for the balance: {why}"),
        )
        .next("a task is funded on chain; try again when the endpoint answers"));
    }
    Ok(())
}

/// Says each step until the task is offered to labelers.
async fn follow(api: &Api, task: TaskId, from: u64, printer: Printer) -> Result<(), Failure> {
    let mut after = from;
    let mut said = String::new();
    loop {
        let view: TaskView = api.get(&format!("/v1/tasks/{task}")).await?;
        let step = match view.state.as_str() {
            "announced" => match (view.custody, view.custody_needed) {
                (Some(held), Some(needed)) => {
                    format!("announced: {held} of {needed} members hold the data")
                }
                _ => "announced: waiting for the first committee".to_owned(),
            },
            "funding" => "in custody: the escrow is being funded".to_owned(),
            "funded" => "funded: waiting for the epoch that opens it".to_owned(),
            "enrolling" => {
                format!(
                    "enrolling: labelers can sign up for {}",
                    text::left(view.deadline, view.chain_time)
                )
            }
            other => other.to_owned(),
        };
        if step != said {
            printer.say(&step);
            said = step;
        }
        if !matches!(view.state.as_str(), "announced" | "funding" | "funded") {
            return Ok(());
        }
        let news = api.events(Some(after), LOOK_SECS).await?;
        after = news.next;
        for line in news.events {
            let Event::Alarm { text } = line.event else {
                continue;
            };
            if text.contains(&task.to_string()) {
                return Err(Failure::new(Exit::Chain, text)
                    .next(format!("see `assay task show {}`", task.short())));
            }
            printer.warn(&text);
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::id::{Account, NetworkId};

    use super::*;
    use crate::dataset::SourceItem;

    fn item(n: usize) -> SourceItem {
        SourceItem {
            name: format!("i{n}"),
            media: "text/plain".into(),
            bytes: vec![b'x'; n + 1],
            gold: (n == 0).then_some(1),
        }
    }

    #[test]
    fn a_quote_adds_up_to_what_the_escrow_must_hold() {
        let spec = TaskSpec::new(
            "t",
            vec!["a".into(), "b".into()],
            Decimal("0.01".into()),
            "CC0-1.0",
        );
        let params = Params::dev();
        let network = NetworkId([1; 32]);
        let built = dataset::build(
            &spec,
            (0..10).map(item).collect(),
            &[7; 32],
            Account([2; 20]),
            &network,
            &params,
        )
        .unwrap();
        let quote = quote(&built, &params).unwrap();
        // 10 items, k_max 5, 0.01 tokens of 6 decimals; fee and bond 5 % each.
        assert_eq!((quote.labels_most, quote.budget), (50, Amount(500_000)));
        assert_eq!(
            (quote.fee, quote.gold_bond, quote.total),
            (Amount(25_000), Amount(25_000), Amount(550_000))
        );
    }
}
