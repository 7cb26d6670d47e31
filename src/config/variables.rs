//! Variables in the `global` section: `set-var`, and the limits `tune.vars.*` (configuration manual, 3.1 and 3.2).
//!
//! Not here: how variables are kept (`sample::vars`).

use super::diag::Report;
use super::line::Line;
use crate::sample::format::{Format, Purpose};
use crate::sample::{
    Context, Place, Registry, Scope, Scratch, Value, VarScopes, VarTarget, parse_expr,
};

/// `set-var-fmt proc.NAME FORMAT`: evaluated here and now.
pub(super) fn set_var_text(
    line: &Line,
    registry: &Registry,
    (buffer_bytes, wall_ms): (u32, u64),
    report: &mut Report,
) {
    let pos = &line.pos;
    let Some(target) = process_variable(line, registry, report) else {
        return;
    };
    let places = [Place::ConfigParser];
    let format = match Format::parse(
        line.arg(2).as_bytes(),
        Purpose::Rule,
        (&places, false),
        registry,
    ) {
        Ok(format) => format,
        Err(error) => return report.alert(pos, error),
    };
    let mut scratch = Scratch::new(buffer_bytes as usize);
    let mut cx = process_context(registry, wall_ms, &mut scratch);
    let text = format.text(&mut cx);
    cx.vars.set(&target, Value::Str(text.as_bytes()));
}

/// What is known while the configuration is read.
fn process_context<'a>(
    registry: &'a Registry,
    wall_ms: u64,
    scratch: &'a mut Scratch,
) -> Context<'a> {
    let mut cx = Context::new(0, scratch);
    cx.wall_ms = wall_ms;
    cx.vars = VarScopes {
        process: Some(registry),
        ..VarScopes::default()
    };
    cx
}

/// `set-var proc.NAME EXPR`: evaluated here and now.
pub(super) fn set_var(
    line: &Line,
    registry: &Registry,
    (buffer_bytes, wall_ms): (u32, u64),
    report: &mut Report,
) {
    let pos = &line.pos;
    let Some(target) = process_variable(line, registry, report) else {
        return;
    };
    let (expr, used) = match parse_expr(line.from(2), registry) {
        Ok(parsed) => parsed,
        Err(error) => return report.alert(pos, error.to_string()),
    };
    if let Some(mut error) = expr.unavailable_in(Place::ConfigParser, "here") {
        let keyword = format!("fetch method 'set-var({})'", line.arg(1));
        let fetch = format!("fetch method '{}'", expr.fetch_name());
        error.message = error.message.replacen(&fetch, &keyword, 1);
        return report.alert(pos, error.to_string());
    }
    if !line.arg(2 + used).is_empty() {
        let extra = line.arg(2 + used);
        report.notice(
            pos,
            format!("'set-var' ignores '{extra}', as HAProxy does."),
        );
    }
    let mut scratch = Scratch::new(buffer_bytes as usize);
    let mut cx = process_context(registry, wall_ms, &mut scratch);
    expr.set_variable(&mut cx, &target);
}

/// The variable that the line names, which is one of the process. Its value must be there too.
fn process_variable(line: &Line, registry: &Registry, report: &mut Report) -> Option<VarTarget> {
    if line.arg(2).is_empty() {
        let text = format!(
            "'{}' requires a process-wide variable name ('proc.<name>') and a sample expression.",
            line.arg(0)
        );
        report.alert(&line.pos, text);
        return None;
    }
    match registry.var_target(line.arg(1).as_bytes()) {
        Ok(target) if target.var.scope == Scope::Proc => Some(target),
        Ok(_) => {
            let text = format!(
                "'{}': cannot set variable '{}', only scope 'proc' is permitted in the global section.",
                line.arg(0),
                line.arg(1)
            );
            report.alert(&line.pos, text);
            None
        }
        Err(error) => {
            report.alert(&line.pos, error);
            None
        }
    }
}

/// `tune.vars.*-max-size BYTES`; 0, as HAProxy's default, is no limit.
pub(super) fn limit(line: &Line, registry: &Registry, report: &mut Report) {
    let (keyword, text) = (line.arg(0), line.arg(1));
    let Ok(bytes) = text.parse::<i64>() else {
        if !text.is_empty() {
            report.alert(&line.pos, format!("{keyword}: '{text}' is an invalid size"));
        }
        return;
    };
    let mut limits = registry.var_limits();
    let limit = usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    match keyword {
        "tune.vars.global-max-size" => limits.global = limit,
        "tune.vars.proc-max-size" => limits.proc = limit,
        "tune.vars.sess-max-size" => limits.sess = limit,
        "tune.vars.txn-max-size" => limits.txn = limit,
        _ => limits.reqres = limit,
    }
    registry.limit_vars(limits);
}
