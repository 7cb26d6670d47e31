//! `track-sc*`, `sc-inc-gpc*`, `sc-add-gpc`, `sc-set-gpt*`: the counters of stick tables (configuration manual, "http-request track-sc0").

use std::rc::Rc;

use super::scene::Scene;
use crate::sample::link::Link;
use crate::sample::stick_counters::{gpc, gpc_rate, gpt};
use crate::sample::{Expr, Value};
use crate::stick::tracked::Event;
use crate::stick::{DataType, Tracked};

/// `track-sc0 KEY [table TABLE]`: from now on the entry of that key counts what happens.
#[derive(Clone, Debug)]
pub struct Track {
    /// Which counter.
    pub number: u8,
    /// The connection tracks, not the request: `tcp-request connection` and `session`.
    pub by_connection: bool,
    /// The key.
    pub key: Expr,
    /// The table.
    pub table: Rc<Link>,
}

impl Track {
    /// Begins to track, unless the counter does already, for the request or for its connection. A request that has begun counts; so does the response that is there.
    pub(super) fn run(&self, scene: &mut Scene<'_>) {
        let Some(table) = self.table.target().map(|target| target.index) else {
            return;
        };
        let number = usize::from(self.number);
        let key = self
            .key
            .with_key(&mut scene.context(), table, |key, _| key.to_buf());
        let Some(key) = key else {
            return;
        };
        let is_taken = |tracked: &Option<&mut Tracked>| {
            let tracked = tracked.as_deref();
            tracked.is_some_and(|tracked| tracked.counter(number).is_some())
        };
        if is_taken(&scene.connection_tracked) {
            return;
        }
        let tracked = match self.by_connection {
            true => scene.connection_tracked.as_deref_mut(),
            false => scene.request_tracked.as_deref_mut(),
        };
        let Some(tracked) = tracked else {
            return;
        };
        let place = (table as u32, key.as_key());
        if !tracked.begin(number, place, scene.tables, scene.now_ms) {
            return;
        }
        let Some(counter) = tracked.counter(number) else {
            return;
        };
        if scene.is_request_counted {
            counter.count(Event::Request, scene.tables, scene.now_ms);
        } else {
            scene.notes.untold_counters |= 1 << number;
        }
        let status = scene.response.as_deref().map(|head| head.status);
        if let Some(event) = status.and_then(Event::of_status) {
            counter.count(event, scene.tables, scene.now_ms);
        }
    }
}

/// What a rule writes.
#[derive(Clone, Debug)]
pub enum Amount {
    /// A number.
    Number(u32),
    /// The value of an expression; none: nothing is written.
    Expr(Expr),
}

impl Amount {
    fn value(&self, scene: &mut Scene<'_>) -> Option<u32> {
        match self {
            Amount::Number(number) => Some(*number),
            Amount::Expr(expr) => match expr.eval_as_int(&mut scene.context())? {
                Value::Int(value) => Some(value as u32),
                _ => None,
            },
        }
    }
}

/// Which value of a tracked entry a rule changes, and how.
#[derive(Clone, Debug)]
pub enum Change {
    /// `sc-inc-gpc0`, `sc-inc-gpc1`, and `sc-inc-gpc` of an element, with their rates.
    Increment(Element),
    /// `sc-add-gpc(IDX,CTR) AMOUNT`
    Add(Element, Amount),
    /// `sc-set-gpt0`, and `sc-set-gpt` of an element.
    SetTag(Element, Amount),
}

/// A general purpose counter or tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `gpc0`, `gpc1`, `gpt0`: stored on its own or as an element of the array.
    Number(u32),
    /// An element of the array.
    Array(u32),
}

/// A change of what a tracked entry stores.
#[derive(Clone, Debug)]
pub struct ChangeCounter {
    /// Which counter.
    pub number: u8,
    /// The change.
    pub change: Change,
}

impl ChangeCounter {
    /// Does it, if the counter tracks an entry whose table stores the value.
    pub(super) fn run(&self, scene: &mut Scene<'_>) {
        let number = usize::from(self.number);
        let of = |tracked: &Option<&mut Tracked>| {
            tracked
                .as_deref()
                .and_then(|tracked| tracked.counter(number))
        };
        let Some(counter) = of(&scene.request_tracked).or(of(&scene.connection_tracked)) else {
            return;
        };
        let amount = match &self.change {
            Change::Increment(_) => Some(1),
            Change::Add(_, amount) | Change::SetTag(_, amount) => amount.value(scene),
        };
        let (Some(amount), now_ms, entry) = (amount, scene.now_ms, counter.entry) else {
            return;
        };
        let Some(table) = scene.tables.get_mut(counter.table as usize) else {
            return;
        };
        match self.change {
            Change::Increment(element) | Change::Add(element, _) => {
                let (count, rate) = match element {
                    Element::Number(number) => (gpc(table, number), gpc_rate(table, number)),
                    Element::Array(index) => ((DataType::Gpc, index), (DataType::GpcRate, index)),
                };
                table.rate_add(entry, rate.0, rate.1, amount, now_ms);
                table.add_value(entry, count.0, count.1, i64::from(amount));
            }
            Change::SetTag(element, _) => {
                let (data_type, index) = match element {
                    Element::Number(_) => (gpt(table), 0),
                    Element::Array(index) => (DataType::Gpt, index),
                };
                table.set_value(entry, data_type, index, u64::from(amount));
            }
        }
        table.touch_local(entry, now_ms);
    }
}
