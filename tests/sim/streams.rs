//! The streams of the simulation: bytes on their way, in pieces and late; connections made, refused and cut; time.

use super::{End, INPUT_BYTES, STREAM_BYTES, Sim, Stream};
use burdock::peers::group::{Action, Ending};
use burdock::peers::session::CloseReason;

impl Sim {
    pub(super) fn cut(&mut self, stream: usize, reason: &str) {
        let stream = &mut self.streams[stream];
        stream.gone = true;
        let ends = stream
            .ends
            .iter_mut()
            .filter_map(|end| Some((end.node, end.session.take()?)));
        for (node, session) in ends.collect::<Vec<_>>() {
            let now_ms = self.now_of(node);
            let node_state = &mut self.nodes[node];
            node_state.connections.retain(|(id, _)| *id != session);
            let reason = CloseReason::Connection(reason.into());
            node_state
                .group
                .disconnected(session, now_ms, &mut node_state.tables, reason);
            self.carry_out(node);
        }
    }

    /// One step: due timers, some bytes moved, then time goes on.
    pub(super) fn step(&mut self, jump_ms_max: u64) {
        self.steps += 1;
        for node in 0..self.nodes.len() {
            if !self.nodes[node].up && self.nodes[node].up_at_ms <= self.now_ms {
                self.nodes[node].up = true;
                let now_ms = self.now_of(node);
                let state = &mut self.nodes[node];
                state.group.start(now_ms, &mut state.tables);
                self.log(|| format!("n{node} starts"));
            }
            if !self.nodes[node].up {
                continue;
            }
            let now_ms = self.now_of(node);
            let due = self.nodes[node].group.poll_timeout(now_ms);
            if due.is_some_and(|at_ms| at_ms <= now_ms) {
                let node_state = &mut self.nodes[node];
                node_state
                    .group
                    .handle_timeout(now_ms, &mut node_state.tables);
            }
            for table in &mut self.nodes[node].tables {
                table.expire(now_ms, 100);
            }
            self.carry_out(node);
        }
        for stream in 0..self.streams.len() {
            self.serve(stream);
        }
        self.streams.retain(|stream| !stream.gone);
        self.renumber();
        self.advance(jump_ms_max);
    }

    fn renumber(&mut self) {
        for node in &mut self.nodes {
            node.connections.clear();
        }
        for (index, stream) in self.streams.iter().enumerate() {
            for end in &stream.ends {
                if let Some(session) = end.session {
                    self.nodes[end.node].connections.push((session, index));
                }
            }
        }
    }

    fn advance(&mut self, jump_ms_max: u64) {
        let moving = self.streams.iter().any(|stream| {
            stream.directions.iter().any(|direction| {
                !direction.in_flight.is_empty() && direction.stalled_until_ms <= self.now_ms
            })
        });
        if moving {
            self.now_ms += self.random.below(3);
            return;
        }
        let timers = self.nodes.iter().filter(|node| node.up).filter_map(|node| {
            let now_ms = self.now_ms + node.ahead_ms;
            let at_ms = node.group.poll_timeout(now_ms)?;
            Some(at_ms.saturating_sub(node.ahead_ms))
        });
        let next_ms = timers.min().unwrap_or(u64::MAX);
        let limit_ms = self.now_ms + 1 + self.random.below(jump_ms_max);
        self.now_ms = next_ms.clamp(self.now_ms + 1, limit_ms);
    }

