//! What the model makes of events and samples.

use guard_core::event::{Cause, ExitStatus, Oom};

use super::*;
use crate::top::order::{self, Item, Sort, View, Wish};

fn restarts(model: &Model, process: &Process) -> u32 {
    model.restarts(model.rows.get(&process.id).unwrap())
}

fn pids(model: &Model, wish: &Wish) -> Vec<u32> {
    let pid = |line: order::Line| match line.item {
        Item::Process(id) => id.pid,
        Item::Group(_) => 0,
    };
    order::lines(model, wish).into_iter().map(pid).collect()
}

#[test]
fn a_life_from_fork_to_exit() {
    let mut model = Model::new(Vec::new());
    let shell = process(1, 1, None, b"bash", &[b"bash"]);
    model.reconcile([&shell].into_iter());
    model.tick(5 * S);
    let child = process(7, 6, Some(&shell), b"job", &[b"job"]);
    model.event(&fork(&child));
    model.event(&exec(&child));
    assert_eq!(model.rows.len(), 2);
    model.sample(used(&child, 8, 500, 1));
    let share = model.rows.get(&child.id).unwrap().cpu_percent().unwrap();
    assert!((24.9..25.1).contains(&share), "half a second of two: {share}");
    model.sample(used(&child, 9, 1500, 1));
    assert_eq!(model.rows.get(&child.id).unwrap().cpu_percent(), Some(100.0));
    let (status, cause) = killed_by(&shell);
    model.event(&exit(&child, 10, status, cause));
    assert_eq!(model.rows.len(), 1);
    let death = model.death(child.id).unwrap();
    let actions: Vec<_> = death.timeline.moments.iter().map(|moment| moment.action.name()).collect();
    assert_eq!(actions, ["fork", "exec", "exit"]);
    // The out-of-memory killer's word comes behind the exit.
    model.event(&event(10 * S, Action::Oom { process: Arc::clone(&child), oom: Oom::default() }));
    assert_eq!(model.rows.len(), 1, "the dead stay dead");
    assert_eq!(model.death(child.id).unwrap().timeline.moments.len(), 4);
}

#[test]
fn who_ran_before_us_needs_two_samples() {
    let mut model = Model::new(Vec::new());
    let old = process(1, 1, None, b"old", &[b"old"]);
    model.reconcile([&old].into_iter());
    model.tick(100 * S);
    model.sample(used(&old, 100, 50_000, 1));
    assert_eq!(model.rows.get(&old.id).unwrap().cpu_percent(), None);
    model.sample(used(&old, 101, 50_100, 1));
    assert_eq!(model.rows.get(&old.id).unwrap().cpu_percent(), Some(10.0));
}

#[test]
fn a_service_that_comes_back_is_one_restart() {
    let mut model = Model::new(Vec::new());
    let init = process(1, 1, None, b"systemd", &[b"init"]);
    let first = process(5, 2, Some(&init), b"web", &[b"web"]);
    model.reconcile([&init, &first].into_iter());
    model.tick(10 * S);
    assert_eq!(restarts(&model, &first), 0);
    model.event(&exit(&first, 11, ExitStatus::Code(1), Cause::Own));
    let second = process(6, 12, Some(&init), b"web", &[b"web"]);
    model.event(&fork(&within(
        &Arc::new(Process { program: init.program.clone(), ..Process::clone(&second) }),
        unit("app.service"),
    )));
    model.event(&exec(&second));
    assert_eq!(restarts(&model, &second), 1);
}

