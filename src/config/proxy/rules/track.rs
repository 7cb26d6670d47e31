//! Parsers of `track-sc*` and of the actions that change what a tracked entry stores.

use super::RuleWords;
use super::basic::Parsed;
use crate::rules::{Action, Amount, Change, ChangeCounter, Element, SetKind, Track};
use crate::sample::link::Link;

/// `track-sc0 KEY [table TABLE]`. In TCP rules HAProxy says which rule it is.
pub(super) fn track(words: &mut RuleWords) -> Parsed {
    let (word, set) = (words.word(), words.set);
    let is_http = matches!(set, SetKind::HttpRequest | SetKind::HttpResponse);
    begin(words, word).map_err(|text| match is_http {
        true => text,
        false => format!("'{} {word}' : {text}", set.words()),
    })
}

fn begin(words: &mut RuleWords, word: &str) -> Parsed {
    let digits = word.strip_prefix("track-sc").unwrap_or_default();
    let number = match digits {
        "" => 0,
        _ => digits
            .parse::<u32>()
            .map_err(|_| format!("Wrong track-sc number '{digits}'"))?,
    };
    let last = words.counters().saturating_sub(1);
    if number > last {
        return Err(format!(
            "{number} track-sc number exceeding {last} (MAX_SESS_STKCTR-1) value"
        ));
    }
    let key = words.expr()?;
    let mut name = "";
    if words.peek() == "table" {
        words.next();
        name = words.next();
        if name.is_empty() {
            return Err("missing table name".into());
        }
    }
    let table = Link::of_key(name, key.output_type(), word);
    Ok(Action::Track(Track {
        number: number as u8,
        by_connection: matches!(words.set, SetKind::TcpConnection | SetKind::TcpSession),
        key,
        table,
    }))
}

pub(super) fn inc_gpc(words: &mut RuleWords) -> Parsed {
    let (index, number) = element_and_counter(words, "gpc")?;
    changed(number, Change::Increment(Element::Array(index)))
}

pub(super) fn inc_gpc0(words: &mut RuleWords) -> Parsed {
    let number = counter(words, false)?;
    changed(number, Change::Increment(Element::Number(0)))
}

pub(super) fn inc_gpc1(words: &mut RuleWords) -> Parsed {
    let number = counter(words, false)?;
    changed(number, Change::Increment(Element::Number(1)))
}

pub(super) fn add_gpc(words: &mut RuleWords) -> Parsed {
    let (index, number) = element_and_counter(words, "gpc")?;
    let amount = amount(words)?;
    changed(number, Change::Add(Element::Array(index), amount))
}

pub(super) fn set_gpt(words: &mut RuleWords) -> Parsed {
    let (index, number) = element_and_counter(words, "gpt")?;
    let amount = amount(words)?;
    changed(number, Change::SetTag(Element::Array(index), amount))
}

pub(super) fn set_gpt0(words: &mut RuleWords) -> Parsed {
    let number = counter(words, true)?;
    let amount = amount(words)?;
    changed(number, Change::SetTag(Element::Number(0), amount))
}

fn changed(number: u8, change: Change) -> Parsed {
    Ok(Action::ChangeCounter(ChangeCounter { number, change }))
}

/// What stands in the parentheses of the action's word, and whether there are any; a closing one may be missing, as in HAProxy.
fn argument<'w>(words: &RuleWords<'w, '_>) -> (&'w str, Option<&'w str>) {
    let word = words.word();
    let argument = word.split_once('(').map(|(_, rest)| rest);
    (word, argument)
}

/// `(CTR)`; 0 without parentheses.
fn counter(words: &RuleWords, is_quoted: bool) -> Result<u8, String> {
    let (word, argument) = argument(words);
    let shown = if is_quoted {
        format!(" '{word}'")
    } else {
        String::new()
    };
    let Some(argument) = argument else {
        return Ok(0);
    };
    let number = argument
        .strip_suffix(')')
        .and_then(|number| number.parse::<u32>().ok());
    let Some(number) = number else {
        return Err(format!(
            "invalid stick table track ID{shown}. Expects {word}(<Track ID>)"
        ));
    };
    checked(words, number, &shown)
}

fn checked(words: &RuleWords, number: u32, shown: &str) -> Result<u8, String> {
    let last = words.counters().saturating_sub(1);
    if number > last {
        return Err(format!(
            "invalid stick table track ID{shown}. The max allowed ID is {last}"
        ));
    }
    Ok(number as u8)
}

/// `(IDX,CTR)`.
fn element_and_counter(words: &RuleWords, what: &str) -> Result<(u32, u8), String> {
    let (word, argument) = argument(words);
    let name = word.split_once('(').map_or(word, |(name, _)| name);
    let upper = what.to_ascii_uppercase();
    let expects = format!("Expects {name}(<{upper} ID>,<Track ID>)");
    let Some(argument) = argument else {
        return Err(format!("invalid {what} ID '{word}'. {expects}"));
    };
    let pair = argument
        .split_once(',')
        .and_then(|(index, rest)| Some((index.parse::<u32>().ok()?, rest)));
    let Some((index, rest)) = pair else {
        return Err(format!("Missing {what} ID '{word}'. {expects}"));
    };
    let number = rest
        .strip_suffix(')')
        .and_then(|number| number.parse::<u32>().ok());
    let Some(number) = number else {
        return Err(format!("invalid stick table track ID '{word}'. {expects}"));
    };
    let number = checked(words, number, &format!(" '{word}'"))?;
    Ok((index, number))
}

/// A number, or an expression.
fn amount(words: &mut RuleWords) -> Result<Amount, String> {
    if let Ok(number) = words.peek().parse::<i64>() {
        words.next();
        return Ok(Amount::Number(number as u32));
    }
    if matches!(words.peek(), "" | "if" | "unless") {
        return Ok(Amount::Number(0));
    }
    Ok(Amount::Expr(words.expr()?))
}
