//! How the primary role goes from one service to another.
//!
//! ```text
//!  holder ---> Settling ---> Demoting ---> Fencing ---> Ending ---> Choosing ---> Promoting ---> the standby is the holder
//!              no start      may fail,     must         of what we  a healthy     must
//!              under way     unless        succeed      started     standby       succeed
//!                            required        |                        ^             |
//!      the holder goes on <----- failed -----+                        |          Doubtful: it may be primary; only it is
//!                                                                     +--- again ---+      tried again
//! ```
//! From the first step on nothing of the old primary is started. Once the fence stands it is held for good: nobody can start it while
//! the new holder lives, unless that one's policy names it as a standby. Between fence and promotion nobody holds the role. While records are lost no step is begun.
//!
//! A step that was under way when the supervisor ended may have been done or not, and nobody can ask. Whoever was to be demoted is
//! fenced all the same, unless it must be demoted. What may be fenced is fenced again, with a larger token; if that fails it stays
//! out, `Unsure`, until the failover is begun again or somebody starts it by hand. Who may have been promoted is `Doubtful`.

use crate::policy::model::{Failover, Hook, Mode};

use super::effect::{ActionId, What};
use super::input::Refused;
use super::instance::{Hold, Phase, Why};
use super::saved::{SavedHandover, SavedStage};
use super::shared::{Job, Slot};
use super::unit::{Turn, Unit};

/// A role on its way.
#[derive(Debug)]
pub(super) struct Handover {
    how: Failover,
    why: Why,
    token: u64,
    stage: Stage,
    /// The only one that may be promoted: it may be primary already.
    only: Option<Slot>,
    /// The number under which somebody agreed to it, until its first plan takes it.
    agreed: Option<ActionId>,
    /// It was told that no standby is healthy.
    told: bool,
    /// What the service was held for before.
    before: Option<(Hold, Why)>,
    /// It may be fenced, whatever the fence says: it was under way when a supervisor ended.
    maybe_fenced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Settling,
    Demoting(ActionId),
    /// Demoted, not fenced yet.
    Demoted,
    Fencing(ActionId),
    /// It may be fenced or not, and is not tried again by itself.
    Unsure,
    /// The fence stands.
    Ending,
    Choosing,
    Promoting(ActionId, Slot),
    Doubtful(Slot),
}

impl Handover {
    /// As it is saved: nobody will know how a step that is under way ends.
    pub(super) fn saved(&self, name: impl Fn(Slot) -> std::sync::Arc<str>) -> SavedHandover {
        let stage = match self.stage {
            Stage::Settling => SavedStage::Settling,
            Stage::Demoting(_) => SavedStage::Demoting,
            // The first fence may stand, whatever becomes of the second.
            Stage::Demoted if self.maybe_fenced => SavedStage::Fencing,
            Stage::Demoted => SavedStage::Demoted,
            Stage::Fencing(_) => SavedStage::Fencing,
            Stage::Unsure => SavedStage::Unsure,
            Stage::Ending => SavedStage::Ending,
            Stage::Choosing => SavedStage::Choosing,
            Stage::Promoting(_, standby) => SavedStage::Promoting(name(standby).to_string()),
            Stage::Doubtful(standby) => SavedStage::Doubtful(name(standby).to_string()),
        };
        SavedHandover {
            why: self.why.clone(),
            token: self.token,
            stage,
            only: self.only.map(|standby| name(standby).to_string()),
            agreed: self.agreed,
            told: self.told,
            before: self.before.clone(),
        }
    }
}

impl Unit {
    /// Whether a fence keeps it out.
    pub(super) fn is_fenced(&self) -> bool {
        let early = |stage: Stage| {
            matches!(stage, Stage::Settling | Stage::Demoting(_) | Stage::Demoted | Stage::Fencing(_))
        };
        matches!(self.hold, Some((Hold::Fenced, _)))
            && self.run().is_some()
            && !self.handover.as_ref().is_some_and(|handover| early(handover.stage))
    }

    /// Whether a failover is on its way, as far as it can go by itself.
    pub(super) fn is_handing_over(&self) -> bool {
        self.handover
            .as_ref()
            .is_some_and(|handover| !matches!(handover.stage, Stage::Doubtful(_) | Stage::Unsure))
    }

