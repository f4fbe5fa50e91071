//! The peer "rust": app and transform on hyper and tokio, JSON over kept-alive connections between them.
//! usage: bench-peer transform SOCKET | bench-peer app SOCKET TRANSFORM-SOCKET
//!
//! transform reverses by extended grapheme cluster (crate unicode-segmentation).

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{handshake, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::sync::{Arc, Mutex};
use tokio::net::{UnixListener, UnixStream};
use unicode_segmentation::UnicodeSegmentation;

type Failure = Box<dyn Error + Send + Sync>;
type Reply = Response<Full<Bytes>>;

/// Borrowed from the body where the JSON has no escapes.
#[derive(Deserialize, Serialize)]
struct Message<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Answer<'a> {
    message: Cow<'a, str>,
    rand: f64,
}

/// Connections to transform: those that are idle, kept open; a new one when there is none.
struct Transform {
    socket: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

impl Transform {
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        loop {
            let kept = self.idle.lock().unwrap().pop();
            match kept {
                Some(mut sender) => {
                    if sender.ready().await.is_ok() {
                        return Ok(sender);
                    }
                }
                None => break,
            }
        }
        let stream = UnixStream::connect(&self.socket).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn ask(&self, text: Cow<'_, str>) -> Result<Bytes, Failure> {
        let body = serde_json::to_vec(&Message { message: text })?;
        let request = Request::builder()
            .method(Method::POST)
            .uri("/reverse")
            .header(HOST, "transform")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let mut sender = self.connection().await?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(response.status().to_string().into());
        }
        let body = response.into_body().collect().await?.to_bytes();
        self.idle.lock().unwrap().push(sender);
        Ok(body)
    }
}

fn reply(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Reply {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .body(Full::new(Bytes::from(body)))
        .unwrap()
}

fn json<T: Serialize>(value: &T) -> Reply {
    reply(StatusCode::OK, "application/json", serde_json::to_vec(value).unwrap())
}

fn problem(status: StatusCode, error: &dyn std::fmt::Display) -> Reply {
    reply(status, "text/plain", error.to_string().into_bytes())
}

fn reverse(text: &str) -> String {
    if text.is_ascii() && !text.contains('\r') {
        return text.chars().rev().collect(); // CR LF is the only cluster of more than one byte in ASCII
    }
    text.graphemes(true).rev().collect()
}

async fn answer_app(transform: &Transform, request: Request<Incoming>) -> Result<Reply, Failure> {
    if request.uri().path() != "/api" {
        return Ok(problem(StatusCode::NOT_FOUND, &"nothing is here"));
    }
    let body = request.into_body().collect().await?.to_bytes();
    let message: Message = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(error) => return Ok(problem(StatusCode::BAD_REQUEST, &error)),
    };
    let reversed = transform.ask(message.message).await?;
    let message: Message = serde_json::from_slice(&reversed)?;
    Ok(json(&Answer {
        message: message.message,
        rand: rand::random(),
    }))
}

async fn answer_transform(request: Request<Incoming>) -> Result<Reply, Failure> {
    let body = request.into_body().collect().await?.to_bytes();
    let message: Result<Message, _> = serde_json::from_slice(&body);
    Ok(match message {
        Ok(message) => json(&Message {
            message: reverse(&message.message).into(),
        }),
        Err(error) => problem(StatusCode::BAD_REQUEST, &error),
    })
}

async fn answer(transform: Option<&Transform>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let reply = match transform {
        Some(transform) => answer_app(transform, request).await,
        None => answer_transform(request).await,
    };
    Ok(reply.unwrap_or_else(|error| problem(StatusCode::BAD_GATEWAY, &error)))
}

async fn serve(listener: UnixListener, transform: Option<Arc<Transform>>) -> Result<Infallible, Failure> {
    loop {
        let (stream, _) = listener.accept().await?;
        let transform = transform.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(transform.as_deref(), request));
            // A connection that the other side drops is its own affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let transform = match arguments.get(3) {
        Some(socket) => Some(Arc::new(Transform {
            socket: socket.clone(),
            idle: Mutex::new(Vec::new()),
        })),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(&arguments[2])?;
        serve(listener, transform).await
    })?;
    Ok(())
}
