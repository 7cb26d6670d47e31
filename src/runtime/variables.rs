//! Commands on variables of the process: `get var`, `set var` (management manual, 9.3).
//!
//! Not here: the variables (`sample::vars`).

use super::answer::Reply;
use super::context::Context;
use super::invocation::Invocation;
use crate::config::model::AccessLevel;
use crate::log::Severity;
use crate::sample::format::{Format, Purpose};
use crate::sample::{Context as Evaluation, Place, Scope, Value, VarScopes, parse_expr};

/// `get var NAME`.
pub fn get(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    let name = call.command.text(2);
    if name.is_empty() {
        return Reply::error("Missing process-wide variable identifier.");
    }
    let var = context.samples.known_variable(name);
    let var = var.filter(|var| var.scope == Scope::Proc);
    match var.and_then(|var| context.samples.show_process_variable(var)) {
        Some((kind, value)) => Reply::text(format_args!("{name}: type={kind} value=<{value}>")),
        None => Reply::error("Variable not found."),
    }
}

/// `set var NAME [expr] EXPR`, `set var NAME fmt FORMAT`: an expression of what the process itself knows.
pub fn set(call: &Invocation<'_>, context: &mut Context<'_>) -> Reply {
    if call.level < AccessLevel::Operator {
        return Reply::permission_denied();
    }
    if !call.modes.experimental {
        return Reply::error("This command is restricted to experimental mode only.");
    }
    let name = call.command.text(2);
    if name.is_empty() {
        return Reply::error("Missing process-wide variable identifier.");
    }
    let is_format = call.command.word(3) == b"fmt";
    let first = match call.command.word(3) {
        b"expr" | b"fmt" => 4,
        _ => 3,
    };
    let words: Vec<&[u8]> = call.options(first).collect();
    if words.is_empty() {
        return Reply::error("Missing either 'expr', 'fmt' or expression.");
    }
    let target = match context.samples.var_target(name.as_bytes()) {
        Ok(target) if target.var.scope == Scope::Proc => target,
        Ok(_) => {
            let text = format!(
                "'set var': cannot set variable '{name}', only scope 'proc' is permitted here."
            );
            return Reply::Message(Severity::Error, text);
        }
        Err(text) => return Reply::Message(Severity::Error, text),
    };
    if is_format {
        let places = [Place::CliParser];
        let parsed = Format::parse(words[0], Purpose::Rule, (&places, false), context.samples);
        let format = match parsed {
            Ok(format) => format,
            Err(text) => return Reply::Message(Severity::Error, text),
        };
        let mut cx = evaluation(context);
        let text = format.text(&mut cx);
        cx.vars.set(&target, Value::Str(text.as_bytes()));
        return Reply::Silent;
    }
    let expr = match parse_expr(&words, context.samples) {
        Ok((expr, _)) => expr,
        Err(error) => return Reply::Message(Severity::Error, error.to_string()),
    };
    if let Some(mut error) = expr.unavailable_in(Place::CliParser, "here") {
        let fetch = format!("fetch method '{}'", expr.fetch_name());
        let shown = format!("fetch method 'set-var({name})'");
        error.message = error.message.replacen(&fetch, &shown, 1);
        return Reply::Message(Severity::Error, error.message);
    }
    expr.set_variable(&mut evaluation(context), &target);
    Reply::Silent
}

/// What is known at the stats socket.
fn evaluation<'a>(context: &'a mut Context<'_>) -> Evaluation<'a> {
    let mut cx = Evaluation::new(context.now_ms, context.scratch);
    cx.wall_ms = context.wall_ms;
    cx.vars = VarScopes {
        process: Some(context.samples),
        ..VarScopes::default()
    };
    cx
}
