//! The alloy transport: a provider calls the chain in this process, without a socket.
//!
//! Calls run on Tokio's blocking threads, because a change waits for the disk.

use std::task::{Context, Poll};

use alloy::{
    rpc::json_rpc::{
        ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, SerializedRequest,
    },
    transports::{TransportError, TransportFut},
};
use serde_json::{Value, value::to_raw_value};

use super::{
    DevChain,
    error::{CODE_INTERNAL, CODE_PARSE, RpcError},
};

impl DevChain {
    fn answer(&self, request: &SerializedRequest) -> Response {
        let result = match request
            .params()
            .map(|p| serde_json::from_str::<Value>(p.get()))
        {
            None => self.call(request.method(), Value::Null),
            Some(Ok(params)) => self.call(request.method(), params),
            Some(Err(e)) => Err(RpcError::new(CODE_PARSE, e.to_string())),
        };
        let result = result.and_then(|value| {
            to_raw_value(&value).map_err(|e| RpcError::new(CODE_INTERNAL, e.to_string()))
        });
        let payload = match result {
            Ok(value) => ResponsePayload::Success(value),
            Err(error) => ResponsePayload::Failure(ErrorPayload {
                code: error.code,
                data: error.data.as_ref().and_then(|data| to_raw_value(data).ok()),
                message: error.message.into(),
            }),
        };
        Response {
            id: request.id().clone(),
            payload,
        }
    }
}

impl tower::Service<RequestPacket> for DevChain {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let chain = self.clone();
        Box::pin(async move {
            let answer = move || match packet {
                RequestPacket::Single(request) => ResponsePacket::Single(chain.answer(&request)),
                RequestPacket::Batch(requests) => ResponsePacket::Batch(
                    requests
                        .iter()
                        .map(|request| chain.answer(request))
                        .collect(),
                ),
            };
            tokio::task::spawn_blocking(answer)
                .await
                .map_err(|e| TransportError::local_usage_str(&e.to_string()))
        })
    }
}
