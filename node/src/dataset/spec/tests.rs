use super::*;

const LEAST: &str =
    "title = \"t\"\nlabels = [\"a\", \"b\"]\nprice = \"0.05\"\nlicence = \"CC0-1.0\"\n";

fn spec(more: &str) -> TaskSpec {
    TaskSpec::from_toml(&format!("{LEAST}{more}")).unwrap()
}

fn why<T: fmt::Debug>(result: Result<T, SpecError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn a_short_file_and_the_constructor_mean_the_same() {
    let labels = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(
        spec(""),
        TaskSpec::new("t", labels, "0.05".into(), "CC0-1.0")
    );
}

#[test]
fn defaults_become_protocol_terms() {
    let params = Params::dev();
    let spec = spec("");
    assert_eq!(
        spec.assignment(),
        Ok(AssignmentRule::Drawn { k: 3, k_max: 5 })
    );
    assert_eq!(spec.fresh(), Ok(vec![3, 1]));
    assert_eq!(spec.target_posterior_ppm(), Ok(950_000));
    assert_eq!(spec.full_skill_ppm(), Ok(600_000));
    assert_eq!(spec.loss_cap_ppm(), Ok(1_000_000));
    assert_eq!(spec.price(&params), Ok(Amount(50_000)));
    assert_eq!(spec.gold_bond(&params), Ok(None));
    assert_eq!(spec.labelers_min(), 3);
}

#[test]
fn every_field_can_be_set() {
    let more = r#"
        kind = "class"
        k = 5
        k_max = 9
        waves = 3
        fresh = [70, 30, 0]
        target_posterior = "0.999999"
        gold_bond = "12.5"
        full_skill = "0.5"
        loss_cap = "0.25"
        labelers_min = 6
        labelers_max = 60
        [guideline]
        de = "Schau hin."
        en = "Look."
        [durations]
        enrol_secs = 1
        commit_secs = 2
        reveal_secs = 3
        gold_secs = 4
    "#;
    let params = Params::dev();
    let spec = spec(more);
    assert_eq!(
        spec.assignment(),
        Ok(AssignmentRule::Drawn { k: 5, k_max: 9 })
    );
    assert_eq!(spec.fresh(), Ok(vec![70, 30, 0]));
    assert_eq!(spec.target_posterior_ppm(), Ok(999_999));
    assert_eq!(spec.gold_bond(&params), Ok(Some(Amount(12_500_000))));
    assert_eq!(
        (spec.full_skill_ppm(), spec.loss_cap_ppm()),
        (Ok(500_000), Ok(250_000))
    );
    assert_eq!(
        spec.durations,
        Durations {
            enrol_secs: 1,
            commit_secs: 2,
            reveal_secs: 3,
            gold_secs: 4
        }
    );
    let again = toml::to_string(&spec).unwrap();
    assert_eq!(TaskSpec::from_toml(&again), Ok(spec));
}

#[test]
fn an_unknown_kind_names_the_known_ones() {
    let error = why(spec("kind = \"boxes\"").task_kind());
    assert_eq!(
        error,
        "task, field `kind`: unknown task kind \"boxes\"; this version knows: class"
    );
}

#[test]
fn an_open_task_has_one_wave() {
    let open = spec("open = true\nk_max = 7");
    assert_eq!(
        (open.assignment(), open.waves()),
        (Ok(AssignmentRule::Open { k_max: 7 }), 1)
    );
    assert!(why(spec("open = true\nwaves = 2").assignment()).contains("one wave"));
}

#[test]
fn floats_typos_and_missing_fields_are_refused_with_their_line() {
    for (file, parts) in [
        (LEAST.replace("\"0.05\"", "0.05"), ["line 3", "in quotes"]),
        (
            format!("{LEAST}redundancy = 3"),
            ["line 5", "unknown field `redundancy`"],
        ),
        (LEAST.replace("licence", "license"), ["line 4", "license"]),
        ("title = \"t\"".to_owned(), ["task file", "missing field"]),
    ] {
        let error = why(TaskSpec::from_toml(&file));
        for part in parts {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
    assert_eq!(spec("").price, "0.05".into());
    assert_eq!(
        TaskSpec::from_toml(&LEAST.replace("\"0.05\"", "2"))
            .unwrap()
            .price,
        "2".into()
    );
}

#[test]
fn impossible_terms_name_their_field() {
    let params = Params::dev();
    let check = |error: String, field: &str| {
        assert!(error.contains(&format!("field `{field}`")), "{error}")
    };
    for text in ["1.1", "-0.5", "0.1234567", "x", "99999999999999"] {
        check(
            why(spec(&format!("target_posterior = {text:?}")).target_posterior_ppm()),
            "target_posterior",
        );
    }
    check(
        why(spec("full_skill = \"2\"").full_skill_ppm()),
        "full_skill",
    );
    check(
        why(spec("gold_bond = \"1.0000001\"").gold_bond(&params)),
        "gold_bond",
    );
    check(why(spec("labelers_min = 2").assignment()), "labelers_min");
    check(why(spec("waves = 0").fresh()), "waves");
    check(why(spec("waves = 9").fresh()), "waves");
    check(why(spec("fresh = [1]").fresh()), "fresh");
    check(why(spec("fresh = [0, 1]").fresh()), "fresh");
    check(why(spec("fresh = [1, 1000001]").fresh()), "fresh");
}
