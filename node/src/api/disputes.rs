//! Anchored epochs that this node cannot derive, and proofs of what is wrong with one.

use assay_protocol::settlement::fault::{Audit, Payout, Place};
use axum::{Json, extract::State};

use super::{
    error::{ApiError, ErrorKind},
    model::{DisputeView, LeafRow, ProofDone, ProofOrder},
    server::Shared,
};
use crate::runtime::{Laid, ProveError};

/// `GET /v1/disputes`.
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<Vec<DisputeView>>, ApiError> {
    let found = shared.node.with_core(|core| {
        let time = |lane| core.live(lane).map_or(0, |l| l.block.time);
        let disputes = core.disputes().into_iter();
        disputes
            .map(|d| DisputeView {
                lane: d.lane,
                epoch: d.epoch,
                header: d.header,
                posted_at: d.posted_at,
                chain_time: time(d.lane),
                wrong: d.wrong,
                votes: d.votes,
                validators: d.validators,
            })
            .collect()
    });
    Ok(Json(found.await?))
}

/// A place, with the sum before it if that is given.
type Line = (Place<Payout>, Option<Audit>);

fn line(index: usize, row: &Option<LeafRow>) -> Result<Line, ApiError> {
    let Some(row) = row else {
        return Ok((Place::Empty, None));
    };
    match (row.payee, row.total, row.before, row.node) {
        (Some(payee), Some(total), before, None) => {
            let payout = Payout { payee, total };
            let audit = before.map(|before| Audit { payout, before });
            Ok((Place::Leaf(payout), audit))
        }
        (None, None, None, Some(node)) => Ok((Place::Other(node), None)),
        _ => Err(ApiError::invalid(
            format!("row {} is no leaf", index + 1),
            "give payee and total (and before), or node alone, or null for an empty place",
        )),
    }
}

fn lines(rows: &[Option<LeafRow>]) -> Result<Vec<Line>, ApiError> {
    let rows = rows.iter().enumerate();
    rows.map(|(index, row)| line(index, row)).collect()
}

/// The audit leaves in `lines`.
fn audits(lines: &[Line]) -> Result<Vec<Place<Audit>>, ApiError> {
    let place = |(index, line): (usize, &Line)| match line {
        (_, Some(audit)) => Ok(Place::Leaf(*audit)),
        (Place::Empty, None) => Ok(Place::Empty),
        (Place::Other(node), None) => Ok(Place::Other(*node)),
        (Place::Leaf(_), None) => Err(ApiError::invalid(
            format!("row {} does not say what stands before it", index + 1),
            "every leaf of an audit tree has `before`; payout leaves have it all, or none has",
        )),
    };
    let rows = lines.iter().enumerate();
    rows.map(place).collect()
}

/// The trees as they were handed in.
fn laid(order: &ProofOrder) -> Result<Option<Laid>, ApiError> {
    let Some(rows) = &order.payouts else {
        return match order.audits {
            Some(_) => Err(ApiError::invalid(
                "audit leaves without payout leaves show nothing",
                "hand in both",
            )),
            None => Ok(None),
        };
    };
    let payouts = lines(rows)?;
    let audits = match &order.audits {
        Some(rows) => Some(audits(&lines(rows)?)?),
        None if payouts.iter().any(|(_, audit)| audit.is_some()) => Some(audits(&payouts)?),
        None => None,
    };
    Ok(Some(Laid {
        payouts: payouts.into_iter().map(|(place, _)| place).collect(),
        audits,
    }))
}

/// `POST /v1/disputes/proofs`.
pub(super) async fn prove(
    State(shared): State<Shared>,
    Json(order): Json<ProofOrder>,
) -> Result<Json<ProofDone>, ApiError> {
    let laid = laid(&order)?;
    let (lane, epoch) = (order.lane, order.epoch);
    let decimals = shared.node.config().profile.params.token_decimals;
    let proven = shared.node.prove_fault(lane, epoch, laid).await?;
    Ok(Json(ProofDone {
        lane,
        epoch,
        header: proven.accused.header.hash(),
        fault: proven
            .fault
            .describe(|amount| format!("{} tokens", amount.to_decimal(decimals))),
        signers: proven.accused.signers,
        reward: proven.sent.map_or_else(Default::default, |s| s.amount),
        taken_back: proven.taken_back,
        tx: proven.sent.map(|s| s.tx),
        gas_used: proven.sent.map_or(0, |s| s.gas_used),
    }))
}

