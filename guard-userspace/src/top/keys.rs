//! From the bytes that a terminal sends to keys, and from keys to commands.

use super::order::{Sort, View};

/// A key, as far as this program knows any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    /// A letter held down with Ctrl.
    Control(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

/// What a key asks for outside of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Suspend,
    Redraw,
    Help,
    Pause,
    View(View),
    Sort(Sort),
    /// By how many columns to the right (negative: to the left).
    NextSort(isize),
    Reverse,
    Search,
    NextMatch,
    PreviousMatch,
    Filter,
    Deaths,
    Failures,
    KernelThreads,
    Details,
    Back,
    Move(Step),
}

/// How far to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Lines down; negative: up.
    Lines(isize),
    /// Pages down; negative: up.
    Pages(isize),
    First,
    Last,
}

/// What a key means.
pub(super) const fn command(key: Key) -> Option<Command> {
    Some(match key {
        Key::Char('q') | Key::Control('c') => Command::Quit,
        Key::Control('z') => Command::Suspend,
        Key::Control('l') => Command::Redraw,
        Key::Char('?' | 'h') => Command::Help,
        Key::Char(' ') => Command::Pause,
        Key::Char('t') => Command::View(View::Tree),
        Key::Char('l') => Command::View(View::List),
        Key::Char('g') => Command::View(View::Groups),
        Key::Char('s' | '>' | '.') | Key::Right => Command::NextSort(1),
        Key::Char('<' | ',') | Key::Left => Command::NextSort(-1),
        Key::Char('P') => Command::Sort(Sort::Cpu),
        Key::Char('M') => Command::Sort(Sort::Memory),
        Key::Char('r') => Command::Reverse,
        Key::Char('/') => Command::Search,
        Key::Char('n') => Command::NextMatch,
        Key::Char('N') => Command::PreviousMatch,
        Key::Char('f') => Command::Filter,
        Key::Char('d') | Key::Tab => Command::Deaths,
        Key::Char('x') => Command::Failures,
        Key::Char('K') => Command::KernelThreads,
        Key::Enter => Command::Details,
        Key::Escape | Key::Backspace => Command::Back,
        Key::Up | Key::Char('k') => Command::Move(Step::Lines(-1)),
        Key::Down | Key::Char('j') => Command::Move(Step::Lines(1)),
        Key::PageUp => Command::Move(Step::Pages(-1)),
        Key::PageDown => Command::Move(Step::Pages(1)),
        Key::Home => Command::Move(Step::First),
        Key::End => Command::Move(Step::Last),
        Key::Char(_) | Key::Control(_) => return None,
    })
}

/// Longest sequence that is waited for; a longer one is no key that we know.
const SEQUENCE_BYTES: usize = 16;

/// Turns bytes into keys. A sequence may be cut anywhere between two reads.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    pending: Vec<u8>,
}

/// What the first bytes of a buffer are.
enum Head {
    Key(Key, usize),
    /// Nothing that we know, so many bytes long.
    Strange(usize),
    /// More bytes are needed to tell.
    Cut,
}

impl Decoder {
    /// Takes in what was read, and gives the keys that are complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            let length = match head(rest) {
                Head::Key(key, length) => {
                    keys.push(key);
                    length
                }
                Head::Strange(length) => length,
                Head::Cut if rest.len() < SEQUENCE_BYTES => break,
                Head::Cut => rest.len(),
            };
            rest = rest.get(length..).unwrap_or_default();
        }
        let left = rest.len();
        self.pending.drain(..self.pending.len() - left);
        keys
    }

    /// Whether the end of a sequence is waited for.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Nothing more came: a lone escape is the key of that name, anything else is dropped.
    pub(super) fn give_up(&mut self) -> Option<Key> {
        let lone = self.pending == [0x1b];
        self.pending.clear();
        lone.then_some(Key::Escape)
    }
}

fn head(bytes: &[u8]) -> Head {
    match bytes {
        [0x1b] | [0x1b, b'[' | b'O'] => Head::Cut,
        [0x1b, b'[', rest @ ..] => control_sequence(rest),
        [0x1b, b'O', last, ..] => named(*last, &[]).map_or(Head::Strange(3), |key| Head::Key(key, 3)),
        // Alt with a letter, or Escape and a letter in one read: the Escape is what matters.
        [0x1b, ..] => Head::Key(Key::Escape, 1),
        [b'\r' | b'\n', ..] => Head::Key(Key::Enter, 1),
        [b'\t', ..] => Head::Key(Key::Tab, 1),
        [0x7f | 0x08, ..] => Head::Key(Key::Backspace, 1),
        [letter @ 1..=26, ..] => Head::Key(Key::Control((letter + b'a' - 1).into()), 1),
        [0..=0x1f, ..] => Head::Strange(1),
        _ => letter(bytes),
    }
}

