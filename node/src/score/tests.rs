//! Whole files through [`run`](super::run), and hostile bytes through the reader.

use std::fs;

use assay_protocol::{
    consensus::{InputHead, ScoreHead},
    id::Hash,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{
    names::{Collector, Names, ShortName},
    read::Rows,
    *,
};

fn options(kind: Kind, labels: &Path) -> Options {
    Options {
        kind,
        labels: labels.to_owned(),
        truth: Vec::new(),
        gold: None,
        explain: None,
        explain_worker: None,
        out: None,
        scale: None,
        frame: None,
    }
}

/// A folder with one file; the path of the file.
fn file(bytes: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn score(kind: Kind, bytes: impl AsRef<[u8]>) -> Result<(String, Summary), ScoreError> {
    let (_folder, path) = file(bytes);
    let mut out = Vec::new();
    let summary = run(&options(kind, &path), Some(&mut out), &|_| ())?;
    Ok((String::from_utf8(out).unwrap(), summary))
}

#[track_caller]
fn refused(kind: Kind, bytes: impl AsRef<[u8]>, line: &str, why: &str) {
    let error = score(kind, bytes).unwrap_err().to_string();
    assert!(error.contains(line) && error.contains(why), "{error}");
}

/// SplitMix64.
fn draw(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % bound
}

/// Rows of a crowd of 12 who answer 60 tasks, four of five answers right.
fn crowd(state: &mut u64, label: impl Fn(u64, bool, u64) -> String) -> Vec<String> {
    let mut rows = Vec::new();
    for task in 0..60 {
        for worker in 0..12 {
            if draw(state, 2) == 0 {
                let right = draw(state, 5) > 0;
                let other = draw(state, 1_000);
                rows.push(format!("t{task},w{worker},{}", label(task, right, other)));
            }
        }
    }
    rows
}

fn shuffle(rows: &mut [String], state: &mut u64) {
    for last in (1..rows.len()).rev() {
        rows.swap(last, draw(state, last as u64 + 1) as usize);
    }
}

fn text(header: &str, rows: &[String]) -> String {
    format!("{header}\n{}\n", rows.join("\n"))
}

#[test]
fn the_order_of_the_rows_changes_no_byte_of_any_kind() {
    type Label = fn(u64, bool, u64) -> String;
    let kinds: [(Kind, Label); 7] = [
        (Kind::Class, |task, right, other| {
            format!("c{}", if right { task % 3 } else { other % 3 })
        }),
        (Kind::Text, |task, right, other| {
            format!("the {} cat {}", if right { task } else { other }, task % 7)
        }),
        (Kind::Multi, |task, right, other| {
            ["a", "a|b", "", "b|c"][(if right { task } else { other } % 4) as usize].to_owned()
        }),
        (Kind::Rating, |task, right, other| {
            (1 + if right { task } else { other } % 5).to_string()
        }),
        (Kind::Numeric, |task, right, other| {
            format!("{}.{}", if right { task } else { other }, other % 10)
        }),
        (Kind::Box, |task, right, other| {
            let x = if right { task } else { other };
            format!("\"[[{x},{},40,50,\"\"cat\"\"]]\"", other % 3)
        }),
        (Kind::Ranking, |task, right, _| {
            if right || task % 2 == 0 {
                "a>b>c"
            } else {
                "b>c>a"
            }
            .to_owned()
        }),
    ];
    for (kind, label) in kinds {
        let mut state = 5;
        let mut rows = crowd(&mut state, label);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.csv");
        let mut seen: Option<Vec<(String, Vec<u8>)>> = None;
        for _ in 0..4 {
            fs::write(&path, text("task,worker,label", &rows)).unwrap();
            let mut wanted = options(kind, &path);
            let out = folder.path().join("out");
            wanted.out = Some(out.clone());
            let mut stdout = Vec::new();
            run(&wanted, Some(&mut stdout), &|_| ()).unwrap();
            let mut files = vec![("standard output".to_owned(), stdout)];
            for entry in fs::read_dir(&out).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                files.push((name, fs::read(entry.path()).unwrap()));
            }
            files.sort();
            assert!(files.len() >= 8, "{kind:?}: {}", files.len());
            match &seen {
                None => seen = Some(files),
                Some(first) => assert!(first == &files, "{kind:?}"),
            }
            shuffle(&mut rows, &mut state);
        }
    }
}

#[test]
fn columns_are_found_by_name_in_any_order_in_commas_or_tabs() {
    let plain = "task,worker,label\nt1,a,x\nt1,b,x\nt2,a,y\nt2,b,y\n";
    let (want, summary) = score(Kind::Class, plain).unwrap();
    assert_eq!(want, "task,label\nt1,x\nt2,y\n");
    assert_eq!((summary.answers, summary.tasks, summary.workers), (4, 2, 2));
    for other in [
        "\u{feff}Label,extra,Performer,ITEM\r\nx,1,a,t1\r\nx,,b,t1\r\n\r\ny,3,a,t2\r\ny,4,b,t2",
        "annotator\ttask\tlabel\na\tt1\tx\nb\tt1\tx\na\tt2\ty\nb\tt2\t\"y\"\n",
    ] {
        assert_eq!(score(Kind::Class, other).unwrap().0, want, "{other:?}");
    }
}

#[test]
fn quoted_fields_keep_commas_quotes_and_line_breaks() {
    let rows = "task,worker,label\n\"a,\"\"1\"\"\nb\",w,\"say \"\"hi\"\", you\"\n";
    let (out, _) = score(Kind::Text, rows).unwrap();
    assert_eq!(
        out,
        "task,label\n\"a,\"\"1\"\"\nb\",\"say \"\"hi\"\", you\"\n"
    );
    refused(
        Kind::Class,
        "task,worker,label\n\"a\nb\",w,x\n,w,x\n",
        "line 4",
        "task is empty",
    );
}

#[test]
fn the_first_of_several_answers_counts_and_the_rest_are_reported() {
    let rows = "task,worker,label\nt,a,x\nt,b,x\nt,a,y\nt,a,y\nt,c,x\nu,a,y\n";
    for kind in [Kind::Class, Kind::Text] {
        let (out, summary) = score(kind, rows).unwrap();
        assert!(out.contains("t,x\n"), "{out}");
        assert_eq!((summary.answers, summary.repeated), (4, 2));
        assert!(summary.notes[0].contains("2 further answers"));
    }
}

#[test]
fn small_and_odd_files_have_a_result_or_a_reason() {
    let head = "task,worker,label\n";
    assert_eq!(score(Kind::Class, head).unwrap().0, "task,label\n");
    assert_eq!(score(Kind::Text, head).unwrap().0, "task,label\n");
    assert_eq!(score(Kind::Pair, head).unwrap().0, "item,score\n");
    for kind in [
        Kind::Multi,
        Kind::Rating,
        Kind::Numeric,
        Kind::Box,
        Kind::Span,
        Kind::Polygon,
    ] {
        assert_eq!(score(kind, head).unwrap().0, "task,label\n", "{kind:?}");
    }
    let one = format!("{head}t,w,x\n");
    assert_eq!(score(Kind::Class, &one).unwrap().0, "task,label\nt,x\n");
    let blank = score(Kind::Class, format!("{head}t,w,x\nu,w,\n")).unwrap();
    assert_eq!((blank.0.as_str(), blank.1.blank), ("task,label\nt,x\n", 1));
    refused(Kind::Class, "", "labels.csv", "the file is empty");
    refused(
        Kind::Class,
        "a,b\n1,2\n",
        "line 1",
        "no column worker or performer",
    );
    refused(Kind::Class, format!("{head}t,w\n"), "line 2", "2 fields");
    refused(
        Kind::Class,
        format!("{head}t,,x\n"),
        "line 2",
        "worker is empty",
    );
    refused(
        Kind::Class,
        b"task,worker,label\nt,w,\xff\n",
        "line 2",
        "not UTF-8",
    );
    refused(
        Kind::Pair,
        format!("{head}a|b,w,c\n"),
        "line 2",
        "none of the two",
    );
    refused(
        Kind::Pair,
        format!("{head}ab,w,a\n"),
        "line 2",
        "not a pair",
    );
    refused(
        Kind::Rating,
        format!("{head}t,w,3\nt,v,good\n"),
        "line 3",
        "not a number",
    );
    refused(Kind::Multi, format!("{head}t,w,a|a\n"), "line 2", "twice");
    refused(
        Kind::Ranking,
        "worker,label\nw,a\n",
        "line 2",
        "not an order",
    );
    refused(
        Kind::Box,
        format!("{head}t,w,[3]\n"),
        "line 2",
        "not an object",
    );
    let review = "task,worker,proposed,label\nt,w,cat,maybe\n";
    refused(Kind::Review, review, "line 2", "not a verdict");
    let many: Vec<String> = (0..300).map(|i| format!("t{i},w,l{i}")).collect();
    refused(
        Kind::Class,
        text("task,worker,label", &many),
        "labels.csv",
        "300 different labels",
    );
}

#[test]
fn every_kind_finds_what_most_workers_say() {
    let rows = |labels: [&str; 3]| -> String {
        let rows: Vec<String> = (0..30)
            .flat_map(|task| {
                let list = labels.map(str::to_owned);
                (0..3).map(move |w| {
                    format!(
                        "t{task:02},w{w},{}",
                        list[(w + usize::from(w == 2 && task % 2 == 0)) % 3]
                    )
                })
            })
            .collect();
        text("task,worker,label", &rows)
    };
    let first = |kind, labels| {
        let (out, _) = score(kind, rows(labels)).unwrap();
        out.lines().nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(first(Kind::Multi, ["a|b", "a|b", "c"]), "t00,a|b");
    assert_eq!(first(Kind::Rating, ["4", "4", "1"]), "t00,4");
    assert_eq!(first(Kind::Numeric, ["2.5", "2.5", "2.5"]), "t00,2.5");
    let span = "\"[[3,9,\"\"n\"\"]]\"";
    assert_eq!(
        first(Kind::Span, [span, span, "[]"]),
        "t00,\"[[3,9,\"\"n\"\"]]\""
    );
    let review = "task,worker,proposed,label\nt,a,cat,fix:dog\nt,b,cat,fix:dog\nt,c,cat,accept\nu,a,cat,accept\nu,b,cat,accept\nu,c,cat,accept\n";
    let (out, _) = score(Kind::Review, review).unwrap();
    assert!(out.ends_with("u,cat\n"), "{out}");
    let pairs = "worker,left,right,label\na,x,y,x\nb,y,x,x\nc,x,z,x\na,y,z,y\nb,z,y,tie\n";
    let (out, _) = score(Kind::Pair, pairs).unwrap();
    assert!(
        out.starts_with("item,score\nx,") && out.lines().count() == 4,
        "{out}"
    );
}

#[test]
fn truth_is_measured_and_gold_is_certain_and_left_out_of_it() {
    let rows = "task,worker,label\nt,a,x\nt,b,x\nu,a,y\nu,b,y\nv,a,x\nv,b,x\n";
    let (folder, path) = file(rows);
    let truth = folder.path().join("truth.csv");
    fs::write(&truth, "task,label\nt,x\nu,never seen\nv,y\nnobody,x\n").unwrap();
    let mut wanted = options(Kind::Class, &path);
    wanted.truth = vec![truth];
    let summary = run(&wanted, None, &|_| ()).unwrap();
    assert_eq!(summary.measured, Some(3));
    assert!((summary.measures["accuracy"] - 1.0 / 3.0).abs() < 1e-12);
    let gold = folder.path().join("gold.csv");
    fs::write(&gold, "task,label\nv,new label\nw,x\n").unwrap();
    wanted.gold = Some(gold);
    let mut out = Vec::new();
    let summary = run(&wanted, Some(&mut out), &|_| ()).unwrap();
    assert_eq!((summary.measured, summary.gold), (Some(2), 1));
    assert!(String::from_utf8(out).unwrap().contains("v,new label\n"));
}

#[test]
fn an_explanation_names_votes_skills_and_what_would_change() {
    let mut state = 9;
    let rows = crowd(&mut state, |task, right, other| {
        format!("c{}", if right { task % 3 } else { other % 3 })
    });
    let (_folder, path) = file(text("task,worker,label", &rows));
    let mut wanted = options(Kind::Class, &path);
    wanted.explain = Some("t7".to_owned());
    let mut out = Vec::new();
    let summary = run(&wanted, Some(&mut out), &|_| ()).unwrap();
    let Some(Why::Answers(explanation)) = &summary.explanation else {
        panic!("{:?}", summary.explanation);
    };
    let given = rows.iter().filter(|row| row.starts_with("t7,")).count();
    assert_eq!(explanation.votes.len(), given);
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("task t7\n  label: c1\n"), "{out}");
    assert_eq!(out.matches("; without this answer: ").count(), given);
    let root = explanation.votes[0].explanation.case.score.root();
    assert!(out.ends_with(&format!("score root {root}\n")), "{out}");

    wanted.explain_worker = Some(explanation.votes[1].worker.clone());
    let one = run(&wanted, None, &|_| ()).unwrap().explanation;
    let Some(Why::Answers(one)) = one else {
        panic!("{one:?}");
    };
    assert_eq!(one.votes, explanation.votes[1..2]);
    assert_eq!(one.answers, given as u64);
    wanted.explain_worker = Some("nobody".to_owned());
    let error = run(&wanted, None, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("\"nobody\" gave no answer"), "{error}");
    wanted.explain_worker = None;
    wanted.explain = Some("nowhere".to_owned());
    let error = run(&wanted, None, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("nobody answered the task \"nowhere\""));
}

#[test]
fn an_explanation_of_a_file_is_checked_from_itself_and_every_changed_field_is_named() {
    let mut state = 10;
    let rows = crowd(&mut state, |task, right, other| {
        format!("c{}", if right { task % 3 } else { other % 3 })
    });
    let (folder, path) = file(text("task,worker,label", &rows));
    let mut wanted = options(Kind::Class, &path);
    wanted.explain = Some("t7".to_owned());
    let summary = serde_json::to_value(run(&wanted, None, &|_| ()).unwrap()).unwrap();
    let why = folder.path().join("why.json");
    let check = |value: &serde_json::Value, root: Option<Hash>| {
        fs::write(&why, value.to_string()).unwrap();
        check_explanations(&why, root)
    };
    let whole = check(&summary, None).unwrap();
    let count = summary["explanation"]["votes"].as_array().unwrap().len();
    assert!(count > 3);
    assert_eq!((whole.checked, whole.right), (count as u64, count as u64));
    let workers = summary["explanation"]["votes"].as_array().unwrap();
    for (checked, written) in whole.explanations.iter().zip(workers) {
        assert_eq!(checked.worker.as_deref(), written["worker"].as_str());
        assert_eq!((checked.label, checked.wrong), (Some(1), None));
    }
    let alone = &summary["explanation"]["votes"][0]["explanation"];
    let same = check(alone, whole.explanations[0].score_root.parse().ok()).unwrap();
    assert_eq!((same.checked, same.right), (1, 1));
    let other = check(alone, Some(Hash([7; 32]))).unwrap();
    assert_eq!(other.explanations[0].wrong, Some("the score root"));
    assert_eq!(other.right, 0);

    // The result, the answer, the weight and a proof, each changed alone.
    for (pointer, value, field) in [
        ("/case/claim/result/posterior", 1.into(), "the result"),
        ("/case/votes/votes/0/1", 2.into(), "the list of votes"),
        ("/answer", 9.into(), "answer"),
        ("/weight", 9.into(), "weight"),
        ("/labeler/result/skill_ppm", 9.into(), "labeler"),
        ("/gold_right", true.into(), "gold_right"),
        (
            "/case/score/algorithm",
            "00".repeat(32).into(),
            "the algorithm",
        ),
    ] {
        let mut changed = alone.clone();
        let slot = changed.pointer_mut(pointer).unwrap();
        let value: serde_json::Value = value;
        assert_ne!(*slot, value, "{pointer}");
        *slot = value;
        let checked = check(&changed, None).unwrap();
        assert_eq!(checked.explanations[0].wrong, Some(field), "{pointer}");
        assert_eq!((checked.right, checked.checked), (0, 1), "{pointer}");
    }
    for (value, why) in [
        (serde_json::json!({"kind": "class"}), "no explanation in it"),
        (serde_json::json!({"case": 1}), "this is no explanation"),
    ] {
        let error = check(&value, None).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    fs::write(&why, "{").unwrap();
    assert!(check_explanations(&why, None).is_err());
}

#[test]
fn objects_of_two_scores_are_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    let mut both = Vec::new();
    for last in ["x", "y"] {
        let rows = format!("task,worker,label\nt,a,x\nt,b,x\nt,c,{last}\nu,a,y\nu,b,y\n");
        fs::write(&path, rows).unwrap();
        let mut wanted = options(Kind::Class, &path);
        wanted.explain = Some("t".to_owned());
        wanted.explain_worker = Some("a".to_owned());
        both.push(serde_json::to_value(run(&wanted, None, &|_| ()).unwrap()).unwrap());
    }
    let why = folder.path().join("why.json");
    fs::write(&why, serde_json::to_vec(&both).unwrap()).unwrap();
    let checked = check_explanations(&why, None).unwrap();
    assert_eq!((checked.checked, checked.right), (2, 1));
    assert_eq!(checked.explanations[1].wrong, Some("the score root"));
}

/// Columns and four answers of every kind.
fn small_files() -> [(Kind, &'static str, [&'static str; 4]); 12] {
    [
        (
            Kind::Class,
            "task,worker,label,seconds",
            ["t,a,x,9", "t,b,x,4", "u,a,y,5", "u,b,x,7"],
        ),
        (
            Kind::Pair,
            "left,right,worker,label",
            ["p,q,a,p", "q,r,a,q", "r,p,b,tie", "q,p,b,p"],
        ),
        (
            Kind::Text,
            "task,worker,label",
            ["t,a,the cat", "t,b,a cat", "u,a,été", "u,b,Été."],
        ),
        (
            Kind::Ranking,
            "worker,label",
            ["a,p>q>r", "b,q>p", "c,p>r", "c,r>q"],
        ),
        (
            Kind::Multi,
            "task,worker,label",
            ["t,a,x|y", "t,b,y", "u,a,", "u,b,z"],
        ),
        (
            Kind::Rating,
            "task,worker,label",
            ["t,a,1", "t,b,2", "u,a,5", "u,b,4"],
        ),
        (
            Kind::Numeric,
            "task,worker,label",
            ["t,a,1.5", "t,b,1.25", "u,a,-3", "u,b,-3.5"],
        ),
        (
            Kind::Span,
            "task,worker,label",
            [
                "t,a,\"[[1,5,\"\"n\"\"]]\"",
                "t,b,\"[[1,6,\"\"n\"\"]]\"",
                "u,a,",
                "u,b,\"[[2,3,\"\"v\"\"]]\"",
            ],
        ),
        (
            Kind::Segment,
            "task,worker,label",
            ["t,a,\"[[100,500]]\"", "t,b,\"[[120,480]]\"", "u,a,", "u,b,"],
        ),
        (
            Kind::Box,
            "task,worker,label",
            [
                "t,a,\"[[1,5,9,9]]\"",
                "t,b,\"[[1,6,9,9]]\"",
                "u,a,",
                "u,b,\"[[2,3,4,4]]\"",
            ],
        ),
        (
            Kind::Polygon,
            "task,worker,label",
            [
                "t,a,\"[[[0,0,9,0,0,9]]]\"",
                "t,b,\"[[[0,0,8,0,0,9]]]\"",
                "u,a,",
                "u,b,",
            ],
        ),
        (
            Kind::Review,
            "task,proposed,worker,label",
            [
                "t,x,a,accept",
                "t,x,b,fix:y",
                "u,y,a,accept",
                "u,y,b,reject",
            ],
        ),
    ]
}