#[test]
fn a_worker_that_is_forked_anew_is_a_restart_and_a_subshell_is_not() {
    let mut model = Model::new(Vec::new());
    let master = process(5, 2, None, b"master", &[b"master"]);
    model.reconcile([&master].into_iter());
    model.tick(10 * S);
    // Like a shell: forks that end at once, without an exec, by themselves.
    for pid in 20..30 {
        let short = process(pid, 11, Some(&master), b"master", &[b"master"]);
        model.event(&fork(&short));
        model.event(&exit(&short, 11, ExitStatus::Code(0), Cause::Own));
    }
    let worker = process(31, 12, Some(&master), b"master", &[b"master"]);
    model.event(&fork(&worker));
    model.tick(15 * S);
    assert_eq!(restarts(&model, &worker), 0);
    // Crashes at once, again and again.
    for (pid, second) in [(31, 16), (32, 17), (33, 18)] {
        let worker = process(pid, second - 4, Some(&master), b"master", &[b"master"]);
        model.event(&fork(&worker));
        model.event(&exit(&worker, second, ExitStatus::Signal { number: 11, core: true }, Cause::Fault));
    }
    let last = process(34, 19, Some(&master), b"master", &[b"master"]);
    model.event(&fork(&last));
    model.tick(30 * S);
    assert_eq!(restarts(&model, &last), 3);
}

#[test]
fn what_a_gap_hid_is_made_good_for() {
    let mut model = Model::new(Vec::new());
    let (one, two) = (process(1, 1, None, b"one", &[b"one"]), process(2, 2, None, b"two", &[b"two"]));
    model.reconcile([&one].into_iter());
    model.event(&gap(Kind::FORK, 1));
    model.event(&gap(Kind::EXIT, 2));
    model.event(&gap(Kind::EXIT, 3));
    model.reconcile([&two].into_iter());
    assert_eq!(model.rows.keys().copied().collect::<Vec<_>>(), [two.id]);
    assert_eq!((model.lost(), model.losses.len()), (6, 2));
}

#[test]
fn a_tree_shows_only_descendants() {
    let init = process(1, 1, None, b"init", &[b"init"]);
    let wanted = process(5, 2, Some(&init), b"wanted", &[b"wanted"]);
    let child = process(6, 3, Some(&wanted), b"child", &[b"child"]);
    let other = process(7, 4, Some(&init), b"other", &[b"other"]);
    let mut model = Model::new(vec![5]);
    model.reconcile([&child, &other, &wanted, &init].into_iter());
    model.tick(10 * S);
    assert_eq!(pids(&model, &Wish::default()), [5, 6]);
    let grandchild = process(8, 11, Some(&child), b"grand", &[b"grand"]);
    model.event(&fork(&grandchild));
    model.reconcile([&child, &other, &wanted, &init, &grandchild].into_iter());
    assert_eq!(pids(&model, &Wish::default()), [5, 6, 8]);
}

#[test]
fn failures_outlive_ordinary_ends() {
    let mut model = Model::new(Vec::new());
    let shell = process(1, 1, None, b"bash", &[b"bash"]);
    let victim = process(2, 2, Some(&shell), b"victim", &[b"victim"]);
    model.event(&fork(&victim));
    let (status, cause) = killed_by(&shell);
    model.event(&exit(&victim, 3, status, cause));
    for pid in 10..2_000 {
        let job = process(pid, 4, Some(&shell), b"job", &[b"job"]);
        model.event(&fork(&job));
        model.event(&exit(&job, 5, ExitStatus::Code(0), Cause::Own));
    }
    assert_eq!(model.deaths(false).len(), 257);
    assert_eq!(model.deaths(true).len(), 1);
    assert!(model.death(victim.id).is_some());
}

#[test]
fn timelines_keep_their_beginning_and_their_end() {
    let mut model = Model::new(Vec::new());
    let process = process(1, 1, None, b"x", &[b"x"]);
    model.event(&fork(&process));
    for second in 2..100 {
        model
            .event(&event(second * S, Action::Exec { process: Arc::clone(&process), exec: Exec::default() }));
    }
    let timeline = &model.rows.get(&process.id).unwrap().timeline;
    assert_eq!((timeline.moments.len(), timeline.cut), (32, true));
    assert_eq!(timeline.moments.front().unwrap().action.name(), "fork");
    assert_eq!(timeline.moments.back().unwrap().time_ns, 99 * S);
}