    /// Begins to hand the role over, or says why not.
    pub(super) fn begin_failover(&mut self, why: &Why, turn: &mut Turn<'_>) -> Result<(), String> {
        let how = self.policy.failover.clone().ok_or("its policy names no standby")?;
        if let Some(handover) = &mut self.handover {
            return match handover.stage {
                Stage::Doubtful(_) => {
                    handover.stage = Stage::Choosing;
                    Ok(())
                }
                Stage::Unsure => {
                    handover.stage = Stage::Demoted;
                    handover.token = turn.shared.roles.next_token(self.slot);
                    Ok(())
                }
                _ => Err("a failover is under way".to_owned()),
            };
        }
        if turn.shared.roles.holder(self.slot) != Some(self.slot) {
            return Err("it does not hold the primary role".to_owned());
        }
        let healthy = how.standbys.iter().filter_map(|name| turn.shared.healthy(name));
        let Some(standby) = healthy.into_iter().next() else {
            return Err(format!("no standby is healthy: {}", how.standbys.join(", ")));
        };
        let observed = turn.shared.standings.get(&standby).is_none_or(|other| other.mode == Mode::Observe);
        if observed && self.acts() {
            return Err("the policy of the standby only observes".to_owned());
        }
        let window = self.failovers.get_or_insert_with(|| super::budget::Window::new(how.budget));
        window.set(how.budget);
        if window.left(turn.now_ns) == 0 {
            return Err(format!(
                "{} failovers in {} are spent",
                how.budget.count,
                super::text::span(how.budget.within)
            ));
        }
        window.reserve();
        window.spend(turn.now_ns);
        if !self.acts() {
            self.rehearse_failover(&how, standby, why, turn);
            return Ok(());
        }
        let token = turn.shared.roles.next_token(self.slot);
        let held = Why { what: format!("its primary role is handed over: {}", why.what), ..why.clone() };
        let before = self.hold.replace((Hold::Fenced, held));
        self.handover = Some(Handover {
            how,
            why: why.clone(),
            token,
            stage: Stage::Settling,
            only: None,
            agreed: turn.shared.agreed.take(),
            told: false,
            before,
            maybe_fenced: false,
        });
        Ok(())
    }

    /// What a failover would do.
    fn rehearse_failover(&mut self, how: &Failover, standby: Slot, why: &Why, turn: &mut Turn<'_>) {
        let token = turn.shared.roles.next_token(self.slot);
        if let Some(demote) = &how.demote {
            self.role_plan("demote", &demote.hook, token, Some(standby), why, turn);
        }
        self.role_plan("fence", &how.fence, token, Some(standby), why, turn);
        self.role_plan("promote", &how.promote, token, Some(standby), why, turn);
    }

    /// Goes on with a failover as far as it can.
    pub(super) fn hand_over(&mut self, turn: &mut Turn<'_>) {
        while let Some(handover) = &self.handover {
            if !turn.shared.certain {
                turn.shared.deferred.insert(self.slot);
                return;
            }
            let (how, why, token) = (handover.how.clone(), handover.why.clone(), handover.token);
            let only = handover.only;
            let stage = match handover.stage {
                Stage::Settling if self.is_starting() => return,
                Stage::Settling => match &how.demote {
                    Some(demote) => {
                        Stage::Demoting(self.role_plan("demote", &demote.hook, token, None, &why, turn))
                    }
                    None => Stage::Demoted,
                },
                Stage::Demoted => {
                    Stage::Fencing(self.role_plan("fence", &how.fence, token, None, &why, turn))
                }
                Stage::Ending if self.run().is_some() && self.alive() > 0 => return,
                Stage::Ending => Stage::Choosing,
                Stage::Choosing => {
                    let mut healthy = how.standbys.iter().filter_map(|name| turn.shared.healthy(name));
                    let Some(standby) = healthy.find(|slot| only.is_none_or(|only| only == *slot)) else {
                        return self.lack_standby(&how, turn);
                    };
                    let id = self.role_plan("promote", &how.promote, token, Some(standby), &why, turn);
                    Stage::Promoting(id, standby)
                }
                Stage::Demoting(_)
                | Stage::Fencing(_)
                | Stage::Unsure
                | Stage::Promoting(..)
                | Stage::Doubtful(_) => return,
            };
            if let Some(handover) = &mut self.handover {
                handover.stage = stage;
            }
        }
    }

    /// The old primary is fenced, and nobody can take over.
    fn lack_standby(&mut self, how: &Failover, turn: &mut Turn<'_>) {
        let told = self.handover.as_mut().is_none_or(|handover| std::mem::replace(&mut handover.told, true));
        if !told {
            let names = how.standbys.join(", ");
            let what = format!("nobody holds the primary role: no standby is healthy: {names}");
            let why = Why::new(what, turn.now_ns);
            self.hold = Some((Hold::Fenced, why.clone()));
            self.cry(None, &why, turn);
        }
    }