#[test]
fn roots_name_the_answers_and_the_score_and_follow_from_their_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    let mut seen = BTreeSet::new();
    for (kind, header, rows) in small_files() {
        let mut rows = rows.map(str::to_owned).to_vec();
        let score = |rows: &[String]| {
            fs::write(&path, text(header, rows)).unwrap();
            let mut wanted = options(kind, &path);
            assert_eq!(
                run(&wanted, None, &|_| ()).unwrap().score_root,
                None,
                "{kind:?}"
            );
            wanted.out = Some(folder.path().join("out"));
            let summary = run(&wanted, None, &|_| ()).unwrap();
            let bytes = fs::read(folder.path().join("out").join("roots.json")).unwrap();
            (summary, bytes)
        };
        let (summary, bytes) = score(&rows);
        let roots: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let head = |name: &str| roots[name].clone();
        let input: InputHead = serde_json::from_value(head("input")).unwrap();
        let whole: ScoreHead = serde_json::from_value(head("score")).unwrap();
        assert_eq!(whole.input, input.root(), "{kind:?}");
        for (name, hash, told) in [
            ("algorithm", whole.algorithm, summary.algorithm),
            ("input_root", input.root(), summary.input_root),
            ("score_root", whole.root(), summary.score_root),
        ] {
            assert_eq!(roots[name], hash.to_string(), "{kind:?}");
            assert_eq!(told, Some(hash), "{kind:?}");
        }
        assert_eq!(roots["kind"], summary.kind);
        assert_eq!(roots["items"], input.items);
        assert_eq!(roots["labelers"], summary.workers);
        rows.reverse();
        assert_eq!(score(&rows).1, bytes, "{kind:?}");
        rows.pop();
        let less = score(&rows).0;
        assert_ne!(less.input_root, summary.input_root, "{kind:?}");
        assert_ne!(less.score_root, summary.score_root, "{kind:?}");
        seen.insert(whole.root());
    }
    assert_eq!(seen.len(), 12);
}

