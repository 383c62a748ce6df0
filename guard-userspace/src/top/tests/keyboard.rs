//! What keys do to the state.

use super::*;
use crate::top::keys::Decoder;
use crate::top::order::{Item, Sort, View};
use crate::top::state::{Ask, Focus, Page, State};

fn press(model: &Model, state: &mut State, keys: &str) -> Vec<Ask> {
    let mut decoder = Decoder::default();
    let mut keys = decoder.feed(keys.as_bytes());
    keys.extend(decoder.give_up());
    keys.into_iter().filter_map(|key| state.key(model, key)).collect()
}

fn selected(state: &State) -> u32 {
    match state.selected {
        Some(Item::Process(id)) => id.pid,
        _ => panic!("{:?}", state.selected),
    }
}

#[test]
fn keys_that_leave_the_state() {
    let (model, mut state) = (host(), State::default());
    assert_eq!(
        press(&model, &mut state, "q\x03\x1a\x0c"),
        [Ask::Quit, Ask::Quit, Ask::Suspend, Ask::Repaint]
    );
    assert_eq!(press(&model, &mut state, "/q\x03"), [Ask::Quit], "q is a letter in a prompt");
}

#[test]
fn sorting_goes_around() {
    let (model, mut state) = (host(), State::default());
    assert_eq!(state.wish.sort(), Sort::Pid);
    press(&model, &mut state, "l");
    assert_eq!(state.wish.sort(), Sort::Cpu);
    press(&model, &mut state, "s>");
    assert_eq!(state.wish.sort(), Sort::RunQueue);
    press(&model, &mut state, "<<<<");
    assert_eq!(state.wish.sort(), Sort::Age);
    press(&model, &mut state, "s");
    assert_eq!(state.wish.sort(), Sort::Pid);
    press(&model, &mut state, "Mr");
    assert_eq!((state.wish.sort(), state.wish.reverse), (Sort::Memory, true));
}

#[test]
fn moving_and_searching() {
    let (model, mut state) = (host(), State::default());
    press(&model, &mut state, "\x1b[B\x1b[B");
    assert_eq!(selected(&state), 501);
    press(&model, &mut state, "\x1b[F");
    assert_eq!(selected(&state), 950);
    press(&model, &mut state, "\x1b[H\x1b[A");
    assert_eq!(selected(&state), 1);
    press(&model, &mut state, "/WORKER\r");
    assert_eq!(selected(&state), 501);
    press(&model, &mut state, "n");
    assert_eq!(selected(&state), 951);
    press(&model, &mut state, "n");
    assert_eq!(selected(&state), 501, "around the end");
    press(&model, &mut state, "N");
    assert_eq!(selected(&state), 951);
    press(&model, &mut state, "/no such\r");
    assert_eq!(selected(&state), 951);
    assert_eq!(state.notice, None, "Enter ends the prompt and what it said");
    press(&model, &mut state, "n");
    assert_eq!(state.notice.as_deref(), Some("nothing matches"));
    press(&model, &mut state, "\x1b");
    assert_eq!(state.search, "");
}

#[test]
fn filters_work_while_they_are_typed_and_go_by_escape() {
    let (model, mut state) = (host(), State::default());
    press(&model, &mut state, "fJav");
    assert_eq!(state.wish.filter, "jav");
    press(&model, &mut state, "\x7fx\r");
    assert_eq!(state.wish.filter, "jax");
    press(&model, &mut state, "\x1b");
    assert_eq!(state.wish.filter, "");
    press(&model, &mut state, "fjava\x1b");
    assert_eq!(state.wish.filter, "");
}

#[test]
fn pages_open_and_close() {
    let (model, mut state) = (host(), State::default());
    press(&model, &mut state, "\x1b[B\r");
    assert!(matches!(&state.page, Page::Details(Item::Process(id)) if id.pid == 500));
    press(&model, &mut state, "\r");
    assert_eq!(state.page, Page::Table);
    press(&model, &mut state, "dx");
    assert_eq!((state.focus, state.failures_only), (Focus::Deaths, true));
    press(&model, &mut state, "\x1b[B\r");
    assert!(matches!(&state.page, Page::Details(Item::Process(id)) if id.pid == 502), "{:?}", state.page);
    press(&model, &mut state, "\x1b");
    press(&model, &mut state, "\x1b");
    assert_eq!((&state.page, state.focus), (&Page::Table, Focus::Table));
    press(&model, &mut state, "g\r");
    assert!(matches!(state.page, Page::Details(Item::Group(_))));
    press(&model, &mut state, "t");
    assert_eq!((&state.page, state.wish.view), (&Page::Table, View::Tree));
    press(&model, &mut state, "??");
    assert_eq!(state.page, Page::Table);
}

#[test]
fn the_selection_stays_with_its_process_or_its_place() {
    let (mut model, mut state) = (host(), State::default());
    press(&model, &mut state, "/java\r");
    assert_eq!(selected(&state), 700);
    press(&model, &mut state, "l");
    press(&model, &mut state, "s\x1b[A");
    press(&model, &mut state, "/java\r");
    assert_eq!(selected(&state), 700);
    let java = Arc::clone(&model.rows.values().find(|row| row.process.id.pid == 700).unwrap().process);
    model.event(&exit(&java, 1001, ExitStatus::Code(0), Cause::Own));
    let lines = crate::top::order::lines(&model, &state.wish);
    assert!(state.settle(&lines).is_some());
    assert_ne!(selected(&state), 700);
}
