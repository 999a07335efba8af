//! What may be asked of a run: `cargo bench --bench end_to_end -- --help`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Parser;

use super::figures::Plan;

/// Rounds and their length, unless something else is asked for.
const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(2);
/// The same of a quick run: three loads, one of them with nine contenders and variants, take half a
/// minute, and all else has the other half.
const QUICK_ROUNDS: usize = 3;
const QUICK_ROUND: Duration = Duration::from_millis(400);
/// What a quick run does unless `--only` says: the loads that have least in common.
const QUICK: [&str; 4] = ["small-get-64", "http2-64", "fixed-rate", "scenarios"];

/// Attaché beside what users would pick instead.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "end_to_end",
    bin_name = "cargo bench --bench end_to_end --",
    after_help = "--against URL loads a gateway that runs already: see --against --help"
)]
pub(crate) struct Arguments {
    /// A few short rounds of a few loads, in under a minute: shows that it works, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
    /// Rounds of each load with each contender [default: 15]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How long a round lasts [default: 2]
    #[arg(long, value_name = "S", value_parser = round_length)]
    round_seconds: Option<Duration>,
    /// Only these loads, by their names or how those begin; the word `scenarios` for all else
    #[arg(long, value_name = "LOAD,…", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these contenders beside Attaché, instead of all that are found
    #[arg(long, value_name = "PEER,…", value_delimiter = ',',
          value_parser = ["nginx", "nginx-lua", "haproxy", "haproxy-tcp", "envoy"])]
    peers: Option<Vec<String>>,
    /// Threads of each contender
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Name the loads, and do nothing else
    #[arg(long)]
    pub(crate) list: bool,
    /// Copy the last run's report and plots to benches/results, and do nothing else
    #[arg(long, conflicts_with_all = ["quick", "rounds", "round_seconds", "only", "peers"])]
    pub(crate) keep: bool,
    /// Cargo's own word: figures are wanted
    #[arg(long, hide = true)]
    bench: bool,
}

impl Arguments {
    /// What is asked in `words`, the program's own name first. `None` unless figures are wanted:
    /// whoever lists or runs tests runs this program too, without the word `--bench`.
    pub(crate) fn parse_from_words(
        words: impl IntoIterator<Item = OsString>,
    ) -> Option<Result<Self, clap::Error>> {
        let words: Vec<OsString> = words.into_iter().collect();
        let are_figures_wanted = words.iter().any(|word| word == "--bench");
        are_figures_wanted.then(|| Self::try_parse_from(words))
    }

    pub(crate) fn plan(&self) -> Plan {
        let (rounds, round) = if self.quick {
            (QUICK_ROUNDS, QUICK_ROUND)
        } else {
            (ROUNDS, ROUND)
        };
        Plan {
            rounds: self.rounds.map_or(rounds, |rounds| rounds as usize),
            round: self.round_seconds.unwrap_or(round),
            threads: usize::from(self.threads),
            command: self.command(),
        }
    }

    /// Whether a load or scenario of this name is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        if self.quick && self.only.is_empty() {
            return QUICK.contains(&name);
        }
        self.only.is_empty() || self.only.iter().any(|wanted| name.starts_with(wanted))
    }

    /// A word of `--only` that none of `names` begins with: it would pick nothing, and say nothing.
    pub(crate) fn unknown<'a>(&'a self, names: &[&str]) -> Option<&'a str> {
        let is_known = |wanted: &str| names.iter().any(|name| name.starts_with(wanted));
        let mut words = self.only.iter().map(String::as_str);
        words.find(|wanted| wanted.is_empty() || !is_known(wanted))
    }

    /// Whether a contender is wanted, by the word `--peers` has for it.
    pub(crate) fn wants_peer(&self, peer: &str) -> bool {
        let peers = self.peers.as_ref();
        peers.is_none_or(|peers| peers.iter().any(|wanted| wanted == peer))
    }

    /// The same run once more, as it is typed.
    fn command(&self) -> String {
        let mut words = vec!["cargo bench --bench end_to_end --".to_owned()];
        if self.quick {
            words.push("--quick".to_owned());
        }
        if let Some(rounds) = self.rounds {
            words.push(format!("--rounds {rounds}"));
        }
        if let Some(round) = self.round_seconds {
            words.push(format!("--round-seconds {}", round.as_secs_f64()));
        }
        if !self.only.is_empty() {
            words.push(format!("--only {}", self.only.join(",")));
        }
        if let Some(peers) = &self.peers {
            words.push(format!("--peers {}", peers.join(",")));
        }
        if self.threads != 1 {
            words.push(format!("--threads {}", self.threads));
        }
        words.join(" ").trim_end_matches(" --").to_owned()
    }
}

fn round_length(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not between 0.1 and 600 seconds".to_owned())
    }
}