#[test]
fn a_case_of_every_kind_is_checked_from_itself_and_belongs_to_the_roots_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.csv");
    let why = folder.path().join("why.json");
    let check = |value: &serde_json::Value, root: Option<Hash>| {
        fs::write(&why, value.to_string()).unwrap();
        check_explanations(&why, root)
    };
    for (kind, header, rows) in small_files() {
        let (task, items): (_, &[&str]) = match kind {
            Kind::Class => continue,
            Kind::Pair => ("p|q", &["p", "q"]),
            Kind::Ranking => ("-", &["p", "q", "r"]),
            _ => ("t", &["t"]),
        };
        fs::write(&path, text(header, &rows.map(str::to_owned))).unwrap();
        let mut wanted = options(kind, &path);
        wanted.explain = Some(task.to_owned());
        let mut lines = Vec::new();
        let alone = run(&wanted, Some(&mut lines), &|_| ()).unwrap();
        assert_eq!(alone.score_root, None, "{kind:?}");
        wanted.out = Some(folder.path().join("out"));
        let summary = run(&wanted, None, &|_| ()).unwrap();
        let root = summary.score_root;
        let lines = String::from_utf8(lines).unwrap();
        let last = format!("score root {}\n", root.unwrap());
        assert!(lines.ends_with(&last), "{kind:?}: {lines}");

        let whole = serde_json::to_value(&summary).unwrap();
        assert_eq!(
            serde_json::to_value(&alone).unwrap()["explanation"],
            whole["explanation"]
        );
        let checked = check(&whole, root).unwrap();
        assert_eq!(checked.right, checked.checked, "{kind:?}");
        let names = checked
            .explanations
            .iter()
            .map(|one| one.name.as_deref().unwrap());
        assert_eq!(names.collect::<Vec<_>>(), items, "{kind:?}");
        let published = &whole["explanation"]["cases"][0]["checkable"]["case"]["claim"]["value"];
        assert_eq!(checked.explanations[0].result.as_ref(), Some(published));
        let other = check(&whole, Some(Hash([7; 32]))).unwrap();
        assert_eq!(other.right, 0, "{kind:?}");
        assert_eq!(other.explanations[0].wrong, Some("the score root"));

        let one = &whole["explanation"]["cases"][0]["checkable"];
        for (pointer, part) in [
            ("/case/item", "the list of votes"),
            ("/case/input/labelers", "the input head"),
            ("/case/rows/0/proof", "row"),
            ("/case/claim/proof", "the result"),
        ] {
            let mut changed = one.clone();
            let slot = changed.pointer_mut(pointer).unwrap();
            *slot = match slot.as_u64() {
                Some(number) => (number + 1).into(),
                None => serde_json::json!([]),
            };
            let checked = check(&changed, None).unwrap();
            assert_eq!(checked.right, 0, "{kind:?} {pointer}");
            assert_eq!(
                checked.explanations[0].wrong,
                Some(part),
                "{kind:?} {pointer}"
            );
        }
        let mut changed = one.clone();
        changed["kind"] = "class".into();
        let error = check(&changed, None).unwrap_err().to_string();
        assert!(error.contains("this is no explanation"), "{error}");
    }
}