impl From<ProveError> for ApiError {
    fn from(error: ProveError) -> Self {
        let (kind, next) = match &error {
            ProveError::NotAnchored { .. } => (
                ErrorKind::NotFound,
                "`assay status` shows how far the lanes are",
            ),
            ProveError::Before { .. } => (ErrorKind::Refused, "nothing is left to prove"),
            ProveError::Leaves(_) => (
                ErrorKind::Invalid,
                "the rows stand as the signers laid them out, empty places included; is it the file of another epoch?",
            ),
            ProveError::HeaderAlone { .. } => (
                ErrorKind::Refused,
                "hand in the leaves of its payout tree with --payouts FILE",
            ),
            ProveError::NoFault { .. } => (
                ErrorKind::Refused,
                "what no leaf shows is for the validators: `assay dispute` lists what they are against",
            ),
            ProveError::Node(_) => (ErrorKind::Data, ""),
        };
        match error {
            ProveError::Node(error) => error.into(),
            error => Self::new(kind, error, next),
        }
    }
}

#[cfg(test)]
mod tests {
    use assay_protocol::{
        amount::Amount,
        id::{Account, Hash},
    };

    use super::*;

    fn leaf(payee: u8, before: Option<u128>) -> Option<LeafRow> {
        Some(LeafRow {
            payee: Some(Account([payee; 20])),
            total: Some(Amount(u128::from(payee))),
            before: before.map(Amount),
            node: None,
        })
    }

    fn order(payouts: Option<Vec<Option<LeafRow>>>) -> ProofOrder {
        ProofOrder {
            lane: 0,
            epoch: 2,
            payouts,
            audits: None,
        }
    }

    #[test]
    fn rows_with_sums_are_both_trees_and_rows_without_are_one() {
        let node = Hash([7; 32]);
        let foreign = Some(LeafRow {
            node: Some(node),
            ..LeafRow::default()
        });
        let both = vec![leaf(1, Some(0)), None, foreign.clone(), leaf(2, Some(1))];
        let found = laid(&order(Some(both))).expect("rows").expect("trees");
        let audits = found.audits.expect("sums");
        assert_eq!(audits[1..3], [Place::Empty, Place::Other(node)]);
        assert!(matches!(audits[3], Place::Leaf(a) if a.before == Amount(1)));
        assert_eq!(found.payouts[1..3], [Place::Empty, Place::Other(node)]);

        let one = vec![leaf(1, None), None, foreign];
        let found = laid(&order(Some(one))).expect("rows").expect("trees");
        assert_eq!((found.payouts.len(), found.audits), (3, None));
        assert_eq!(laid(&order(None)).expect("nothing"), None);
    }

    #[test]
    fn rows_that_are_no_leaves_are_refused_by_their_number() {
        let half = Some(LeafRow {
            payee: Some(Account([1; 20])),
            ..LeafRow::default()
        });
        for (rows, number) in [
            (vec![leaf(1, None), half], "row 2"),
            (vec![leaf(1, None), leaf(2, Some(1))], "row 1"),
            (vec![Some(LeafRow::default())], "row 1"),
        ] {
            let error = laid(&order(Some(rows))).expect_err("refused").into_body();
            assert!(error.error.contains(number), "{}", error.error);
            assert!(!error.what_next.is_empty());
        }
        let sumless = ProofOrder {
            audits: Some(vec![leaf(1, None)]),
            ..order(Some(vec![leaf(1, None)]))
        };
        assert!(laid(&sumless).is_err());
        let lonely = ProofOrder {
            audits: Some(Vec::new()),
            ..order(None)
        };
        assert!(laid(&lonely).is_err());
    }
}