    fn is_starting(&self) -> bool {
        let starting = |phase: &Phase| matches!(phase, Phase::Starting { plan: Some(_), .. });
        self.instances.values().any(|instance| starting(&instance.phase))
    }

    /// A step of a failover is done, or failed.
    pub(super) fn role_done(&mut self, id: ActionId, result: Result<(), Refused>, turn: &mut Turn<'_>) {
        let Some(handover) = &mut self.handover else { return };
        let required = handover.how.demote.as_ref().is_some_and(|demote| demote.required);
        match (handover.stage, result) {
            (Stage::Demoting(asked), Ok(())) if asked == id => handover.stage = Stage::Demoted,
            (Stage::Demoting(asked), Err(_)) if asked == id && !required => handover.stage = Stage::Demoted,
            (Stage::Demoting(asked), Err(refused)) if asked == id => {
                self.give_up("it was not demoted", &refused, turn);
            }
            (Stage::Fencing(asked), Ok(())) if asked == id => {
                handover.stage = Stage::Ending;
                turn.shared.roles.vacate(self.slot);
            }
            (Stage::Fencing(asked), Err(refused)) if asked == id && handover.maybe_fenced => {
                handover.stage = Stage::Unsure;
                let what =
                    format!("nobody knows whether its primary role was taken from it: {}", refused.why);
                let why = Why::new(what, turn.now_ns);
                self.hold = Some((Hold::Fenced, why.clone()));
                self.cry(None, &why, turn);
            }
            (Stage::Fencing(asked), Err(refused)) if asked == id => {
                self.give_up("it was not fenced", &refused, turn);
            }
            (Stage::Promoting(asked, standby), Ok(())) if asked == id => self.handed_over(standby, turn),
            (Stage::Promoting(asked, standby), Err(refused)) if asked == id => {
                (handover.stage, handover.only) = (Stage::Doubtful(standby), Some(standby));
                let name = turn.shared.name(standby);
                let what = format!("nobody holds the primary role: {name} was not promoted: {}", refused.why);
                let why = Why::new(what, turn.now_ns);
                self.hold = Some((Hold::Fenced, why.clone()));
                self.cry(None, &why, turn);
            }
            _ => {}
        }
    }

    /// A failover does not go on, because its policy only observes from now on.
    pub(super) fn abandon_failover(&mut self, turn: &Turn<'_>) {
        if self.handover.take().is_some() {
            let what = "its failover was abandoned: its policy only observes";
            self.hold = Some((Hold::Fenced, Why::new(what, turn.now_ns)));
        }
    }

    /// The old primary keeps its role.
    fn give_up(&mut self, what: &str, refused: &Refused, turn: &mut Turn<'_>) {
        let Some(handover) = self.handover.take() else { return };
        self.hold = handover.before;
        self.unhold(|hold| *hold == Hold::Fenced, turn);
        let why = format!("{what}: {}; it keeps the primary role", refused.why);
        let what = What::Withheld { deed: "failover".to_owned(), why };
        turn.shared.tell(turn.now_ns, self.subject(None), what);
    }

    /// The standby holds the role.
    fn handed_over(&mut self, standby: Slot, turn: &mut Turn<'_>) {
        let Some(handover) = self.handover.take() else { return };
        turn.shared.give_role(standby, handover.token, turn.now_ns);
        let what = format!("{} {}", turn.shared.name(standby), super::text::HOLDS_ROLE);
        self.hold = Some((Hold::Fenced, Why::new(what.as_str(), turn.now_ns)));
        for instance in self.instances.values_mut() {
            if let Phase::Held { hold: Hold::Fenced, .. } = &instance.phase {
                instance.why = Why::new(what.as_str(), turn.now_ns);
            }
        }
    }

