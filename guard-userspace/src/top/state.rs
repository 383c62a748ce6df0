//! What the person at the keyboard chose: view, order, filter, selection, open pages.

use std::sync::Arc;

use guard_core::ids::ProcId;

use super::keys::{Command, Key, Step, command};
use super::model::Model;
use super::order::{self, Item, Line, Sort, View, Wish};

/// Longest text of a prompt, in letters.
const PROMPT_LETTERS: usize = 200;

/// What the screen shows beside header and status line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// The table, and the newest deaths below it.
    #[default]
    Table,
    /// One process, living or dead, or one group.
    Details(Item),
    /// The keys.
    Help,
}

/// What is moved by the arrow keys on the table's page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Focus {
    #[default]
    Table,
    Deaths,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    pub(super) purpose: Purpose,
    pub(super) text: String,
}

/// What a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Search,
    Filter,
}

/// What is to be done outside of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Quit,
    Suspend,
    /// Paint everything again.
    Repaint,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) wish: Wish,
    pub(super) search: String,
    pub(super) prompt: Option<Prompt>,
    pub(super) page: Page,
    pub(super) focus: Focus,
    pub(super) failures_only: bool,
    pub(super) paused: bool,
    /// What to tell once, in the status line.
    pub(super) notice: Option<String>,
    pub(super) selected: Option<Item>,
    /// Where the selection was, for when its line is gone.
    position: usize,
    pub(super) death: Option<ProcId>,
    /// First line of the table that is on the screen.
    pub(super) first: usize,
    /// First line shown of a page that is longer than the screen.
    pub(super) scroll: usize,
    /// Lines of a page, as last drawn: how far a page key goes.
    pub(super) page_lines: usize,
    /// Furthest that [`State::scroll`] may go, as last drawn.
    pub(super) scroll_limit: usize,
}

impl State {
    /// Takes in a key.
    pub(super) fn key(&mut self, model: &Model, key: Key) -> Option<Ask> {
        self.notice = None;
        if self.prompt.is_some() {
            return self.type_in(model, key);
        }
        let command = command(key)?;
        match command {
            Command::Quit => return Some(Ask::Quit),
            Command::Suspend => return Some(Ask::Suspend),
            Command::Redraw => return Some(Ask::Repaint),
            Command::Help => self.open(Page::Help),
            Command::Pause => self.paused = !self.paused,
            Command::View(view) => self.view(view),
            Command::Sort(sort) => self.wish.sort = Some(sort),
            Command::NextSort(by) => self.next_sort(by),
            Command::Reverse => self.wish.reverse = !self.wish.reverse,
            Command::Search => self.ask(Purpose::Search, String::new()),
            Command::Filter => self.ask(Purpose::Filter, self.wish.filter.clone()),
            Command::NextMatch => self.find(model, 1),
            Command::PreviousMatch => self.find(model, -1),
            Command::Deaths => self.deaths(model),
            Command::Failures => self.failures_only = !self.failures_only,
            Command::KernelThreads => self.wish.kernel_threads = !self.wish.kernel_threads,
            Command::Details => self.details(model),
            Command::Back => self.back(),
            Command::Move(step) => self.step(model, step),
        }
        None
    }

    /// Keeps the selection on something that is there. Gives the index of its line.
    pub(super) fn settle(&mut self, lines: &[Line]) -> Option<usize> {
        let found = self.selected.as_ref().and_then(|item| lines.iter().position(|line| line.item == *item));
        let at = found.unwrap_or(self.position).min(lines.len().saturating_sub(1));
        self.select(lines, at);
        (!lines.is_empty()).then_some(at)
    }

    /// Path of the control group whose details are on the screen.
    pub(super) fn looked_at(&self, model: &Model) -> Option<Arc<str>> {
        let Page::Details(Item::Group(key)) = &self.page else { return None };
        model.groups.get(key).map(|group| Arc::clone(&group.path))
    }

    fn select(&mut self, lines: &[Line], at: usize) {
        self.position = at;
        self.selected = lines.get(at).map(|line| line.item.clone());
    }

    fn open(&mut self, page: Page) {
        self.page = if self.page == page { Page::Table } else { page };
        self.scroll = 0;
    }

    fn view(&mut self, view: View) {
        self.wish.view = view;
        self.page = Page::Table;
        self.focus = Focus::Table;
    }

    fn next_sort(&mut self, by: isize) {
        let sorts = Sort::ALL;
        let now = sorts.iter().position(|sort| *sort == self.wish.sort()).unwrap_or(0);
        let next = (now + sorts.len()).saturating_add_signed(by) % sorts.len();
        self.wish.sort = sorts.get(next).copied();
    }

