//! User lists: who may come in, with which password, in which groups (configuration manual, section 3.4), and what a request says of
//! its user (`Authorization: Basic …`).
//!
//! Passwords are plain, or hashes that crypt(3) knows; a hash that is slow by design costs that time in the event loop, as in
//! HAProxy: keep the rounds low, or the lists for few.
//!
//! Not here: the lines of the section (`config`), the answer that asks for a password (`rules`).

use super::args::{Arg, Args};
use super::context::Context;
use super::cursor::Cursor;
use super::registry::Registry;
use super::value::Sample;
use crate::sys::crypt;
use std::rc::Rc;

/// A password as the configuration has it.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// `insecure-password`
    Plain(Box<str>),
    /// `password`: a hash of crypt(3).
    Hashed(Box<str>),
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Box<str>,
    /// The password; without one nobody is that user.
    pub password: Option<Password>,
    /// Groups that the user is in.
    pub groups: Vec<Box<str>>,
}

/// A `userlist` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserList {
    /// Its name.
    pub name: Box<str>,
    /// Its users.
    pub users: Vec<User>,
    /// The names of its groups.
    pub groups: Vec<Box<str>>,
}

impl UserList {
    /// The user of that name, if the password is right.
    pub(super) fn check(&self, name: &[u8], password: &[u8]) -> Option<&User> {
        let user = self
            .users
            .iter()
            .find(|user| user.name.as_bytes() == name)?;
        let is_right = match user.password.as_ref()? {
            Password::Plain(text) => is_same(text.as_bytes(), password),
            Password::Hashed(hash) => crypt::matches(password, hash),
        };
        is_right.then_some(user)
    }
}

/// Compares in a time that does not depend on where the first difference is.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differs = one
        .iter()
        .zip(other)
        .fold(0, |differs, (a, b)| differs | (a ^ b));
    one.len() == other.len() && differs == 0
}

/// Longest `user:password` that is looked at, bytes.
const CREDENTIALS_MAX: usize = 512;

/// What a request says of its user, decoded.
pub(super) struct Credentials {
    bytes: [u8; CREDENTIALS_MAX],
    colon: usize,
    end: usize,
}

impl Credentials {
    /// The name.
    pub fn user(&self) -> &[u8] {
        &self.bytes[..self.colon]
    }

    /// The password.
    pub fn password(&self) -> &[u8] {
        self.bytes.get(self.colon + 1..self.end).unwrap_or_default()
    }
}

fn header<'a>(cx: &Context<'a>, name: &'a [u8]) -> Option<&'a [u8]> {
    let view = cx.request?;
    view.head.headers.full_value(view.buffer, name, 1)
}

/// Method and value of the request's `Authorization`.
pub(super) fn authorization<'a>(cx: &Context<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let value = header(cx, b"authorization")?;
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (method, rest) = value.split_at(space);
    (!method.is_empty()).then(|| (method, rest.trim_ascii()))
}

/// User and password of a request with basic authentication.
pub(super) fn credentials(cx: &Context<'_>) -> Option<Credentials> {
    let (method, value) = authorization(cx)?;
    if !method.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut bytes = [0; CREDENTIALS_MAX];
    let end = decode(value, &mut bytes)?;
    let colon = bytes[..end].iter().position(|byte| *byte == b':')?;
    Some(Credentials { bytes, colon, end })
}

/// `http_auth(LIST)`: whether the request's user is in the list and has given the right password.
pub(super) fn http_auth<'a>(args: &'a [Arg], cx: &mut Context<'a>) -> Option<Sample<'a>> {
    let is_known = with_user(args, cx, |_| ()).is_some();
    cx.request?;
    Some(Sample::Bool(is_known))
}

/// `http_auth_group(LIST)`: the user; in an ACL each of the user's groups, to be compared with those that the ACL names.
pub(super) fn http_auth_group<'a>(
    args: &'a [Arg],
    cx: &mut Context<'a>,
    at: &mut Cursor,
) -> Option<Sample<'a>> {
    let wanted = at.each.then_some(at.line);
    let mut name = [0; CREDENTIALS_MAX];
    let (length, count) = with_user(args, cx, |user| {
        let text: &str = match wanted {
            Some(index) => user.groups.get(index).map_or("", |group| group),
            None => &user.name,
        };
        let length = text.len().min(CREDENTIALS_MAX);
        name[..length].copy_from_slice(&text.as_bytes()[..length]);
        (length, user.groups.len())
    })?;
    if let Some(index) = wanted {
        if index >= count {
            return None;
        }
        at.line = index + 1;
        at.more = at.line < count;
    }
    let bytes = cx.scratch.write(|out| out.push(&name[..length]))?;
    Some(Sample::Str(bytes))
}

