//! `kill -9` in the middle of administrators' changes: what was acknowledged is there, and nothing
//! is half there.
//!
//! Each writer has a connector of its own and gives it, in one change after the other, the next
//! number everywhere: in its name, in its document, in its secret, and by that in the audit log.
//! Another makes connectors and deletes them. The gateway is killed at a moment that a seed decides,
//! and started again on what it left.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use attache::control::store::{
    AuditFilter, AuditOutcome, ConnectorRecord, Page, Phase, Slot, Store,
};
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::administrator::{Administrator, Said, admin_address, create_token};
use crate::support::gateway::process;
use crate::support::origin::Origin;
use crate::support::postgres::{Fsync, Postgres};
use crate::support::vault::Vault;
use crate::support::within;

const KILLS: u64 = 200;
const WRITERS: usize = 4;
const SEED: u64 = 0x5eed_2026_1121;
/// The longest after the last acknowledgement that is waited for until the kill, in microseconds: a
/// few changes' time, so that it hits every part of one.
const KILL_DELAY_MICROS_MAX: u64 = 15_000;

/// More acknowledgements than any kill waits for.
const ENOUGH: u64 = 1_000;

/// SplitMix64: enough to choose moments, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }
}

/// What a writer knows of its connector.
#[derive(Default)]
struct Told {
    /// The number of the last change that was acknowledged.
    acknowledged: AtomicU64,
    /// That of the last one that was asked for.
    asked: AtomicU64,
}

/// Everything that outlives the gateway.
struct Scene {
    vault: Vault,
    config: PathBuf,
    token: String,
    resource_domain: String,
    editors: Vec<Arc<Told>>,
    /// Odd numbers are creations, even ones deletions of the connector before.
    maker: Arc<Told>,
    audited: Audited,
}

/// What the audit log says was done, counted as it grows.
#[derive(Default)]
struct Audited {
    read_to: Option<u64>,
    done: BTreeMap<(String, String), u64>,
}

fn editor(index: usize) -> String {
    format!("editor-{index}")
}

fn made(number: u64) -> String {
    format!("made-{}", number.div_ceil(2))
}

fn secret(number: u64) -> String {
    format!("canary-of-change-{number}")
}

/// A connector that carries `number` wherever it can.
fn carrying(id: &str, number: u64, resource_domain: &str) -> Value {
    json!({
        "id": id,
        "name": format!("{id} {number}"),
        "enabled": false,
        "resource_domain": resource_domain,
        "auth": { "basic": { "username": "svc", "password": secret(number) } },
        "requests_in_flight_max": number + 1,
    })
}

impl Scene {
    async fn new(vault: Vault) -> Self {
        let origin = Origin::plain(&vault.stage.server()).await;
        let resource_domain = origin.url("");
        // A busy machine is no failure of a creation's validation.
        let upstream = "upstream: { connect: 1m }\n";
        let section = vault.section(&[1]);
        let config = vault.stage.config_file(&format!("{section}{upstream}"));
        let token = create_token(&config).await;
        let scene = Self {
            vault,
            config,
            token,
            resource_domain,
            editors: (0..WRITERS).map(|_| Arc::default()).collect(),
            maker: Arc::default(),
            audited: Audited::default(),
        };
        let mut gateway = process(&scene.config);
        let address = admin_address(&gateway).await;
        let mut administrator = Administrator::connect(address, &scene.token).await;
        for index in 0..WRITERS {
            let body = carrying(&editor(index), 0, &scene.resource_domain);
            let said = administrator.call("POST", "/connectors", Some(&body)).await;
            let said = said.unwrap();
            assert_eq!(said.status, 201, "{}", said.text);
        }
        gateway.kill();
        // The origin was there for the creations' validation, and is for those to come.
        std::mem::forget(origin);
        scene
    }

    /// One life of the gateway: it starts on what the one before left, and is killed.
    async fn live_and_die(&mut self, chance: &mut Chance) {
        let mut gateway = process(&self.config);
        let address = admin_address(&gateway).await;
        let (acknowledged, mut heard) = watch::channel(0_u64);
        let acknowledged = Arc::new(acknowledged);
        let mut writers = Vec::new();
        for (index, told) in self.editors.iter().enumerate() {
            let mut writer = self.connect(address, told, &acknowledged).await;
            writer.look_at(&editor(index)).await;
            writers.push(writer.edit(editor(index)).boxed());
        }
        let mut writer = self.connect(address, &self.maker, &acknowledged).await;
        writer.look_at_made().await;
        writers.push(writer.make(self.resource_domain.clone()).boxed());
        let writers: Vec<_> = writers.into_iter().map(tokio::spawn).collect();

        let enough = chance.below(4 * WRITERS as u64);
        let waiting = heard.wait_for(|count| *count >= enough);
        within("changes to be acknowledged", waiting).await.unwrap();
        // A moment is what this test is about: it is chosen by the seed, and nothing waits for it.
        tokio::time::sleep(Duration::from_micros(chance.below(KILL_DELAY_MICROS_MAX))).await;
        gateway.kill();
        for writer in writers {
            within("a writer", writer).await.unwrap();
        }
    }

