use super::*;
use proptest::prelude::*;
use tempfile::TempDir;

struct World {
    folder: TempDir,
}

impl World {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let world = Self {
            folder: TempDir::new().unwrap(),
        };
        for (name, bytes) in files {
            let path = world.folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        world
    }

    fn read(&self, source: &str) -> Result<Vec<SourceItem>, String> {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        read(&self.folder.path().join(source), &labels).map_err(|e| e.to_string())
    }
}

/// Reads one items file with this content; the error must hold every one of `parts`.
fn refused(name: &str, content: &[u8], parts: &[&str]) {
    let world = World::new(&[
        ("img/1.png", b"png"),
        ("empty.png", b""),
        ("latin.txt", b"\xe9"),
        ("a.svg", b"<svg/>"),
        (name, content),
    ]);
    let error = world.read(name).expect_err("must be refused");
    for part in parts.iter().chain([&name]) {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

#[test]
fn jsonl_items_are_files_or_texts_with_optional_gold() {
    let lines = "\u{feff}{\"id\":\"a\",\"path\":\"img/1.png\",\"gold\":\"dog\"}\r\n\n{\"id\":\"b\",\"text\":\"caf\u{e9}\",\"gold\":null}\n";
    let world = World::new(&[("img/1.png", b"png"), ("items.jsonl", lines.as_bytes())]);
    let item = |name: &str, media: &str, bytes: &[u8], gold| SourceItem {
        name: name.into(),
        media: media.into(),
        bytes: bytes.to_vec(),
        gold,
    };
    let expected = vec![
        item("a", "image/png", b"png", Some(1)),
        item("b", "text/plain", "caf\u{e9}".as_bytes(), None),
    ];
    assert_eq!(world.read("items.jsonl"), Ok(expected));
}

#[test]
fn csv_and_tsv_items_are_the_same_as_jsonl_items() {
    let world = World::new(&[
        ("1.jpg", b"jpg"),
        ("a.jsonl", b"{\"id\":\"x\",\"path\":\"1.jpg\"}\n{\"id\":\"y\",\"text\":\"one, two\",\"gold\":\"cat\"}"),
        ("a.csv", b"\xef\xbb\xbfid,text,path,gold\r\nx,,1.jpg,\r\ny,\"one, two\",,cat\r\n"),
        ("a.tsv", b"gold\tid\ttext\tpath\n\tx\t\t1.jpg\ncat\ty\tone, two\t\n"),
    ]);
    let jsonl = world.read("a.jsonl").unwrap();
    assert_eq!(jsonl[0].media, "image/jpeg");
    assert_eq!(world.read("a.csv"), Ok(jsonl.clone()));
    assert_eq!(world.read("a.tsv"), Ok(jsonl));
}

#[test]
fn a_folder_gives_its_files_in_name_order() {
    let world = World::new(&[
        ("d/b.wav", b"1"),
        ("d/a.txt", b"2"),
        ("d/.hidden", b"3"),
        ("d/c.xyz", b"4"),
    ]);
    let items = world.read("d").unwrap();
    let seen: Vec<_> = items
        .iter()
        .map(|i| (i.name.as_str(), i.media.as_str(), i.bytes.as_slice()))
        .collect();
    assert_eq!(
        seen,
        [
            ("a.txt", "text/plain", &b"2"[..]),
            ("b.wav", "audio/wav", b"1"),
            ("c.xyz", "application/octet-stream", b"4")
        ]
    );
}

#[test]
fn a_folder_with_folders_or_without_files_is_refused_with_a_remedy() {
    let nested = World::new(&[("d/sub/a.png", b"1")]).read("d").unwrap_err();
    assert!(
        nested.contains("\"sub\"") && nested.contains(".jsonl"),
        "{nested}"
    );
    let world = World::new(&[("d/.hidden", b"1")]);
    assert!(world.read("d").unwrap_err().contains("holds no files"));
    assert!(world.read("nowhere").unwrap_err().contains("cannot read"));
}

#[test]
fn malformed_lines_are_named_by_number() {
    refused(
        "i.jsonl",
        b"{\"id\":\"a\",\"text\":\"x\"}\n\n{\"id\":",
        &["line 3", "EOF"],
    );
    refused(
        "i.jsonl",
        b"{\"id\":\"a\",\"text\":\"x\",\"glod\":\"cat\"}",
        &["line 1", "unknown field `glod`", "`gold`"],
    );
    refused(
        "i.jsonl",
        b"{\"id\":\"a\",\"id\":\"b\",\"text\":\"x\"}",
        &["line 1", "duplicate field `id`"],
    );
    refused(
        "i.jsonl",
        b"{\"id\":\"a\",\"text\":\"x\"}\n\xff\n",
        &["line 2", "UTF-8"],
    );
    refused("i.jsonl", b"[1]", &["line 1"]);
    refused("i.csv", b"id,text\na,x\nb,\xff\n", &["line 3", "UTF-8"]);
    refused(
        "i.csv",
        b"id,text\na,x\nb\n",
        &["line 3", "1 cells", "has 2"],
    );
    refused(
        "i.csv",
        b"id,text,note\na,x,y\n",
        &["line 1", "\"note\"", "rename or remove"],
    );
    refused("i.csv", b"id,text,id\na,x,y\n", &["line 1", "twice"]);
    refused("i.csv", b"id,gold\na,cat\n", &["line 1", "path or text"]);
    refused("i.txt", b"a", &[".jsonl", ".csv"]);
    for name in ["i.jsonl", "i.csv", "i.tsv"] {
        refused(name, b"", &["no items"]);
        refused(name, b"\n\n", &["no items"]);
    }
    refused("i.csv", b"id,text\n", &["no items"]);
}

#[test]
fn wrong_fields_are_named_with_line_and_remedy() {
    let field = |line: &str, field: &str, part: &str| {
        let content = format!("{{\"id\":\"ok\",\"text\":\"fine\"}}\n{line}\n");
        refused(
            "i.jsonl",
            content.as_bytes(),
            &["line 2", &format!("field `{field}`"), part],
        );
    };
    field(r#"{"text":"x"}"#, "id", "missing");
    field(r#"{"id":"","text":"x"}"#, "id", "1 to 256 bytes");
    field(r#"{"id":7,"text":"x"}"#, "id", "must be text, got 7");
    field(r#"{"id":"a\nb","text":"x"}"#, "id", "control characters");
    field(r#"{"id":"ok","text":"x"}"#, "id", "used in line 1 already");
    field(
        r#"{"id":"a","text":"x","gold":"dgo"}"#,
        "gold",
        "unknown label \"dgo\"; the task's labels are: cat, dog",
    );
    field(r#"{"id":"a","text":""}"#, "text", "empty");
    field(r#"{"id":"a"}"#, "path", "give a `path` or a `text`");
    field(
        r#"{"id":"a","path":"img/1.png","text":"x"}"#,
        "path",
        "give one of them",
    );
    field(
        r#"{"id":"a","path":"img/2.png"}"#,
        "path",
        "cannot read \"img/2.png\"",
    );
    field(r#"{"id":"a","path":"empty.png"}"#, "path", "is empty");
    field(r#"{"id":"a","path":"img"}"#, "path", "not a regular file");
    field(r#"{"id":"a","path":"latin.txt"}"#, "path", "not UTF-8");
    field(r#"{"id":"a","path":"a.svg"}"#, "path", "scripts");
    field(
        r#"{"id":"a","path":"../x.png"}"#,
        "path",
        "`..` are refused",
    );
    field(
        r#"{"id":"a","path":"img/../img/1.png"}"#,
        "path",
        "`..` are refused",
    );
    field(
        r#"{"id":"a","path":"/etc/hostname"}"#,
        "path",
        "absolute paths",
    );
    refused(
        "i.csv",
        b"id,path\na,img/1.png\nb,\n",
        &["line 3", "field `path`", "missing"],
    );
}

#[cfg(unix)]
#[test]
fn a_symbolic_link_does_not_lead_out_of_the_folder() {
    let outside = World::new(&[("secret.png", b"secret")]);
    let world = World::new(&[
        ("in.png", b"in"),
        ("i.jsonl", b"{\"id\":\"a\",\"path\":\"link.png\"}"),
        ("j.jsonl", b"{\"id\":\"a\",\"path\":\"near.png\"}"),
    ]);
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, world.folder.path().join(name)).unwrap()
    };
    link(&outside.folder.path().join("secret.png"), "link.png");
    link(Path::new("in.png"), "near.png");
    assert!(world.read("i.jsonl").unwrap_err().contains("symbolic link"));
    assert_eq!(world.read("j.jsonl").unwrap()[0].bytes, b"in");
    assert!(world.read(".").unwrap_err().contains("symbolic link"));
}

#[test]
fn the_bytes_of_all_items_are_bounded() {
    let world = World::new(&[("a", b"1")]);
    let mut folder = Folder::open(world.folder.path()).unwrap();
    assert!(
        folder
            .spend(limit::SHARD_BYTES_MAX + 1)
            .unwrap_err()
            .contains("an item has at most")
    );
    for _ in 0..ITEMS_BYTES_MAX / limit::SHARD_BYTES_MAX {
        folder.spend(limit::SHARD_BYTES_MAX).unwrap();
    }
    assert!(folder.read("a").unwrap_err().contains("all items together"));
}

proptest! {
    #[test]
    fn texts_survive_jsonl_and_csv(texts in proptest::collection::vec("\\PC{1,40}", 1..8)) {
        let mut jsonl = String::new();
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(["id", "text"]).unwrap();
        for (i, text) in texts.iter().enumerate() {
            jsonl += &format!("{}\n", serde_json::json!({"id": i.to_string(), "text": text}));
            table.write_record([&i.to_string(), text]).unwrap();
        }
        let table = table.into_inner().unwrap();
        let world = World::new(&[("i.jsonl", jsonl.as_bytes()), ("i.csv", &table)]);
        let items = world.read("i.jsonl").unwrap();
        let read: Vec<_> = items.iter().map(|i| String::from_utf8(i.bytes.clone()).unwrap()).collect();
        prop_assert_eq!(read, texts);
        prop_assert_eq!(world.read("i.csv"), Ok(items));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let world = World::new(&[("i.jsonl", &bytes), ("i.csv", &bytes)]);
        let _ = world.read("i.jsonl");
        let _ = world.read("i.csv");
    }
}