#[test]
fn an_object_with_too_many_opponents_is_explained_without_a_case() {
    let rows = (0..1_100).map(|other| format!("a|b{other:04},w,a\n"));
    let (_folder, path) = file(format!("task,worker,label\n{}", rows.collect::<String>()));
    let mut wanted = options(Kind::Pair, &path);
    wanted.explain = Some("a|b0007".to_owned());
    let summary = run(&wanted, None, &|_| ()).unwrap();
    let Some(Why::Cases(why)) = &summary.explanation else {
        panic!("comparisons have cases");
    };
    let names: Vec<&str> = why.cases.iter().map(|one| one.item.as_str()).collect();
    assert_eq!(names, ["b0007"]);
    let note = summary
        .notes
        .iter()
        .find(|note| note.contains("without a case"));
    assert!(note.unwrap().contains("\"a\""), "{note:?}");
}

#[test]
fn other_names_for_the_same_numbers_have_the_same_roots_and_another_hash_of_names() {
    let roots = |rows: &str| -> serde_json::Value {
        let (folder, path) = file(format!("task,worker,label\n{rows}"));
        let mut wanted = options(Kind::Class, &path);
        wanted.out = Some(folder.path().join("out"));
        run(&wanted, None, &|_| ()).unwrap();
        serde_json::from_slice(&fs::read(folder.path().join("out/roots.json")).unwrap()).unwrap()
    };
    let first = roots("t,a,x\nt,b,x\nu,a,y\nu,b,x\n");
    for other in [
        "t,a,x\nt,b,x\nv,a,y\nv,b,x\n",
        "t,a,x\nt,c,x\nu,a,y\nu,c,x\n",
        "t,a,x\nt,b,x\nu,a,z\nu,b,x\n",
    ] {
        let other = roots(other);
        assert_eq!(other["score_root"], first["score_root"]);
        assert_ne!(other["names"], first["names"]);
    }
}

