//! The scene: everything that rules may look at and change while they are evaluated.

use std::net::SocketAddr;

use super::{Message, Notes};
use crate::http::{RequestHead, ResponseHead};
use crate::net::Connection;
use crate::sample::format::Record;
use crate::sample::state::State;
use crate::sample::{
    Captures, Context, Facts, ProxyView, RequestView, ResponseView, Scratch, UniqueId, VarScopes,
};
use crate::stick::{Table, Tracked};

/// A stream as its rules see it: borrows of what the stream owns. Cheap to build; it lives for one evaluation.
pub struct Scene<'s> {
    /// CLOCK_MONOTONIC milliseconds.
    pub now_ms: u64,
    /// Wall-clock milliseconds since the epoch.
    pub wall_ms: u64,
    /// The client's address; `None` on a unix socket.
    pub source: &'s mut Option<SocketAddr>,
    /// The address that the client connected to; `None` on a unix socket.
    pub destination: &'s mut Option<SocketAddr>,
    /// The frontend.
    pub frontend: ProxyView<'s>,
    /// The backend, once there is one.
    pub backend: Option<ProxyView<'s>>,
    /// `id` and `name` of the listener (`bind`).
    pub listener: (u32, Option<&'s str>),
    /// The client's connection.
    pub client: &'s mut Connection,
    /// The request's head, once it is complete; always there in the response phase.
    pub request: Option<&'s mut RequestHead>,
    /// What has come from the client and was not sent yet: the head, when there is one, and what follows it. Empty in the response
    /// phase, when these bytes may be gone.
    pub request_bytes: &'s [u8],
    /// The response's head, once it is complete.
    pub response: Option<&'s mut ResponseHead>,
    /// What has come from the server and was not sent yet.
    pub response_bytes: &'s [u8],
    /// Whether this is the first request of its connection.
    pub first_request: bool,
    /// No more data will come, or nobody waits for it any more: conditions that would need some do not hold.
    pub is_final: bool,
    /// What is asked more seldom; the context adds what the scene has itself.
    pub facts: Facts<'s>,
    /// All stick tables.
    pub tables: &'s mut [Table],
    /// Running proxies and servers.
    pub state: &'s dyn State,
    /// The variables of each scope.
    pub vars: VarScopes<'s>,
    /// What is tracked has been told of the request.
    pub is_request_counted: bool,
    /// What the request tracks, once there is one (or the TCP stream).
    pub request_tracked: Option<&'s mut Tracked>,
    /// What the connection tracks, if its rules may let it.
    pub connection_tracked: Option<&'s mut Tracked>,
    /// What is noted about the stream.
    pub notes: &'s mut Notes,
    /// What the stream says of itself, where a format asks for it.
    pub record: Option<Record<'s>>,
    /// What was captured.
    pub captures: Option<&'s mut Captures>,
    /// The unique id.
    pub unique_id: Option<UniqueId<'s>>,
    /// The answer that a rule composes.
    pub message: &'s mut Message,
    /// Buffers for what expressions produce.
    pub scratch: &'s mut Scratch,
}

impl Scene<'_> {
    /// What expressions see of the scene.
    pub fn context(&mut self) -> Context<'_> {
        let request_bytes = self.request_bytes;
        let response_bytes = self.response_bytes;
        Context {
            now_ms: self.now_ms,
            wall_ms: self.wall_ms,
            source: *self.source,
            destination: *self.destination,
            frontend: Some(self.frontend),
            backend: self.backend,
            listener: Some(self.listener),
            request: self.request.as_deref().map(|head| RequestView {
                head,
                buffer: request_bytes,
            }),
            response: self.response.as_deref().map(|head| ResponseView {
                head,
                buffer: response_bytes,
            }),
            first_request: self.first_request,
            is_final: self.is_final,
            is_missing: false,
            tables: self.tables,
            facts: Facts {
                client: Some(self.client),
                timeouts_ms: [self.notes.server_timeout_ms, self.notes.tunnel_timeout_ms],
                last_rule: self.notes.last_rule,
                priority: (self.notes.priority_class, self.notes.priority_offset_ms),
                ..self.facts
            },
            state: Some(self.state),
            vars: self.vars,
            tracked: [
                self.request_tracked.as_deref(),
                self.connection_tracked.as_deref(),
            ],
            record: self.record.as_ref(),
            captures: self.captures.as_deref_mut(),
            unique_id: self.unique_id.as_mut().map(UniqueId::reborrow),
            scratch: self.scratch,
        }
    }
}
