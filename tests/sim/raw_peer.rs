//! A peer played byte by byte, against a node of `loop_node`.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::loop_node::LoopNode;

/// A peer of the node `us` whose every byte the test writes.
pub struct Client {
    /// Its connection, which does not block.
    pub stream: TcpStream,
    /// What has not been looked at yet.
    pub received: Vec<u8>,
    /// The node has closed the connection.
    pub ended: bool,
}

impl Client {
    /// A connection, and nothing said.
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            received: Vec::new(),
            ended: false,
        }
    }

    /// A connection and the hello of `name`.
    pub fn hello(address: SocketAddr, name: &str) -> Client {
        let mut client = Client::connect(address);
        client.send(format!("HAProxyS 2.1\nus\n{name} 77 1\n").as_bytes());
        client
    }

    /// Writes; a closed connection is no failure.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Reads what there is.
    pub fn read(&mut self) {
        let mut bytes = [0; 65536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.received.extend(&bytes[..count]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.ended = true,
            }
            return;
        }
    }

    /// Lets the node run and reads until the condition holds.
    pub fn read_until(
        &mut self,
        node: &mut LoopNode,
        what: &str,
        condition: impl Fn(&Client) -> bool,
    ) {
        node.run_until(what, |_| {
            self.read();
            condition(self)
        });
    }

    /// All that comes until the node closes.
    pub fn read_to_end(&mut self, node: &mut LoopNode) -> Vec<u8> {
        self.read_until(node, "the end of the connection", |client| client.ended);
        std::mem::take(&mut self.received)
    }

    /// An established session; what has been received so far is dropped.
    pub fn established(node: &mut LoopNode, address: SocketAddr, name: &str) -> Client {
        let mut client = Client::hello(address, name);
        client.read_until(node, "the status", |client| {
            client.received.starts_with(b"200\n")
        });
        client
    }
}

/// Bytes written in hexadecimal.
pub fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}