#[test]
fn the_roots_of_class_are_those_that_an_explanation_belongs_to() {
    let (folder, path) = file("task,worker,label\nt,a,x\nt,b,x\nu,a,y\nu,b,x\n");
    let mut wanted = options(Kind::Class, &path);
    wanted.out = Some(folder.path().join("out"));
    wanted.explain = Some("u".to_owned());
    let summary = run(&wanted, None, &|_| ()).unwrap();
    let Some(Why::Answers(why)) = &summary.explanation else {
        panic!("class explains itself by objects");
    };
    let derived = why.votes[0].explanation.rederive().unwrap();
    assert_eq!(summary.score_root, Some(derived.score_root));
}

#[test]
fn parquet_files_hold_the_rows_of_the_csv() {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let (folder, path) = file("task,worker,label\nt,a,x\nt,b,x\nu,a,y\n");
    let mut wanted = options(Kind::Class, &path);
    let out = folder.path().join("out");
    wanted.out = Some(out.clone());
    run(&wanted, None, &|_| ()).unwrap();
    let parquet = fs::File::open(out.join("labels.parquet")).unwrap();
    let reader = SerializedFileReader::new(parquet).unwrap();
    let rows: Vec<_> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows.len(), 2);
    let text = rows[1].to_string();
    assert!(
        text.contains("\"u\"") && text.contains("posterior"),
        "{text}"
    );
    let csv = fs::read_to_string(out.join("labels.csv")).unwrap();
    assert!(
        csv.starts_with("task,label,posterior,votes,p(x),p(y)\nt,x,0."),
        "{csv}"
    );
}

