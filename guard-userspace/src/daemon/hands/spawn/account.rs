//! Users and groups by name or number, as /etc/passwd and /etc/group have them.
//!
//! Not by way of the name service: that may ask the network, and one service's users must not delay another's start.
//! A user that is known there only is named by number.

use std::fs;
use std::path::Path;

use super::error::StartError;

/// Who runs a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
    /// Name, home and shell, if the user has an entry.
    pub(super) entry: Option<Entry>,
}

/// What its entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) home: String,
    pub(super) shell: String,
}

/// Finds a user with its groups. `None`, if the policy names neither.
pub(super) fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, StartError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let read = |path: &str| fs::read_to_string(Path::new(path)).unwrap_or_default();
    parse(user, group, &read("/etc/passwd"), &read("/etc/group")).map(Some)
}

fn parse(user: Option<&str>, group: Option<&str>, passwd: &str, groups: &str) -> Result<Account, StartError> {
    let named = match group {
        Some(group) => Some(group_number(group, groups)?),
        None => None,
    };
    let Some(user) = user else {
        let own = rustix::process::getuid().as_raw();
        return Ok(Account { uid: own, gid: named.unwrap_or(0), groups: Vec::new(), entry: None });
    };
    let number: Option<u32> = user.parse().ok();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid: u32 = fields.nth(1)?.parse().ok()?;
        let gid: u32 = fields.next()?.parse().ok()?;
        if name != user && number != Some(uid) {
            return None;
        }
        let home = fields.nth(1)?.to_owned();
        let shell = fields.next().unwrap_or_default().to_owned();
        Some((uid, gid, Entry { name: name.to_owned(), home, shell }))
    });
    match (found, number) {
        (Some((uid, gid, entry)), _) => {
            let gid = named.unwrap_or(gid);
            let mut all = member_of(&entry.name, groups);
            all.retain(|&one| one != gid);
            Ok(Account { uid, gid, groups: all, entry: Some(entry) })
        }
        // As systemd has it: a number without an entry needs no group of its own.
        (None, Some(uid)) => Ok(Account { uid, gid: named.unwrap_or(uid), groups: Vec::new(), entry: None }),
        (None, None) => Err(StartError::NoUser(user.to_owned())),
    }
}

fn group_number(group: &str, groups: &str) -> Result<u32, StartError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == group).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| StartError::NoGroup(group.to_owned()))
}

fn member_of(user: &str, groups: &str) -> Vec<u32> {
    let of = |line: &str| {
        let mut fields = line.split(':');
        let gid = fields.nth(2)?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(gid)
    };
    groups.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:w,,,:/srv/web:/bin/bash\nbad\n:x:9:9\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\ntls:x:50:web,mail\nlogs:x:51:mail,web\nwebs:x:52:webs\n";

    fn found(user: Option<&str>, group: Option<&str>) -> Account {
        parse(user, group, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn users_and_groups_by_name_and_number() {
        let web = found(Some("web"), None);
        assert_eq!((web.uid, web.gid, web.groups.as_slice()), (33, 34, &[50, 51][..]));
        assert_eq!(web.entry.as_ref().unwrap().home, "/srv/web");
        assert_eq!(found(Some("33"), None), web);
        assert_eq!(found(Some("web"), Some("tls")).gid, 50);
        assert_eq!(found(Some("web"), Some("tls")).groups, [51]);
        let nobody = Account { uid: 4711, gid: 4711, groups: Vec::new(), entry: None };
        assert_eq!(found(Some("4711"), None), nobody);
        assert_eq!(found(Some("4711"), Some("7")).gid, 7);
        assert_eq!(found(None, Some("logs")).gid, 51);
    }

    #[test]
    fn who_does_not_exist_is_named() {
        let error = |user, group| parse(user, group, PASSWD, GROUP).unwrap_err().to_string();
        assert_eq!(
            error(Some("mail"), None),
            "user `mail` does not exist (it is not in /etc/passwd); create it: useradd --system mail"
        );
        assert_eq!(
            error(Some("web"), Some("x")),
            "group `x` does not exist (it is not in /etc/group); create it: groupadd --system x"
        );
    }
}
