//! Patterns of paths: `*` stands for anything but a slash, `**` for anything.

/// Whether a path fits a pattern. Both are bytes; every byte but `*` stands for itself. Takes time in proportion to the product of
/// both lengths at worst.
pub(super) fn matches(pattern: &[u8], path: &[u8]) -> bool {
    let (mut pattern_at, mut path_at) = (0, 0);
    // Where to go on if what follows a star does not fit: behind the star, one byte more taken by it. A `**` can take whatever
    // an earlier `*` could, so only the last `**` and the last `*` after that are gone back to.
    let mut star: Option<(usize, usize)> = None;
    let mut stars: Option<(usize, usize)> = None;
    loop {
        let next = pattern.get(pattern_at).copied();
        if next == Some(b'*') {
            let double = pattern.get(pattern_at + 1) == Some(&b'*');
            pattern_at += 1 + usize::from(double);
            if double {
                (stars, star) = (Some((pattern_at, path_at)), None);
            } else {
                star = Some((pattern_at, path_at));
            }
            continue;
        }
        let byte = path.get(path_at).copied();
        if next.is_none() && byte.is_none() {
            return true;
        }
        if next.is_some() && next == byte {
            pattern_at += 1;
            path_at += 1;
            continue;
        }
        // It does not fit: the last star takes one byte more, if it may; else the last double star does.
        let taken = |at: &usize| path.get(*at).copied();
        if let Some((behind, at)) = star.filter(|(_, at)| taken(at).is_some_and(|byte| byte != b'/')) {
            (pattern_at, path_at, star) = (behind, at + 1, Some((behind, at + 1)));
        } else if let Some((behind, at)) = stars.filter(|(_, at)| taken(at).is_some()) {
            (pattern_at, path_at) = (behind, at + 1);
            (stars, star) = (Some((behind, at + 1)), None);
        } else {
            return false;
        }
    }
}