    pub(super) fn carry_out(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].group.poll_event() {
            self.log(|| format!("n{node}: {event}"));
            self.check_event(node, &event.text);
        }
        while let Some(action) = self.nodes[node].group.poll_action() {
            match action {
                Action::Dial { session, member } => {
                    let connected_at_ms = self.now_ms + self.random.below(40);
                    let refused_pct = self.faults.refused_pct;
                    let refused = self.chance(refused_pct, 100);
                    self.nodes[node]
                        .connections
                        .push((session, self.streams.len()));
                    self.streams.push(Stream {
                        ends: [
                            End {
                                node,
                                session: Some(session),
                            },
                            End {
                                node: member,
                                session: None,
                            },
                        ],
                        directions: Default::default(),
                        connected_at_ms,
                        pending: true,
                        refused,
                        stalled: false,
                        gone: false,
                    });
                }
                Action::Close { session, ending } => {
                    let Some(at) = self.nodes[node]
                        .connections
                        .iter()
                        .position(|(id, _)| *id == session)
                    else {
                        continue;
                    };
                    let (_, stream) = self.nodes[node].connections.remove(at);
                    let stream = &mut self.streams[stream];
                    let side = usize::from(stream.ends[1].session == Some(session));
                    assert_eq!(stream.ends[side].session, Some(session));
                    stream.ends[side].session = None;
                    let towards_peer = &mut stream.directions[1 - side];
                    towards_peer.closed = true;
                    if ending != Ending::Explained {
                        towards_peer.in_flight.clear();
                    }
                }
            }
        }
    }

    /// What no fault of the network explains.
    fn check_event(&mut self, node: usize, text: &str) {
        if text.contains(" is not the same here and there ") {
            // While a third node is apart from one of the two, the other may have from it what that one still has to wait for.
            let peer = text.strip_prefix("peer n").unwrap_or(text);
            let peer = peer
                .split(':')
                .next()
                .and_then(|number| number.parse().ok());
            let peer: usize = peer.expect("an alarm names a node");
            let is_explained = self.misses_a_node(node) || self.misses_a_node(peer);
            self.alarms += u64::from(!is_explained);
        }
        let Some(peer) = text.strip_suffix(": it does not confirm the end of its lesson") else {
            return;
        };
        let between = self.streams.iter().find(|stream| {
            let [dialler, target] = &stream.ends;
            let nodes = [dialler.node, target.node].map(|node| format!("peer n{node}"));
            stream.ends.iter().any(|end| end.node == node)
                && nodes.iter().any(|name| name == peer)
                && !stream.pending
                && !stream.gone
        });
        assert!(
            between.is_none_or(|stream| stream.stalled),
            "seed {}: n{node}: {peer} did not confirm its lesson over a connection that never stalled",
            self.seed
        );
    }

    fn serve(&mut self, index: usize) {
        if self.streams[index].gone {
            return;
        }
        if self.streams[index].pending {
            if self.streams[index].connected_at_ms <= self.now_ms {
                self.finish_connect(index);
            }
            return;
        }
        let sides = if self.random.below(2) == 0 {
            [0, 1]
        } else {
            [1, 0]
        };
        for side in sides {
            self.write_out(index, side);
            self.deliver(index, side);
        }
        let stream = &mut self.streams[index];
        stream.gone |= stream.ends.iter().all(|end| end.session.is_none());
    }

    fn finish_connect(&mut self, index: usize) {
        let stream = &mut self.streams[index];
        stream.pending = false;
        let target = stream.ends[1].node;
        let Some(session) = stream.ends[0].session else {
            stream.gone = true;
            return;
        };
        let is_local = stream.ends[0].node >= self.faults.nodes;
        let isolated = self
            .isolated
            .filter(|_| !is_local)
            .is_some_and(|node| stream.ends.iter().any(|end| end.node == node));
        if stream.refused || isolated || !self.nodes[target].up {
            return self.cut(index, "refused");
        }
        let now_ms = self.now_of(target);
        let node = &mut self.nodes[target];
        let Some(accepted) = node.group.accepted(None, now_ms, &mut node.tables) else {
            return self.cut(index, "closed");
        };
        node.connections.push((accepted, index));
        self.streams[index].ends[1].session = Some(accepted);
        let dialler = self.streams[index].ends[0].node;
        self.nodes[dialler].group.connected(session);
    }

    /// The session of `side` writes what fits into the stream.
    fn write_out(&mut self, index: usize, side: usize) {
        let stream = &mut self.streams[index];
        let (Some(session), node) = (stream.ends[side].session, stream.ends[side].node) else {
            return;
        };
        let direction = &mut stream.directions[1 - side];
        if direction.in_flight.len() >= STREAM_BYTES {
            return;
        }
        let room = if self.random.below(4) == 0 {
            64 + self.random.below(1000) as usize
        } else {
            self.output.len()
        };
        let out = &mut self.output[..room];
        let now_ms = self.now_ms + self.nodes[node].ahead_ms;
        let node_state = &mut self.nodes[node];
        let count = node_state
            .group
            .poll_output(session, out, now_ms, &mut node_state.tables);
        direction.in_flight.extend(&out[..count]);
        self.carry_out(node);
    }

    /// Some of what is in flight reaches the session of `side`.
    fn deliver(&mut self, index: usize, side: usize) {
        let stream = &mut self.streams[index];
        let direction = &mut stream.directions[side];
        if direction.stalled_until_ms > self.now_ms {
            return;
        }
        let available = direction
            .in_flight
            .len()
            .min(INPUT_BYTES - direction.received.len());
        let count = match self.random.below(3) {
            0 => (1 + self.random.below(30) as usize).min(available),
            1 => self.random.below(available as u64 + 1) as usize,
            _ => available,
        };
        direction
            .received
            .extend(direction.in_flight.drain(..count));
        let node = stream.ends[side].node;
        let Some(session) = stream.ends[side].session else {
            direction.received.clear();
            return;
        };
        let now_ms = self.now_ms + self.nodes[node].ahead_ms;
        let node_state = &mut self.nodes[node];
        let consumed = node_state.group.handle_input(
            session,
            &direction.received,
            now_ms,
            &mut node_state.tables,
        );
        direction.received.drain(..consumed.bytes);
        let ended = direction.closed && direction.in_flight.is_empty() && !consumed.more;
        self.carry_out(node);
        if ended {
            self.cut(index, "closed by the peer");
        }
    }
}
