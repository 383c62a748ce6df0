//! Users, as /etc/passwd has them: a static binary has no other source.

use std::fs;
use std::io;

/// Where they stand.
const PASSWD: &str = "/etc/passwd";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// Why a user is not known.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum Error {
    /// There is none.
    #[error("there is no user `{0}` in {PASSWD}")]
    Unknown(String),
    /// The file cannot be read.
    #[error("cannot read {PASSWD}, for the user `{user}`")]
    Read {
        /// Who is looked for.
        user: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Finds a user by name or number.
pub(super) fn find(user: &str) -> Result<User, Error> {
    let text = fs::read_to_string(PASSWD).map_err(|source| Error::Read { user: user.to_owned(), source })?;
    find_in(&text, user).ok_or_else(|| Error::Unknown(user.to_owned()))
}

fn find_in(passwd: &str, user: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        let home = fields.nth(1)?;
        let is_it = name == user || uid == user;
        let parsed = || {
            Some(User {
                name: name.into(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: home.into(),
            })
        };
        is_it.then(parsed).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\nweb:x:33:34:,:/srv:\nhalf:x:1\n";
        let web = User { name: "web".into(), uid: 33, gid: 34, home: "/srv".into() };
        assert_eq!(find_in(passwd, "web"), Some(web.clone()));
        assert_eq!(find_in(passwd, "33"), Some(web));
        assert_eq!(find_in(passwd, "half"), None);
        assert_eq!(
            find("no such user").unwrap_err().to_string(),
            "there is no user `no such user` in /etc/passwd"
        );
    }
}
