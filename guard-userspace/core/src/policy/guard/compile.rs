//! Text to a guard, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use cel::Program;

use super::{DEPTH, Fault, Guard, LENGTH, types};
use crate::policy::Code;

/// The stack of that thread, in bytes. Parser and type check recurse; with [`DEPTH`] levels they take less than a tenth
/// of this in a build without optimisation.
const STACK: usize = 8 << 20;

/// Compiles guards on a thread that is begun with the first one, and ends with the compiler.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    /// Closed to end the thread.
    asks: Option<SyncSender<Arc<str>>>,
    answers: Receiver<Result<Guard, Fault>>,
    thread: Option<JoinHandle<()>>,
}

impl Compiler {
    /// Checks a guard, and makes it ready to be asked.
    pub(crate) fn compile(&mut self, source: &Arc<str>) -> Result<Guard, Fault> {
        // What is too long or too deep never reaches the parser.
        bounded(source)?;
        let nowhere =
            || Fault::new(Code::Guard, "this condition could not be checked: no thread can be begun");
        if self.worker.is_none() {
            self.worker = Worker::begin();
        }
        let worker = self.worker.as_ref().ok_or_else(nowhere)?;
        let asked = worker.asks.as_ref().is_some_and(|asks| asks.send(source.clone()).is_ok());
        if !asked {
            return Err(nowhere());
        }
        worker.answers.recv().map_err(|_| nowhere())?
    }
}

impl Worker {
    fn begin() -> Option<Self> {
        let (asks, asked) = sync_channel::<Arc<str>>(1);
        let (answer, answers) = sync_channel(1);
        let work = move || {
            for source in asked {
                // The library is not ours: should it panic, that is a refusal.
                let made = catch_unwind(AssertUnwindSafe(|| compile(&source)));
                let made =
                    made.unwrap_or_else(|_| Err(Fault::new(Code::Guard, "this condition cannot be read")));
                if answer.send(made).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("guards".to_owned()).stack_size(STACK).spawn(work).ok()?;
        Some(Self { asks: Some(asks), answers, thread: Some(thread) })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.asks = None;
        if let Some(thread) = self.thread.take() {
            // It catches its panics: there is nothing to be told.
            let _ = thread.join();
        }
    }
}

fn compile(source: &Arc<str>) -> Result<Guard, Fault> {
    let program = Program::compile(source).map_err(|errors| syntax(source, &errors))?;
    types::check(&program)?;
    Ok(Guard { source: source.clone(), program: Arc::new(program) })
}

/// Says the first error in the syntax: the others follow from it more often than not.
fn syntax(source: &str, errors: &cel::ParseErrors) -> Fault {
    let Some(error) = errors.errors.first() else {
        return Fault::new(Code::Guard, "this is no condition in CEL");
    };
    let line = usize::try_from(error.pos.0.saturating_sub(1)).unwrap_or_default();
    let column = usize::try_from(error.pos.1.saturating_sub(1)).unwrap_or_default();
    let before: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let at = source
        .get(before..)
        .unwrap_or_default()
        .char_indices()
        .nth(column)
        .map_or(source.len(), |(at, _)| before + at);
    // The grammar's own names for all that could stand there help nobody.
    let why = error.msg.lines().next().unwrap_or_default();
    let why = why.strip_prefix("Syntax error: ").unwrap_or(why);
    let why = why.split(" expecting ").next().unwrap_or_default();
    let why = if why.contains("<EOF>") { "it ends too early" } else { why };
    Fault {
        part: Some((at, source.len().min(at + 1))),
        ..Fault::new(Code::Guard, format!("this is no condition in CEL: {why}"))
            .help("such as `restarts_left > 1 && state != \"degraded\"`")
    }
}

/// Refuses what is too long, or whose parts lie too deep inside each other.
fn bounded(source: &str) -> Result<(), Fault> {
    if source.len() > LENGTH {
        let message = format!("this condition has {} bytes; {LENGTH} are allowed", source.len());
        return Err(Fault::new(Code::GuardSize, message)
            .help("several short conditions, or a check of its own, are easier to read"));
    }
    let (mut depth, mut deepest) = (0_usize, 0);
    // Each sign can be a level of the tree, be it a bracket, a chain of `!` or of `?:`.
    let mut signs = 0_usize;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'!' | b'?' | b'-' => signs += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > DEPTH || signs > 4 * DEPTH {
        let message = format!("the parts of this condition lie more than {DEPTH} levels inside each other");
        return Err(Fault::new(Code::GuardSize, message)
            .help("several short conditions, or a check of its own, are easier to read"));
    }
    Ok(())
}