/// What follows `ESC [`: parameters, then one final byte.
fn control_sequence(rest: &[u8]) -> Head {
    let Some(end) = rest.iter().position(|byte| matches!(byte, 0x40..=0x7e)) else { return Head::Cut };
    let (parameters, last) = (rest.get(..end).unwrap_or_default(), rest.get(end).copied().unwrap_or(0));
    named(last, parameters).map_or(Head::Strange(end + 3), |key| Head::Key(key, end + 3))
}

/// Keys with names, as xterm, rxvt and the Linux console send them.
const fn named(last: u8, parameters: &[u8]) -> Option<Key> {
    Some(match (last, parameters) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', [b'1' | b'7']) => Key::Home,
        (b'F', _) | (b'~', [b'4' | b'8']) => Key::End,
        (b'~', [b'5']) => Key::PageUp,
        (b'~', [b'6']) => Key::PageDown,
        (b'M', []) => Key::Enter,
        _ => return None,
    })
}

/// A letter in UTF-8.
fn letter(bytes: &[u8]) -> Head {
    let chunk = bytes.utf8_chunks().next();
    let (valid, invalid) = chunk.map_or(("", [].as_slice()), |chunk| (chunk.valid(), chunk.invalid()));
    match valid.chars().next() {
        Some(letter) => Head::Key(Key::Char(letter), letter.len_utf8()),
        None if invalid.len() == bytes.len() && invalid.len() < 4 => match bytes.first() {
            // The beginning of a longer letter.
            Some(0xc2..=0xf4) => Head::Cut,
            _ => Head::Strange(1),
        },
        None => Head::Strange(invalid.len().max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        let mut decoder = Decoder::default();
        let mut keys = decoder.feed(bytes);
        keys.extend(decoder.give_up());
        keys
    }

    #[test]
    fn keys_of_common_terminals() {
        assert_eq!(
            keys(b"q \r\x7f\x03\t"),
            [Key::Char('q'), Key::Char(' '), Key::Enter, Key::Backspace, Key::Control('c'), Key::Tab]
        );
        assert_eq!(keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~"), [Key::Up, Key::Down, Key::PageUp, Key::PageDown]);
        assert_eq!(
            keys(b"\x1b[H\x1b[1~\x1bOH\x1b[F\x1b[4~"),
            [Key::Home, Key::Home, Key::Home, Key::End, Key::End]
        );
        assert_eq!(keys("/é日".as_bytes()), [Key::Char('/'), Key::Char('é'), Key::Char('日')]);
        assert_eq!(keys(b"\x1b"), [Key::Escape]);
        assert_eq!(keys(b"\x1bq"), [Key::Escape, Key::Char('q')]);
    }

    #[test]
    fn what_is_unknown_is_dropped_whole() {
        assert_eq!(keys(b"\x1b[15~\x1b[1;5Xx\x1bOPy"), [Key::Char('x'), Key::Char('y')]);
        assert_eq!(keys(b"\xff\xfeq\x1cz"), [Key::Char('q'), Key::Char('z')]);
        let mut decoder = Decoder::default();
        assert_eq!(decoder.feed(&[b"\x1b[".as_slice(), &[b'1'; 40]].concat()), [], "endless");
        assert_eq!(decoder.feed(b"q"), [Key::Char('q')]);
    }

    #[test]
    fn a_sequence_may_be_cut_anywhere() {
        for sequence in [b"\x1b[5~".as_slice(), b"\x1bOA", "日".as_bytes()] {
            let whole = keys(sequence);
            for at in 1..sequence.len() {
                let mut decoder = Decoder::default();
                assert_eq!(decoder.feed(&sequence[..at]), []);
                assert!(decoder.is_waiting());
                assert_eq!(decoder.feed(&sequence[at..]), whole, "{at}");
                assert!(!decoder.is_waiting());
            }
        }
    }
}