    /// A database may still be busy with what the dead asked for last: a writer who looked before the
    /// end of that would make its change once more.
    async fn until_the_dead_are_done(&self) -> Store {
        let store = self.vault.open(&[1]).await;
        let turn = store.begin().await.unwrap();
        drop(turn);
        store
    }

    async fn connect(
        &self,
        address: SocketAddr,
        told: &Arc<Told>,
        acknowledged: &Arc<watch::Sender<u64>>,
    ) -> Writer {
        Writer {
            administrator: Administrator::connect(address, &self.token).await,
            told: Arc::clone(told),
            acknowledged: Arc::clone(acknowledged),
        }
    }

    /// What stands in the store is what was acknowledged, or one change more; and whole.
    async fn judge(&mut self, round: u64) {
        let store = self.until_the_dead_are_done().await;
        self.audited.read(&store).await;
        for (index, told) in self.editors.iter().enumerate() {
            let id = editor(index);
            let record = found(&store, &id).await.unwrap();
            let number = number_in(&record.name);
            assert_carries(&store, &record, number).await;
            let edits = self.audited.count(&id, "connector.edit");
            assert_eq!(edits, number, "round {round}: {id}'s audit entries");
            told.settle(&id, number);
        }
        let number = self.made(&store).await;
        self.maker.settle("the maker", number);
        store.close().await;
    }

    /// How many creations and deletions were made, each of them whole.
    async fn made(&self, store: &Store) -> u64 {
        let asked = self.maker.asked.load(Ordering::Relaxed);
        if asked == 0 {
            return 0;
        }
        let id = made(asked);
        let before = (asked - 1) / 2 * 2;
        let created = self.audited.count(&id, "connector.create");
        let deleted = self.audited.count(&id, "connector.delete");
        let Some(record) = found(store, &id).await else {
            assert_eq!((created, deleted), (0, 0), "{id}");
            return before;
        };
        assert_eq!(created, 1, "{id}");
        match record.state {
            Phase::Deleted => {
                let secrets = store.secrets(&record, Slot::Current).await.unwrap();
                assert!(secrets.is_empty(), "{id} is deleted and has its secrets");
                assert_eq!(deleted, 1, "{id}");
                before + 2
            }
            Phase::Active | Phase::Inactive => {
                assert_carries(store, &record, before + 1).await;
                assert_eq!(deleted, 0, "{id}");
                before + 1
            }
        }
    }
}

impl Told {
    /// Takes `number`, which was found, for what both are, if it may be.
    fn settle(&self, whose: &str, number: u64) {
        let acknowledged = self.acknowledged.load(Ordering::Relaxed);
        let asked = self.asked.load(Ordering::Relaxed);
        assert!(
            (acknowledged..=asked).contains(&number),
            "{whose} has change {number}; {acknowledged} was acknowledged, {asked} asked for"
        );
        self.acknowledged.store(number, Ordering::Relaxed);
        self.asked.store(number, Ordering::Relaxed);
    }
}

/// One administrator, until the gateway is gone.
struct Writer {
    administrator: Administrator,
    told: Arc<Told>,
    acknowledged: Arc<watch::Sender<u64>>,
}

impl Writer {
    /// Sees which change the last gateway came to, as this one tells it.
    async fn look_at(&mut self, id: &str) {
        let said = self.read(id).await;
        assert_eq!(said.status, 200, "{}", said.text);
        let name = said.json["name"].as_str().unwrap();
        self.told.settle(id, number_in(name));
    }

    /// The same, of the connector that is made and deleted.
    async fn look_at_made(&mut self) {
        let asked = self.told.asked.load(Ordering::Relaxed);
        if asked == 0 {
            return;
        }
        let id = made(asked);
        let said = self.read(&id).await;
        let is_there = said.status == 200 && said.json["state"] != "deleted";
        let was_there = asked.is_multiple_of(2) || said.status == 200;
        let before = (asked - 1) / 2 * 2;
        let number = match (is_there, was_there) {
            (true, _) => before + 1,
            (false, true) => before + 2,
            (false, false) => before,
        };
        self.told.settle(&id, number);
    }

    async fn read(&mut self, id: &str) -> Said {
        let target = format!("/connectors/{id}");
        self.administrator.call("GET", &target, None).await.unwrap()
    }