    fn ask(&mut self, purpose: Purpose, text: String) {
        self.page = Page::Table;
        self.focus = Focus::Table;
        self.prompt = Some(Prompt { purpose, text });
    }

    /// A key within a prompt. The filter works while it is typed; a search goes to the first match.
    fn type_in(&mut self, model: &Model, key: Key) -> Option<Ask> {
        let mut prompt = self.prompt.take()?;
        match key {
            Key::Control('c') => return Some(Ask::Quit),
            Key::Control('z') => {
                self.prompt = Some(prompt);
                return Some(Ask::Suspend);
            }
            Key::Enter => return None,
            Key::Escape => {
                match prompt.purpose {
                    Purpose::Search => self.search.clear(),
                    Purpose::Filter => self.wish.filter.clear(),
                }
                return None;
            }
            Key::Backspace => drop(prompt.text.pop()),
            Key::Control('u') => prompt.text.clear(),
            Key::Char(letter) if prompt.text.chars().count() < PROMPT_LETTERS => prompt.text.push(letter),
            _ => {}
        }
        let text = prompt.text.to_lowercase();
        let purpose = prompt.purpose;
        self.prompt = Some(prompt);
        match purpose {
            Purpose::Filter => self.wish.filter = text,
            Purpose::Search => {
                self.search = text;
                self.find(model, 0);
            }
        }
        None
    }

    /// Goes to the next line (by 1), the one before (by -1) or the first from here (by 0) that
    /// matches the search, around the end.
    fn find(&mut self, model: &Model, by: isize) {
        if self.search.is_empty() {
            self.notice = Some("nothing to search for: type / and a text".to_owned());
            return;
        }
        let lines = order::lines(model, &self.wish);
        let Some(now) = self.settle(&lines) else { return };
        let count = lines.len();
        let backwards = by < 0;
        let first = usize::from(by != 0);
        let mut places = (first..count + first).map(|step| {
            let step = step % count;
            if backwards { (now + count - step) % count } else { (now + step) % count }
        });
        let found = places
            .find(|&at| lines.get(at).is_some_and(|line| order::matches(model, &line.item, &self.search)));
        match found {
            Some(at) => self.select(&lines, at),
            None => self.notice = Some("nothing matches".to_owned()),
        }
    }

    fn deaths(&mut self, model: &Model) {
        if self.page != Page::Table {
            self.page = Page::Table;
            self.focus = Focus::Deaths;
        } else {
            self.focus = if self.focus == Focus::Deaths { Focus::Table } else { Focus::Deaths };
        }
        self.death =
            order::deaths(model, &self.wish, self.failures_only).first().map(|death| death.process.id);
    }

    fn details(&mut self, model: &Model) {
        if self.page != Page::Table {
            return self.back();
        }
        // Keys may come faster than pictures, and the view have changed since the last one.
        self.settle(&order::lines(model, &self.wish));
        let item = match self.focus {
            Focus::Table => self.selected.clone(),
            Focus::Deaths => self.death.map(Item::Process),
        };
        match item {
            Some(item) => self.open(Page::Details(item)),
            None => self.notice = Some("nothing is selected".to_owned()),
        }
    }

    /// Closes what is open; last of all, the filter.
    fn back(&mut self) {
        if self.page != Page::Table {
            self.page = Page::Table;
        } else if self.focus == Focus::Deaths {
            self.focus = Focus::Table;
        } else if !self.search.is_empty() {
            self.search.clear();
        } else {
            self.wish.filter.clear();
        }
    }

    fn step(&mut self, model: &Model, step: Step) {
        let page = isize::try_from(self.page_lines.max(2) - 1).unwrap_or(isize::MAX);
        let moved = |from: usize, last: usize| {
            let to = match step {
                Step::Lines(lines) => from.saturating_add_signed(lines),
                Step::Pages(pages) => from.saturating_add_signed(pages.saturating_mul(page)),
                Step::First => 0,
                Step::Last => last,
            };
            to.min(last)
        };
        if self.page != Page::Table {
            self.scroll = moved(self.scroll, self.scroll_limit);
            return;
        }
        match self.focus {
            Focus::Table => {
                let lines = order::lines(model, &self.wish);
                if let Some(now) = self.settle(&lines) {
                    self.select(&lines, moved(now, lines.len() - 1));
                }
            }
            Focus::Deaths => {
                let deaths = order::deaths(model, &self.wish, self.failures_only);
                let now = deaths.iter().position(|death| Some(death.process.id) == self.death);
                let to = moved(now.unwrap_or(0), deaths.len().saturating_sub(1));
                self.death = deaths.get(to).map(|death| death.process.id);
            }
        }
    }
}