/// All rows of some bytes, read in pieces.
fn rows_of(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut rows = Rows::new(bytes).unwrap();
    let mut all = Vec::new();
    while rows.advance().unwrap() {
        let row = (0..rows.width()).map(|at| rows.field(at).unwrap().to_vec());
        all.push(row.collect());
    }
    all
}

#[test]
fn rows_longer_than_a_buffer_are_read_whole() {
    let long = "x".repeat(700_000);
    let rows = rows_of(format!("a,b\n{long},\"{long}\"\n1,2\n").as_bytes());
    assert_eq!(rows[1], [long.as_bytes(), long.as_bytes()]);
    assert_eq!(rows[2], [b"1", b"2"]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200)) {
        rows_of(&bytes);
        let mut file = b"task,worker,label\n".to_vec();
        file.extend_from_slice(&bytes);
        for kind in [Kind::Class, Kind::Multi, Kind::Numeric, Kind::Box, Kind::Pair] {
            // A result or a reason.
            let _ = score(kind, &file);
        }
    }

    #[test]
    fn what_is_written_is_read_again(rows in prop::collection::vec(prop::collection::vec("[a-c\",\n\r ]{0,4}", 3), 1..20)) {
        let mut sheet = Sheet::default();
        for column in 0..3 {
            sheet = sheet.text(format!("c{column}"), rows.iter().map(|row| row[column].clone()));
        }
        let mut csv = Vec::new();
        sheet.csv(3, &mut csv).unwrap();
        let read = rows_of(&csv);
        prop_assert_eq!(read.len(), rows.len() + 1);
        for (read, row) in read[1..].iter().zip(&rows) {
            let row: Vec<Vec<u8>> = row.iter().map(|field| field.as_bytes().to_vec()).collect();
            prop_assert_eq!(read, &row);
        }
    }

    #[test]
    fn names_get_the_same_numbers_together_as_one_by_one(list in prop::collection::vec("[ab]{1,3}|[a-z0-9]{1,8}", 0..300), batch in 1usize..90) {
        let mut alone = Collector::default();
        let want: Vec<u32> = list.iter().map(|name| alone.number(name.as_bytes()).unwrap()).collect();
        let mut together = Collector::default();
        let mut numbers = Vec::new();
        for part in list.chunks(batch) {
            let names = part.iter().map(|name| ShortName::of(name.as_bytes()).unwrap());
            together.numbers(names, |number| numbers.push(number)).unwrap();
        }
        prop_assert_eq!(numbers, want);
        prop_assert_eq!(together.sort(), alone.sort());
    }

    #[test]
    fn names_are_numbered_in_byte_order(list in prop::collection::vec("[ab]{0,20}|.{0,6}", 0..200)) {
        let mut collector = Collector::default();
        let numbers: Vec<u32> = list.iter().map(|name| collector.number(name.as_bytes()).unwrap()).collect();
        let (names, place) = collector.sort();
        let want: BTreeSet<&str> = list.iter().map(String::as_str).collect();
        prop_assert_eq!(names.iter().collect::<Vec<_>>(), want.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(&names, &Names::of(list.iter().map(String::as_str)));
        for (name, number) in list.iter().zip(numbers) {
            prop_assert_eq!(names.get(place[number as usize]), name);
            prop_assert_eq!(names.find(name), Some(place[number as usize]));
        }
    }
}

#[test]
fn a_run_tells_how_far_it_is() {
    let (_folder, path) = file("task,worker,label\n1,a,x\n1,b,x\n2,a,\n");
    let stages = std::cell::RefCell::new(Vec::new());
    run(&options(Kind::Class, &path), None, &|stage| {
        stages.borrow_mut().push(stage);
    })
    .unwrap();
    let total = fs::metadata(&path).unwrap().len();
    let mut stages = stages.into_inner();
    // The end of the file is met once more than there are bytes.
    stages.dedup();
    let wanted = [
        Stage::Reading {
            bytes: total,
            total,
        },
        Stage::Scoring { answers: 2 },
        Stage::Writing,
    ];
    assert_eq!(stages, wanted);
}
