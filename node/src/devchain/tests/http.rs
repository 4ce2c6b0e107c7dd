//! The loopback port: who may use it, and its limits.

use super::{super::DevChainError, *};

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;

async fn post(url: &str, headers: &[(&str, &str)], body: String) -> (u16, String) {
    let mut request = reqwest::Client::new().post(url).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test]
async fn only_local_host_names_origins_and_json_are_served() {
    let (chain, _) = chain_with_alice();
    let server = chain.serve("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = server.url();
    let json = ("content-type", "application/json");
    for host in [
        "localhost",
        "LOCALHOST:8545",
        "127.0.0.1",
        "127.0.0.1:1",
        "[::1]:8545",
        "[::1]",
    ] {
        let (status, body) = post(&url, &[json, ("host", host)], CALL.to_owned()).await;
        assert_eq!(status, 200, "{host}");
        assert!(body.contains("0x7a69"));
    }
    for host in [
        "evil.example",
        "localhost.evil.example:8545",
        "192.168.0.1",
        "0.0.0.0",
        "localhost@evil.example",
        "[::2]",
    ] {
        assert_eq!(
            post(&url, &[json, ("host", host)], CALL.to_owned()).await.0,
            403,
            "{host}"
        );
    }
    for (origin, status) in [
        ("http://localhost:3000", 200),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        assert_eq!(
            post(&url, &[json, ("origin", origin)], CALL.to_owned())
                .await
                .0,
            status,
            "{origin}"
        );
    }
    assert_eq!(
        post(&url, &[("content-type", "text/plain")], CALL.to_owned())
            .await
            .0,
        415
    );
    assert_eq!(
        post(
            &url,
            &[("content-type", "application/json; charset=utf-8")],
            CALL.to_owned()
        )
        .await
        .0,
        200
    );
    server.shutdown().await;
}

#[tokio::test]
async fn batches_notifications_and_oversized_bodies_are_handled() {
    let (chain, _) = chain_with_alice();
    let server = chain.serve("[::1]:0".parse().unwrap()).or_else(|_| {
        // Machines without IPv6.
        chain_with_alice().0.serve("127.0.0.1:0".parse().unwrap())
    });
    let server = server.unwrap();
    let url = server.url();
    let send = |body: String| {
        let url = url.clone();
        async move { post(&url, &[("content-type", "application/json")], body).await }
    };
    let (_, body) = send(format!(
        "[{CALL}, 5, {{\"jsonrpc\":\"2.0\",\"method\":\"dev_mine\"}}, {CALL}]"
    ))
    .await;
    let replies: Vec<Value> = serde_json::from_str(&body).unwrap();
    assert_eq!(replies.len(), 3, "the notification gets no reply");
    assert_eq!(replies[0]["result"], json!("0x7a69"));
    assert_eq!(replies[1]["error"]["code"], json!(-32600));
    let (_, body) =
        send(r#"{"jsonrpc":"2.0","id":"x","method":"eth_blockNumber"}"#.to_owned()).await;
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({"jsonrpc": "2.0", "id": "x", "result": "0x1"})
    );
    assert_eq!(
        send(r#"{"jsonrpc":"2.0","method":"dev_mine"}"#.to_owned()).await,
        (204, String::new())
    );

    let codes = [
        ("{".to_owned(), -32700),
        ("[]".to_owned(), -32600),
        (format!("[{}]", vec![CALL; 101].join(",")), -32600),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#.to_owned(),
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#.to_owned(),
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#.to_owned(),
            -32601,
        ),
        (format!("{}1{}", "[".repeat(5000), "]".repeat(5000)), -32700),
    ];
    for (body, code) in codes {
        let (status, reply) = send(body).await;
        assert_eq!(status, 200);
        assert_eq!(
            serde_json::from_str::<Value>(&reply).unwrap()["error"]["code"],
            json!(code),
            "{reply}"
        );
    }
    assert_eq!(
        send(" ".repeat(super::super::BODY_BYTES_MAX + 1)).await.0,
        413
    );
    server.shutdown().await;
}

#[tokio::test]
async fn addresses_that_are_not_loopback_are_refused() {
    let (chain, _) = chain_with_alice();
    for addr in ["0.0.0.0:0", "192.168.1.1:0", "[::]:0", "8.8.8.8:80"] {
        let error = chain.clone().serve(addr.parse().unwrap()).unwrap_err();
        assert!(matches!(error, DevChainError::NotLoopback(_)), "{error}");
    }
}

#[tokio::test]
async fn a_stopped_server_frees_its_port() {
    let (chain, _) = chain_with_alice();
    let server = chain.clone().serve("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = server.addr;
    assert!(matches!(
        chain.clone().serve(addr),
        Err(DevChainError::Bind { .. })
    ));
    server.shutdown().await;
    chain.serve(addr).unwrap();
}
