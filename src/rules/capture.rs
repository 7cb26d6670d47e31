//! `capture`: a sample into a slot of the frontend's captures (configuration manual, "http-request capture").

use super::scene::Scene;
use crate::sample::Expr;

/// `capture EXPR len N` or `capture EXPR id N`.
#[derive(Clone, Debug)]
pub struct Capture {
    /// What is captured.
    pub expr: Expr,
    /// Index of the slot.
    pub slot: usize,
    /// Among those of the request.
    pub is_request: bool,
}

impl Capture {
    /// Captures it; without a value, or without such a slot, nothing happens.
    pub(super) fn run(&self, scene: &mut Scene<'_>) {
        let mut cx = scene.context();
        // Out of the context's reach while a value is borrowed from it.
        let Some(captures) = cx.captures.take() else {
            return;
        };
        let set = match self.is_request {
            true => &mut captures.request,
            false => &mut captures.response,
        };
        if let Some(value) = self.expr.eval(&mut cx) {
            value.write_text(|text| set.set(self.slot, text));
        }
    }
}
