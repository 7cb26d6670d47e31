//! `userlist` sections (configuration manual, section 3.4).
//!
//! Not here: how a request's user is checked (`sample::users`).

use super::diag::{Report, Severity};
use super::line::{Line, invalid_name};
use crate::sample::users::{Password, User, UserList};
use crate::sys::crypt;

/// A section while it is read.
#[derive(Debug, Default)]
pub(super) struct UserListDraft {
    list: UserList,
    /// Groups and the users that their lines name.
    members: Vec<(String, Vec<String>)>,
    is_ignored: bool,
}

/// The sections at work.
pub(super) struct UserListLines<'a> {
    pub lists: &'a mut Vec<UserListDraft>,
    pub report: &'a mut Report,
}

impl UserListLines<'_> {
    /// `userlist NAME`. What follows a header that was refused is read, and left.
    pub fn header(&mut self, line: &Line) -> usize {
        let (name, pos) = (line.arg(1), &line.pos);
        let letter = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "-_.:".contains(*c)));
        let mut is_ignored = true;
        if name.is_empty() {
            self.report
                .tight_alert(pos, "'userlist' expects <name> as arguments.");
        } else if let Some(letter) = letter {
            self.report.tight_alert(
                pos,
                format!("character '{letter}' is not permitted in 'userlist' name '{name}'."),
            );
        } else if self.lists.iter().any(|other| *other.list.name == *name) {
            self.warn(line, format!("ignoring duplicated userlist '{name}'."));
        } else {
            is_ignored = false;
        }
        self.lists.push(UserListDraft {
            list: UserList {
                name: name.into(),
                ..UserList::default()
            },
            members: Vec::new(),
            is_ignored,
        });
        self.lists.len() - 1
    }

    fn warn(&mut self, line: &Line, text: String) {
        let text = format!("parsing [{}:{}]: {text}", line.pos.file, line.pos.line);
        self.report.push(Severity::Warning, Some(&line.pos), text);
    }

    /// A line of a section.
    pub fn line(&mut self, index: usize, line: &Line) {
        let (word, name) = (line.arg(0), line.arg(1));
        let pos = &line.pos;
        if !matches!(word, "user" | "group") {
            self.report
                .tight_alert(pos, format!("unknown keyword '{word}' in 'users' section"));
            return;
        }
        if name.is_empty() {
            self.report
                .tight_alert(pos, format!("'{word}' expects <name> as arguments."));
            return;
        }
        if invalid_name(name, &format!("'{word}' name"), pos, self.report) {
            return;
        }
        let done = match word {
            "user" => self.user(index, line),
            _ => self.group(index, line),
        };
        if let Err(text) = done {
            self.report.tight_alert(pos, text);
        }
    }

    /// `group NAME [users USER,…]`.
    fn group(&mut self, index: usize, line: &Line) -> Result<(), String> {
        let name = line.arg(1);
        let list_name = self.lists[index].list.name.clone();
        if self.lists[index]
            .list
            .groups
            .iter()
            .any(|group| **group == *name)
        {
            let text = format!("ignoring duplicated group '{name}' in userlist '{list_name}'.");
            self.warn(line, text);
            return Ok(());
        }
        let draft = &mut self.lists[index];
        let mut members = Vec::new();
        let mut at = 2;
        while !line.arg(at).is_empty() {
            if line.arg(at) != "users" {
                return Err("'group' only supports 'users' option.".into());
            }
            members.extend(names(line.arg(at + 1)));
            at += 2;
        }
        draft.list.groups.push(name.into());
        draft.members.push((name.to_owned(), members));
        Ok(())
    }

    /// `user NAME [password|insecure-password WORD] [groups GROUP,…]`.
    fn user(&mut self, index: usize, line: &Line) -> Result<(), String> {
        let name = line.arg(1);
        let list_name = self.lists[index].list.name.clone();
        if self.lists[index]
            .list
            .users
            .iter()
            .any(|user| *user.name == *name)
        {
            let text = format!("ignoring duplicated user '{name}' in userlist '{list_name}'.");
            self.warn(line, text);
            return Ok(());
        }
        let mut user = User {
            name: name.into(),
            password: None,
            groups: Vec::new(),
        };
        let mut at = 2;
        while !line.arg(at).is_empty() {
            let value = line.arg(at + 1);
            match line.arg(at) {
                "password" => {
                    if !crypt::is_available() {
                        return Err(format!(
                            "user '{name}': there is no crypt library (libcrypt.so.1) on this system to check a 'password' with."
                        ));
                    }
                    user.password = Some(Password::Hashed(value.into()));
                }
                "insecure-password" => user.password = Some(Password::Plain(value.into())),
                "groups" => user.groups.extend(names(value).map(String::into_boxed_str)),
                _ => {
                    return Err("'user' only supports 'password', 'insecure-password' and 'groups' options.".into());
                }
            }
            at += 2;
        }
        self.lists[index].list.users.push(user);
        Ok(())
    }
}

fn names(text: &str) -> impl Iterator<Item = String> {
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
}

/// The lists, their groups and users matched.
pub(super) fn finish(drafts: Vec<UserListDraft>, report: &mut Report) -> Vec<UserList> {
    let mut lists = Vec::new();
    for UserListDraft {
        mut list,
        members,
        is_ignored,
    } in drafts
    {
        if is_ignored {
            continue;
        }
        let name = list.name.clone();
        for user in &list.users {
            if let Some(group) = user
                .groups
                .iter()
                .find(|group| !list.groups.contains(group))
            {
                let text = format!(
                    "userlist '{name}': no such group '{group}' specified in user '{}'",
                    user.name
                );
                report.push(Severity::Alert, None, text);
            }
        }
        for (group, users) in members {
            for member in users {
                match list.users.iter_mut().find(|user| *user.name == *member) {
                    Some(user) => user.groups.push(group.as_str().into()),
                    None => {
                        let text = format!(
                            "userlist '{name}': no such user '{member}' specified in group '{group}'"
                        );
                        report.push(Severity::Alert, None, text);
                    }
                }
            }
        }
        lists.push(list);
    }
    lists
}