    /// Gives connector `id` the next number, and the next.
    async fn edit(mut self, id: String) {
        let target = format!("/connectors/{id}");
        loop {
            let number = self.next();
            let mut patch = carrying(&id, number, "");
            for key in ["id", "enabled", "resource_domain"] {
                patch.as_object_mut().unwrap().remove(key);
            }
            if !self.change("PATCH", &target, Some(&patch), number).await {
                return;
            }
        }
    }

    /// Makes a connector and deletes it, and the next.
    async fn make(mut self, resource_domain: String) {
        loop {
            let number = self.next();
            let id = made(number);
            let good = match number % 2 {
                1 => {
                    let body = carrying(&id, number, &resource_domain);
                    self.change("POST", "/connectors", Some(&body), number)
                        .await
                }
                _ => {
                    let target = format!("/connectors/{id}");
                    self.change("DELETE", &target, None, number).await
                }
            };
            if !good {
                return;
            }
        }
    }

    fn next(&self) -> u64 {
        let number = self.told.acknowledged.load(Ordering::Relaxed) + 1;
        self.told.asked.store(number, Ordering::Relaxed);
        number
    }

    /// Whether the change was acknowledged; if not, the gateway was gone.
    async fn change(
        &mut self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        number: u64,
    ) -> bool {
        let Ok(said) = self.administrator.call(method, target, body).await else {
            return false;
        };
        if said.status == 503 {
            // Not acknowledged, and perhaps made: as good as gone. The kill comes at once.
            self.acknowledged.send_modify(|count| *count += ENOUGH);
            return false;
        }
        assert!(said.status.is_success(), "{method} {target}: {}", said.text);
        self.told.acknowledged.store(number, Ordering::Relaxed);
        self.acknowledged.send_modify(|count| *count += 1);
        true
    }
}

impl Audited {
    async fn read(&mut self, store: &Store) {
        loop {
            let page = Page {
                after: self.read_to,
                limit: 200,
            };
            let entries = store.audit_entries(&AuditFilter::default(), page).await;
            let entries = entries.unwrap();
            let Some(last) = entries.last() else { return };
            self.read_to = Some(last.id);
            for entry in entries {
                assert_eq!(entry.outcome, AuditOutcome::Done, "{entry:?}");
                *self.done.entry((entry.target, entry.action)).or_default() += 1;
            }
        }
    }

    fn count(&self, target: &str, action: &str) -> u64 {
        let key = (target.to_owned(), action.to_owned());
        self.done.get(&key).copied().unwrap_or(0)
    }
}

async fn found(store: &Store, id: &str) -> Option<ConnectorRecord> {
    let id = attache::connector::ConnectorId::parse(id).unwrap();
    store.connector(&id).await.unwrap()
}

/// The number in a name.
fn number_in(name: &str) -> u64 {
    name.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Name, document and secret of `record` are all of change `number`.
async fn assert_carries(store: &Store, record: &ConnectorRecord, number: u64) {
    let id = &record.id;
    assert_eq!(record.name, format!("{id} {number}"));
    assert_eq!(
        record.document["requests_in_flight_max"],
        number + 1,
        "{id}"
    );
    let secrets = store.secrets(record, Slot::Current).await.unwrap();
    let kept = secrets["/auth/basic/password"].expose();
    assert_eq!(kept, secret(number), "{id}");
    let revision = store.revision().await.unwrap();
    assert!(record.revision <= revision, "{id}");
}

async fn killed_again_and_again(vault: Vault) {
    let mut scene = Scene::new(vault).await;
    let mut chance = Chance(SEED);
    for round in 0..KILLS {
        scene.live_and_die(&mut chance).await;
        // Every other time the next gateway finds what this one left, and nobody has looked.
        if chance.below(2) == 0 || round + 1 == KILLS {
            scene.judge(round).await;
        } else {
            scene.until_the_dead_are_done().await.close().await;
        }
    }
    let edits: u64 = scene
        .editors
        .iter()
        .map(|told| told.acknowledged.load(Ordering::Relaxed))
        .sum();
    let made = scene.maker.acknowledged.load(Ordering::Relaxed);
    println!("{KILLS} kills among {edits} edits and {made} creations and deletions");
    assert!(edits + made > KILLS, "the kills hit nothing");
}

#[tokio::test]
async fn no_acknowledged_change_is_lost_or_halved_by_200_kills_on_sqlite() {
    killed_again_and_again(Vault::sqlite()).await;
}

#[tokio::test]
async fn no_acknowledged_change_is_lost_or_halved_by_200_kills_on_postgresql() {
    let server = Postgres::own(Fsync::On);
    killed_again_and_again(Vault::postgres(server).await).await;
}
