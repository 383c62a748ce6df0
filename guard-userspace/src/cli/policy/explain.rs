//! `processguard policy explain`: all that holds for a service, and how it lives, in words.

use std::path::PathBuf;

use guard_core::policy::outline;

use super::{POLICIES, print};
use crate::exit::{Code, Failure, HELP};
use crate::policy::load::Policies;
use crate::show::escape;

const EXAMPLES: &str = "\
EXAMPLES
  processguard policy explain checkout
      of the policies in /etc/processguard/policies
  processguard policy explain checkout --policies policies/stories/checkout
      of others; what is printed is itself a policy, the words are comments

";

/// Show a service's policy with all defaults filled in, and its states in words
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {
    /// The service's name
    service: String,

    /// Files and directories of policies; may be given again
    #[arg(long, value_name = "PATH", default_value = POLICIES)]
    policies: Vec<PathBuf>,

    /// One JSON object: service, policy (key by key), words
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let set = Policies::usable(&self.policies)?;
        let Some(service) = set.services.iter().find(|service| service.name == self.service) else {
            let names: Vec<&str> = set.services.iter().map(|service| service.name.as_str()).collect();
            let asked = escape::display(self.service.as_bytes());
            return Err(Failure::Usage(format!(
                "there is no service `{asked}`; there are: {}",
                names.join(", ")
            )));
        };
        let (outline, words) = (outline::service(service), outline::words(service));
        if self.json {
            let keys: serde_json::Map<String, serde_json::Value> =
                outline.leaves().into_iter().map(|(key, value)| (key, value.into())).collect();
            let object = serde_json::json!({ "service": service.name, "policy": keys, "words": words });
            print(&format!("{object}\n"))?;
        } else {
            let words: String = words.iter().map(|line| format!("# {}\n", escape::message(line))).collect();
            print(&format!("{}\n{words}", outline.yaml()))?;
        }
        Ok(Code::Ok)
    }
}