    /// Whether somebody may start it again; if so, a role that nobody living holds is its own once more.
    pub(super) fn take_back(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        // Whoever is down, but was not stopped, comes back in the role that it had.
        let there =
            |slot: &Slot| turn.shared.standings.get(slot).is_some_and(|other| other.alive || !other.leaving);
        let Some(handover) = &self.handover else {
            let fenced = matches!(self.hold, Some((Hold::Fenced, _)));
            match turn.shared.roles.holder(self.slot).filter(|holder| fenced && *holder != self.slot) {
                None => return Ok(()),
                Some(holder) if turn.shared.roles.stands_by(self.slot, holder) => return Ok(()),
                Some(holder) if there(&holder) => {
                    return Err(format!(
                        "{} holds the primary role, and its policy does not name this one as a standby: stop it first, or name it",
                        turn.shared.name(holder)
                    ));
                }
                Some(_) => {}
            }
            let token = turn.shared.roles.next_token(self.slot);
            turn.shared.give_role(self.slot, token, turn.now_ns);
            return Ok(());
        };
        // Whose promotion failed may have become primary all the same, also while it is tried again.
        match &handover.stage {
            Stage::Unsure | Stage::Ending | Stage::Choosing | Stage::Doubtful(_) => {
                if let Some(standby) = handover.only.filter(there) {
                    return Err(format!("{} may be primary: stop it first", turn.shared.name(standby)));
                }
            }
            _ => return Err("its primary role is being handed over".to_owned()),
        }
        self.handover = None;
        let token = turn.shared.roles.next_token(self.slot);
        turn.shared.give_role(self.slot, token, turn.now_ns);
        Ok(())
    }

    /// Goes on with a failover that another supervisor had begun.
    pub(super) fn take_over(
        &mut self,
        saved: SavedHandover,
        slot: impl Fn(&str) -> Option<Slot>,
        turn: &mut Turn<'_>,
    ) {
        let known = |name: &str| slot(name).ok_or_else(|| name.to_owned());
        let only = saved.only.as_deref().map(known).transpose();
        // Without its policy or its standby it stays out, and the role nobody's, until somebody decides.
        let (Some(how), Ok(only)) = (self.policy.failover.clone(), only) else { return };
        let SavedHandover { why, token, stage, agreed, told, before, .. } = saved;
        let mut handover = Handover {
            how,
            why,
            token,
            stage: Stage::Settling,
            only,
            agreed,
            told,
            before,
            maybe_fenced: false,
        };
        let may_skip = !handover.how.demote.as_ref().is_some_and(|demote| demote.required);
        let mut doubtful = None;
        handover.stage = match stage {
            SavedStage::Settling => Stage::Settling,
            SavedStage::Demoting if may_skip => Stage::Demoted,
            SavedStage::Demoting => {
                self.handover = Some(handover);
                let refused = Refused { why: "nobody knows how that went".to_owned() };
                return self.give_up("it was being demoted when the supervisor ended", &refused, turn);
            }
            SavedStage::Demoted => Stage::Demoted,
            SavedStage::Fencing => {
                handover.token = turn.shared.roles.next_token(self.slot);
                handover.maybe_fenced = true;
                Stage::Demoted
            }
            SavedStage::Unsure => Stage::Unsure,
            SavedStage::Ending => Stage::Ending,
            SavedStage::Choosing => Stage::Choosing,
            SavedStage::Promoting(ref name) | SavedStage::Doubtful(ref name) => {
                let Some(standby) = slot(name) else { return };
                handover.only = Some(standby);
                doubtful = matches!(stage, SavedStage::Promoting(_)).then(|| name.clone());
                Stage::Doubtful(standby)
            }
        };
        handover.maybe_fenced |= handover.stage == Stage::Unsure;
        self.handover = Some(handover);
        if let Some(name) = doubtful {
            let what = format!(
                "nobody holds the primary role: {name} may have been promoted when the supervisor ended"
            );
            let why = Why::new(what, turn.now_ns);
            self.hold = Some((Hold::Fenced, why.clone()));
            self.cry(None, &why, turn);
        }
    }

    fn role_plan(
        &mut self,
        purpose: &'static str,
        hook: &Hook,
        token: u64,
        standby: Option<Slot>,
        why: &Why,
        turn: &mut Turn<'_>,
    ) -> ActionId {
        let mut environment = self.environment(purpose, None);
        let mut add = |name: &str, value: String| environment.insert(format!("PROCESSGUARD_{name}"), value);
        add("TOKEN", token.to_string());
        add("OLD_PRIMARY", self.name.to_string());
        if let Some(standby) = standby {
            add("NEW_PRIMARY", turn.shared.name(standby).to_string());
        }
        let deed = self.run_hook(purpose, hook, None, environment);
        if let Some(handover) = &mut self.handover {
            turn.shared.agreed = handover.agreed.take();
        }
        let because = self.because(why, false, turn.now_ns);
        self.plan(None, deed, because, Job::Role, turn)
    }
}
