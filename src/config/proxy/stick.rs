//! `stick on`, `stick match`, `stick store-request`, `stick store-response` (configuration manual, 4.2).
//!
//! Not here: whether the table exists and takes such keys (`resolve`).

use super::ProxyLines;
use super::doubts::Turn;
use super::simple::full_stop;
use crate::config::line::Line;
use crate::config::model::{Pos, StickKind};
use crate::sample::{self, Condition, Expr, Place};

/// A `stick` rule whose table is not looked up yet.
#[derive(Debug)]
pub(crate) struct StickDraft {
    pub kind: StickKind,
    pub expr: Expr,
    /// `table NAME`; the proxy's own without.
    pub table: Option<String>,
    pub condition: Option<Condition>,
    pub pos: Pos,
}

impl ProxyLines<'_> {
    /// `stick …`.
    pub fn stick_line(&mut self, index: usize, line: &Line) {
        match self.stick_rule(index, line) {
            Ok(rule) => self.proxies[index].stick_rules.push(rule),
            Err(text) => self.report.alert(&line.pos, text),
        }
    }

    fn stick_rule(&mut self, index: usize, line: &Line) -> Result<StickDraft, String> {
        let (kind, place, words) = match line.arg(1) {
            "on" => (
                StickKind::On,
                Place::BackendServerSelection,
                "during request",
            ),
            "match" => (
                StickKind::Match,
                Place::BackendServerSelection,
                "during request",
            ),
            "store-request" => (
                StickKind::StoreRequest,
                Place::BackendServerSelection,
                "during request",
            ),
            "store-response" => (
                StickKind::StoreResponse,
                Place::BackendStickStore,
                "for 'store-response'",
            ),
            "delete" => (
                StickKind::Delete,
                Place::BackendServerSelection,
                "during request or response",
            ),
            _ => return Err("'stick' expects 'on', 'match', or 'store'.".into()),
        };
        if line.arg(2).is_empty() {
            return Err("'stick' expects a fetch method.".into());
        }
        let (expr, used) = sample::parse_expr(line.from(2), self.registry)
            .map_err(|error| format!("'stick': {error}"))?;
        let (kind, place) = match kind {
            // It runs as soon as there is what it looks at.
            StickKind::Delete if expr.unavailable_in(place, words).is_some() => {
                (StickKind::DeleteResponse, Place::BackendStickStore)
            }
            kind => (kind, place),
        };
        if let Some(error) = expr.unavailable_in(place, words) {
            return Err(full_stop(format!("'stick': {error}")));
        }
        let mut at = 2 + used;
        let mut table = None;
        if line.arg(at) == "table" {
            table = Some(line.arg(at + 1).to_owned());
            at += 2;
        }
        let condition = match line.arg(at) {
            "" => None,
            "if" | "unless" => Some(self.rule_condition(index, line, at, place).map_err(
                |error| {
                    let what = "'stick': error detected while parsing sticking condition";
                    full_stop(format!("{what} : {error}"))
                },
            )?),
            other => return Err(format!("'stick': unknown keyword '{other}'.")),
        };
        if let Some(condition) = &condition {
            self.note_condition(index, Turn::Stick, condition, &line.pos);
        }
        Ok(StickDraft {
            kind,
            expr,
            table,
            condition,
            pos: line.pos.clone(),
        })
    }
}
