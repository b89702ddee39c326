//! A client that writes its request as it is told and keeps the answer as it came.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The head as it came, without the status line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a field; its name is compared with case, as the Linux client does.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Whether the body is as long as `Content-Length` says.
    pub fn is_whole(&self) -> bool {
        self.field("Content-Length").and_then(|n| n.parse().ok()) == Some(self.body.len())
    }

    pub fn cache_status(&self) -> &str {
        self.field("Cache-Status").unwrap_or("none")
    }
}

/// `GET target`, with the node's address as `Host` unless `headers` has one.
pub async fn get(node: SocketAddr, target: &str, headers: &[&str]) -> Reply {
    request(node, "GET", target, headers).await
}

pub async fn request(node: SocketAddr, method: &str, target: &str, headers: &[&str]) -> Reply {
    let mut stream = send(node, method, target, headers).await;
    let mut answer = Vec::new();
    // A connection that is cut ends in an error; what came before counts.
    let _ = stream.read_to_end(&mut answer).await;
    parse(&answer)
}

/// Sends a request and leaves the answer to be read.
pub async fn send(node: SocketAddr, method: &str, target: &str, headers: &[&str]) -> TcpStream {
    let mut text = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        text.push_str(&format!("Host: {node}\r\n"));
    }
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("\r\n");
    let mut stream = TcpStream::connect(node).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

pub fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let (status_line, head) = head.split_once("\r\n").unwrap();
    let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: answer[end + 4..].to_vec() }
}
