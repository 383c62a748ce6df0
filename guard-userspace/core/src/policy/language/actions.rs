//! `actions` and `failover`: what is done when a check fails.

use super::texts::{Command, Name, SignalName};
use crate::policy::guard::Guard;
use crate::policy::model::{
    Act, Alert, Approval, Breaker, Demotion, Failover, Hook, Ladder, Scaling, Severity, Signalled, Step,
};
use crate::policy::read::{At, BudgetOf, Duration, Int, List, Nothing, Reader, Text};
use crate::policy::{Code, Diagnostic, Needed};

keys! {
    /// What is done while a check fails, step by step. A list alone is `steps`.
    struct LadderKeys as "actions", short "steps" {
        /// In this order.
        steps: List<StepKeys, 1>,
        /// When to stop repeating what does not help.
        breaker: BreakerKeys = "{}",
    }
}

keys! {
    /// When the ladder was run to its end so many times in vain, it is not begun again: the fallback is done once, the service is held, and somebody is told.
    struct BreakerKeys as "breaker" {
        /// How many times.
        tries: Int<1, 1000> = "3",
        /// How long a step has to help.
        within: At<Duration> = "5m",
        /// What is done instead, once.
        fallback: Option<ActKeys>,
    }
}

/// `keys!` for what has all acts as keys, of which one must be there.
macro_rules! acts {
    ($(#[doc = $doc:literal])+ struct $name:ident as $title:literal { $($more:tt)* }) => {
        keys! {
            $(#[doc = $doc])+
            struct $name as $title, words ["restart", "stop", "failover", "freeze", "thaw", "alert"],
                one ["restart", "signal", "stop", "scale", "failover", "freeze", "thaw", "renice", "requeue", "exec", "alert"] {
                /// End the instance as `stop` says, and start it again. Spends restart budget.
                restart: Option<At<Nothing>>,
                /// Send a signal.
                signal: Option<SignalKeys>,
                /// End the service; it stays stopped.
                stop: Option<Nothing>,
                /// Start or stop instances, within `instances`. A number alone is `by`.
                scale: Option<ScaleKeys>,
                /// Hand the role over, as `failover` says.
                failover: Option<At<Nothing>>,
                /// Stop its control group without a signal.
                freeze: Option<Nothing>,
                /// Let a frozen one go on.
                thaw: Option<Nothing>,
                /// Set the nice value of all its threads.
                renice: Option<Int<-20, 19>>,
                /// Give back what it held, such as its job, by this program.
                requeue: Option<HookKeys>,
                /// Run a program.
                exec: Option<HookKeys>,
                /// Tell somebody. A word alone is `severity`.
                alert: Option<AlertKeys>,
                $($more)*
            }
        }

        impl $name {
            fn act(&self, reader: &mut Reader) -> Option<Act> {
                if self.restart.is_some() {
                    return Some(Act::Restart);
                }
                if self.failover.is_some() {
                    return Some(Act::Failover);
                }
                let plain = [
                    (self.stop.is_some(), Act::Stop),
                    (self.freeze.is_some(), Act::Freeze),
                    (self.thaw.is_some(), Act::Thaw),
                ];
                if let Some((_, act)) = plain.into_iter().find(|(given, _)| *given) {
                    return Some(act);
                }
                if let Some(signal) = &self.signal {
                    return Some(Act::Signal(Signalled { signal: signal.name.0, all: signal.all }));
                }
                if let Some(scale) = &self.scale {
                    return scale.build(reader).map(Act::Scale);
                }
                if let Some(nice) = self.renice {
                    return Some(Act::Renice(nice.to()));
                }
                if let Some(hook) = &self.requeue {
                    return hook.build(reader).map(Act::Requeue);
                }
                if let Some(hook) = &self.exec {
                    return hook.build(reader).map(Act::Exec);
                }
                self.alert.as_ref().map(|alert| Act::Alert(alert.build()))
            }

            /// Where it stands that something is done which needs more than itself.
            pub(crate) fn place(&self) -> crate::policy::yaml::Spot {
                let key = self.restart.map(|at| at.name).or(self.failover.map(|at| at.name));
                key.or(self.scale.as_ref().map(|scale| scale.at)).unwrap_or(self.at)
            }
        }
    };
}

acts! {
    /// One step. A word alone is what is done.
    struct StepKeys as "step" {
        /// How long after the step before (the first: after the check failed).
        after: Duration = "0s",
        /// Only if the check still fails this long after the step before.
        if_still: Option<Duration>,
        /// Somebody must agree first. A duration alone is `within`.
        approval: Option<ApprovalKeys>,
        /// Only if this holds: a condition in CEL. What cannot be told counts as no.
        when: Option<Guard>,
    }
}

acts! {
    /// What is done. A word alone is that.
    struct ActKeys as "act" {}
}

keys! {
    /// A signal to send. A name alone is `name`.
    struct SignalKeys as "step.signal", short "name" {
        /// Which one.
        name: SignalName,
        /// To all processes of the instance, not only the main one.
        all: bool = "false",
    }
}

keys! {
    /// More or fewer instances.
    struct ScaleKeys as "scale", short "by" {
        /// By how many; negative: fewer.
        by: At<Int<-1024, 1024>>,
        /// Not again for so long.
        cooldown: Duration = "1m",
    }
}

keys! {
    /// A program that is told by its environment what it is run for. A command alone is `command`.
    struct HookKeys as "hook", short "command" {
        /// Program and arguments. `{port}` and `{instance}` are replaced.
        command: Command,
        /// How long it may take.
        timeout: At<Duration> = "30s",
    }
}

keys! {
    /// Somebody is told.
    struct AlertKeys as "alert", short "severity" {
        /// How bad it is.
        severity: Severity = "warning",
        /// What to say besides the facts.
        message: Option<Text>,
    }
}

keys! {
    /// Somebody must agree.
    struct ApprovalKeys as "approval", short "within" {
        /// How long it is waited for; then the step is passed over.
        within: At<Duration> = "15m",
    }
}

keys! {
    /// How the primary role goes to another service. Each step must succeed before the next one begins.
    struct FailoverKeys as "failover" {
        /// Who may take over: the first healthy one of these services. At first the role is held by the service that names standbys
        /// and is named by none; of services that name each other, by the first one in order of name.
        standbys: List<At<Name>, 1>,
        /// Asks the old primary to step down. It may be dead, so this may fail.
        demote: Option<DemoteKeys>,
        /// Makes sure that the old primary can do no harm. Told the token that it has to beat.
        fence: HookKeys,
        /// Makes the standby the primary. Told the new token.
        promote: HookKeys,
        /// How often at most.
        budget: At<BudgetOf> = "1/h",
    }
}

keys! {
    /// How an old primary is asked to step down. A command alone is `command`.
    struct DemoteKeys as "demote", short "command" {
        /// Program and arguments.
        command: Command,
        /// How long it may take.
        timeout: At<Duration> = "30s",
        /// If it fails, the failover ends there. Otherwise it goes on to the fence.
        required: bool = "false",
    }
}

words! {
    Severity {
        /// Good to know.
        "info" = Self::Info,
        /// Look at it in the morning.
        "warning" = Self::Warning,
        /// Get up.
        "critical" = Self::Critical,
    }
}

impl LadderKeys {
    /// As the model has it.
    pub(crate) fn build(&self, reader: &mut Reader) -> Option<Ladder> {
        let steps: Vec<Option<Step>> = self.steps.0.iter().map(|step| step.build(reader)).collect();
        let breaker = self.breaker.build(reader);
        Some(Ladder { steps: steps.into_iter().collect::<Option<_>>()?, breaker: breaker? })
    }
}

impl BreakerKeys {
    fn build(&self, reader: &mut Reader) -> Option<Breaker> {
        let fallback = match &self.fallback {
            Some(act) => Some(Box::new(act.act(reader)?)),
            None => None,
        };
        let within = super::probes::positive(&self.within, reader)?;
        Some(Breaker { tries: self.tries.to(), within, fallback })
    }
}

impl StepKeys {
    fn build(&self, reader: &mut Reader) -> Option<Step> {
        let act = self.act(reader);
        let approval = match &self.approval {
            Some(approval) => Some(Approval { within: super::probes::positive(&approval.within, reader)? }),
            None => None,
        };
        Some(Step {
            act: act?,
            after: self.after.0,
            if_still: self.if_still.map(|span| span.0),
            approval,
            when: self.when.clone(),
        })
    }
}

impl ScaleKeys {
    fn build(&self, reader: &mut Reader) -> Option<Scaling> {
        if self.by.value.0 == 0 {
            let message = "by 0 instances is no change";
            let help = "a positive number starts instances, a negative one stops them";
            reader.say(Diagnostic::new(Code::Bounds, self.by.spot.into(), message).help(help));
            return None;
        }
        Some(Scaling { by: self.by.value.to(), cooldown: self.cooldown.0 })
    }
}

impl HookKeys {
    fn build(&self, reader: &mut Reader) -> Option<Hook> {
        hook(&self.command, &self.timeout, reader)
    }
}

fn hook(command: &Command, timeout: &At<Duration>, reader: &mut Reader) -> Option<Hook> {
    reader.need(command.program, Needed::Program(command.words.first()?.clone()));
    let timeout = super::probes::positive(timeout, reader)?;
    Some(Hook { command: command.words.clone(), timeout })
}

impl AlertKeys {
    fn build(&self) -> Alert {
        Alert { severity: self.severity, message: self.message.as_ref().map(|text| text.0.to_string()) }
    }
}

impl FailoverKeys {
    /// As the model has it.
    pub(crate) fn build(&self, reader: &mut Reader) -> Option<Failover> {
        let demote = match &self.demote {
            Some(demote) => {
                let hook = hook(&demote.command, &demote.timeout, reader)?;
                Some(Demotion { hook, required: demote.required })
            }
            None => None,
        };
        let fence = self.fence.build(reader);
        let promote = self.promote.build(reader);
        Some(Failover {
            standbys: self.standbys.0.iter().map(|name| name.value.0.to_string()).collect(),
            demote,
            fence: fence?,
            promote: promote?,
            budget: super::service::budget(&self.budget, reader)?,
        })
    }
}
