//! Pictures of a scripted host beside their texts: `golden/NAME.txt`. `UPDATE_GOLDEN=1` writes them
//! anew; look at the difference before you keep it.

use std::fs;
use std::path::Path;

use guard_core::resources::{GroupResources, Percent, Pressure, Stalled};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::*;
use crate::top::keys::Decoder;
use crate::top::once;
use crate::top::order::Wish;
use crate::top::state::State;
use crate::top::view;

fn paint(model: &Model, state: &mut State, width: u16, height: u16) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view::draw(&mut buffer, model, state, &context());
    buffer
}

/// The screen after some keys were pressed, each with a picture before the next, as in life.
fn pressed(model: &Model, keys: &str, width: u16, height: u16) -> Buffer {
    let mut state = State::default();
    let mut buffer = paint(model, &mut state, width, height);
    for key in Decoder::default().feed(keys.as_bytes()) {
        state.key(model, key);
        buffer = paint(model, &mut state, width, height);
    }
    buffer
}

fn compare(name: &str, shown: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/tests/golden").join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, shown).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == expected, "{name} is now:\n{shown}");
}

#[test]
fn screens_of_the_usual_size() {
    let mut model = host();
    let stall = |hundredths| Stalled { avg10: Percent { hundredths }, total_ns: 1 };
    let pressure = Some(Pressure { some: stall(1250), full: Some(stall(300)) });
    let whole = GroupResources {
        memory_bytes: Some(700 << 20),
        memory_limit_bytes: Some(1 << 30),
        memory_pressure: pressure,
        ..GroupResources::default()
    };
    model.group_used(&format!("/docker/{}", "0123456789abcdef".repeat(4)), whole);
    let screens = [
        ("tree", ""),
        ("list", "l"),
        ("groups", "g"),
        ("search", "l/java"),
        ("filter", "fworker\r"),
        ("deaths", "d"),
        ("failures", "dx"),
        ("help", "?"),
        ("process", "l\r"),
        ("group", "g\r"),
        ("dead", "dx\x1b[B\r"),
        ("hostile", "/pwned\r\r"),
    ];
    for (name, keys) in screens {
        compare(name, &view::text_of(&pressed(&model, keys, 80, 24)));
    }
}

#[test]
fn other_sizes() {
    let model = host();
    compare("wide", &view::text_of(&pressed(&model, "K", 160, 30)));
    compare("smallest", &view::text_of(&pressed(&model, "", 60, 12)));
    compare("too-small", &view::text_of(&pressed(&model, "", 40, 10)));
    // Whatever the size, nothing panics.
    for (width, height) in [(1, 1), (60, 11), (59, 12), (60, 13), (300, 12), (65, 200)] {
        for keys in ["", "d", "?", "\r", "g\r", "fx", "dd\r"] {
            pressed(&model, keys, width, height);
        }
    }
}

#[test]
fn losses_are_told_first_and_loudly() {
    let mut model = host();
    model.event(&gap(Kind::EXEC, 1_234));
    let buffer = pressed(&model, "", 80, 24);
    let line = view::text_of(&buffer).lines().nth(1).unwrap().to_owned();
    assert!(line.starts_with("LOST 1,234: 1,234 ring full"), "{line}");
    assert!(buffer.cell((0, 1)).unwrap().modifier.contains(Modifier::BOLD));
}

#[test]
fn colours_only_where_they_are_wanted() {
    let model = host();
    for color in [false, true] {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        let context = Context { palette: Palette { color }, ..context() };
        view::draw(&mut buffer, &model, &mut State::default(), &context);
        let colored = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert_eq!(colored, color);
    }
}

#[test]
fn nothing_hidden_reaches_the_screen() {
    let model = host();
    for keys in ["", "d", "/pwned\r\r", "d\r", "/\u{202e}", "f\x1b[2Jx"] {
        for cell in pressed(&model, keys, 120, 40).content() {
            assert!(
                !cell.symbol().chars().any(crate::show::escape::is_hidden),
                "{keys:?}: {:?}",
                cell.symbol()
            );
        }
    }
}

#[test]
fn once_has_room_for_all() {
    let text = view::once(&host(), &mut State::default(), &context(), 80);
    compare("once", &text);
}

#[test]
fn once_for_programs_has_the_names_of_the_stream() {
    let document = once::document(&host(), &Wish::default(), &context());
    let text = String::from_utf8(once::json_text(&document)).unwrap();
    assert!(text.is_ascii() && !text.trim_end().contains(char::is_control));
    compare("once-json", &text);
}