#[test]
fn joins_are_for_the_living() {
    let mut model = Model::new(Vec::new());
    let (one, two) = (process(1, 1, None, b"one", &[b"one"]), process(2, 2, None, b"two", &[b"two"]));
    let two = within(&two, unit("other.service"));
    model.event(&fork(&one));
    model.event(&fork(&two));
    model.event(&exit(&one, 3, ExitStatus::Code(0), Cause::Own));
    let joins: Vec<_> = model.take_joins().map(|join| (join.pid, join.group)).collect();
    assert_eq!(joins, [(2, 2)]);
    model.event(&exec(&within(&two, unit("app.service"))));
    let joins: Vec<_> = model.take_joins().map(|join| (join.pid, join.group)).collect();
    assert_eq!(joins, [(2, 1)], "it moved");
}

#[test]
fn orders() {
    let model = host();
    let by = |view, sort| Wish { view, sort: Some(sort), ..Wish::default() };
    assert_eq!(pids(&model, &Wish::default()), [1, 500, 501, 951, 700, 812, 950]);
    let kernel = Wish { kernel_threads: true, ..Wish::default() };
    assert_eq!(pids(&model, &kernel), [1, 500, 501, 951, 700, 812, 950, 2]);
    assert_eq!(pids(&model, &by(View::List, Sort::Cpu))[..3], [700, 950, 500]);
    assert_eq!(pids(&model, &by(View::Tree, Sort::Cpu))[..4], [1, 700, 812, 950], "the busy come up");
    assert_eq!(pids(&model, &by(View::List, Sort::Memory))[..2], [700, 500]);
    assert_eq!(pids(&model, &by(View::List, Sort::Age))[..2], [951, 950]);
    assert_eq!(pids(&model, &by(View::List, Sort::Restarts))[..3], [500, 501, 951]);
    let reversed = Wish { reverse: true, ..by(View::List, Sort::Pid) };
    assert_eq!(pids(&model, &reversed), [951, 950, 812, 700, 501, 500, 1]);
    let filtered = Wish { filter: "worker".into(), ..Wish::default() };
    let lines = order::lines(&model, &filtered);
    let context: Vec<_> = lines.iter().map(|line| line.context).collect();
    assert_eq!((pids(&model, &filtered), context), (vec![1, 500, 501, 951], vec![true, true, false, false]));
    for (filter, found) in [("docker", vec![700]), ("950", vec![950]), ("no such", vec![])] {
        assert_eq!(
            pids(&model, &Wish { filter: filter.into(), view: View::List, ..Wish::default() }),
            found,
            "{filter}"
        );
    }
}

#[test]
fn the_filter_is_for_deaths_too() {
    let model = host();
    let died = |filter: &str| -> Vec<u32> {
        let wish = Wish { filter: filter.into(), ..Wish::default() };
        order::deaths(&model, &wish, false).iter().map(|death| death.process.id.pid).collect()
    };
    assert_eq!(died(""), [970, 960, 502]);
    assert_eq!(died("worker"), [502]);
    assert_eq!(died("app.service"), [970, 960]);
    assert_eq!(died("960"), [960]);
}

#[test]
fn a_chain_as_long_as_it_likes_is_shown() {
    let mut model = Model::new(Vec::new());
    let mut parent = process(1, 1, None, b"chain", &[b"chain"]);
    model.event(&fork(&parent));
    for pid in 2..20_000 {
        let child = process(pid, u64::from(pid), Some(&parent), b"chain", &[b"chain"]);
        model.event(&fork(&child));
        parent = child;
    }
    let lines = order::lines(&model, &Wish::default());
    assert_eq!(lines.len(), 19_999);
    assert!(lines.iter().all(|line| line.branch.chars().count() < 50));
}