fn with_user<T>(args: &[Arg], cx: &Context<'_>, look: impl FnOnce(&User) -> T) -> Option<T> {
    let Some(Arg::Users(link, registry)) = args.first() else {
        return None;
    };
    let lists = registry.user_lists();
    let list = lists.get(link.target()?.index)?;
    let credentials = credentials(cx)?;
    list.check(credentials.user(), credentials.password())
        .map(look)
}

/// `http_auth_user`, `http_auth_pass`.
pub(super) fn part<'a>(
    cx: &mut Context<'a>,
    part: fn(&Credentials) -> &[u8],
) -> Option<Sample<'a>> {
    let credentials = credentials(cx)?;
    let bytes = cx.scratch.write(|out| out.push(part(&credentials)))?;
    Some(Sample::Str(bytes))
}

/// `http_auth_type`: the word before the credentials, as HAProxy knows it.
pub(super) fn kind<'a>(cx: &Context<'a>) -> Option<Sample<'a>> {
    let (method, _) = authorization(cx)?;
    let known = [&b"Basic"[..], b"Bearer"];
    let word = known
        .into_iter()
        .find(|word| word.eq_ignore_ascii_case(method))?;
    Some(Sample::str(word))
}

/// `http_auth_bearer([HEADER])`: what follows `Bearer` in that header.
pub(super) fn bearer<'a>(args: &'a [Arg], cx: &Context<'a>) -> Option<Sample<'a>> {
    let value = match args.bytes(0) {
        b"" => {
            authorization(cx)
                .filter(|(method, _)| method.eq_ignore_ascii_case(b"bearer"))?
                .1
        }
        name => {
            let value = header(cx, name)?;
            let (method, rest) = value.split_at_checked(b"Bearer ".len())?;
            method
                .eq_ignore_ascii_case(b"bearer ")
                .then_some(rest.trim_ascii())?
        }
    };
    Some(Sample::str(value))
}

/// The first argument of `http_auth` names a list.
pub(super) fn check_list(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    if let Some(Arg::Name(link)) = args.first() {
        let link = Rc::clone(link);
        args[0] = Arg::Users(link, registry.clone());
    }
    Ok(())
}

/// Base64 into a buffer of fixed size; `None` where it is none, or too long.
fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let text = text.strip_suffix(b"=").unwrap_or(text);
    let (mut bits, mut count, mut end) = (0u32, 0, 0);
    for byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            *out.get_mut(end)? = (bits >> count) as u8;
            end += 1;
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        let check = |text: &str, expected: Option<&str>| {
            let mut out = [0; 8];
            let decoded = decode(text.as_bytes(), &mut out).map(|end| &out[..end]);
            assert_eq!(decoded, expected.map(str::as_bytes), "{text}");
        };
        check("YTpi", Some("a:b"));
        check("YTpiYw==", Some("a:bc"));
        check("YTpiY2Q=", Some("a:bcd"));
        check("YTpiYw", Some("a:bc"));
        check("", Some(""));
        check("Y!", None);
        check("YTpiYTpiYTpiYTpi", None);
    }

    #[test]
    fn passwords_are_compared() {
        let list = UserList {
            name: "l".into(),
            groups: Vec::new(),
            users: vec![
                User {
                    name: "plain".into(),
                    password: Some(Password::Plain("secret".into())),
                    groups: Vec::new(),
                },
                User {
                    name: "none".into(),
                    password: None,
                    groups: Vec::new(),
                },
            ],
        };
        assert!(list.check(b"plain", b"secret").is_some());
        assert!(list.check(b"plain", b"secrets").is_none());
        assert!(list.check(b"plain", b"").is_none());
        assert!(list.check(b"none", b"").is_none());
        assert!(list.check(b"other", b"secret").is_none());
    }
}
