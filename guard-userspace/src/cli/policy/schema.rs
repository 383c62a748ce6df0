//! `processguard policy schema`: what editors complete and check policies with.

use crate::exit::{Code, Failure, HELP};

const EXAMPLES: &str = "\
EXAMPLES
  processguard policy schema > policy.schema.json
      for editors; with the YAML language server, begin a policy with the line
      # yaml-language-server: $schema=policy.schema.json

";

/// Print the JSON Schema of policies
///
/// It accepts and refuses what `policy check` does, as far as a schema can say it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = format!("{EXAMPLES}{HELP}"), after_help = HELP)]
pub(super) struct Arguments {}

impl Arguments {
    #[expect(clippy::unused_self, reason = "as all verbs")]
    pub(super) fn run(&self) -> Result<Code, Failure> {
        let text = format!("{:#}\n", guard_core::policy::schema());
        super::print(&text)?;
        Ok(Code::Ok)
    }
}
