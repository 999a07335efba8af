//! What is sealed opens in its place and nowhere else.

#![allow(
    clippy::unwrap_used,
    reason = "the functions that stage these tests are no tests themselves"
)]

use super::*;
use crate::config::MasterKey;

const DESTINATION: [u8; 32] = [9; 32];

fn master_key(byte: u8) -> MasterKey {
    MasterKey::new(Zeroizing::new([byte; 32]))
}

fn keyring(keys: &[u8]) -> Keyring {
    let keys: Vec<_> = keys.iter().copied().map(master_key).collect();
    Keyring::new(&keys).unwrap()
}

/// A place by its words.
struct Spot(Organization, ConnectorId, Slot);

fn spot(organization: &str, connector: &str, slot: Slot) -> Spot {
    Spot(
        Organization::parse(organization).unwrap(),
        ConnectorId::parse(connector).unwrap(),
        slot,
    )
}

impl Spot {
    fn place(&self) -> Place<'_> {
        Place {
            organization: &self.0,
            connector: &self.1,
            slot: self.2,
        }
    }
}

fn secrets() -> Secrets {
    [
        ("/auth/oauth2/client_secret", "hunter2"),
        ("/auth/oauth2/password", "correct horse"),
    ]
    .into_iter()
    .map(|(field, text)| (field.to_owned(), Secret::new(text.to_owned())))
    .collect()
}

fn sealed(keyring: &Keyring) -> (Spot, SealedSecrets) {
    let crm = spot("north", "crm", Slot::Current);
    let sealed = keyring.seal_secrets(crm.place(), 17, &DESTINATION, &secrets());
    let sealed = sealed.unwrap();
    (crm, sealed)
}

#[test]
fn what_was_sealed_opens() {
    let keyring = keyring(&[1]);
    let (crm, sealed) = sealed(&keyring);

    let opened = keyring.open_secrets(crm.place(), &DESTINATION, &sealed);

    assert_eq!(opened, Ok(secrets()));
    let shown = format!("{sealed:?}");
    assert!(!shown.contains("hunter2"));
    for bytes in sealed.fields.values() {
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    }
}

#[test]
fn equal_secrets_are_sealed_differently_each_time() {
    let keyring = keyring(&[1]);
    let (_, first) = sealed(&keyring);
    let (_, second) = sealed(&keyring);

    assert_ne!(first.key.bytes, second.key.bytes);
    for (field, bytes) in &first.fields {
        assert_ne!(&bytes[1..13], &second.fields[field][1..13], "nonce");
        assert_ne!(&bytes[13..], &second.fields[field][13..], "ciphertext");
    }
}

#[test]
fn nothing_opens_in_another_place() {
    let keyring = keyring(&[1]);
    let (_, sealed) = sealed(&keyring);
    for elsewhere in [
        spot("south", "crm", Slot::Current),
        spot("north", "erp", Slot::Current),
        spot("north", "crm", Slot::Staged),
        spot("north", "crm", Slot::Previous),
        // The same letters, divided otherwise.
        spot("northc", "rm", Slot::Current),
        spot("nort", "hcrm", Slot::Current),
    ] {
        let opened = keyring.open_secrets(elsewhere.place(), &DESTINATION, &sealed);
        assert_eq!(opened, Err(SealError::Unopened), "{:?}", elsewhere.place());
    }
}

#[test]
fn nothing_opens_beside_another_destination_or_revision() {
    let keyring = keyring(&[1]);
    let (crm, sealed) = sealed(&keyring);

    let elsewhere = keyring.open_secrets(crm.place(), &[8; 32], &sealed);
    let mut later = sealed.clone();
    later.revision += 1;
    let later = keyring.open_secrets(crm.place(), &DESTINATION, &later);

    assert_eq!(elsewhere, Err(SealError::Unopened));
    assert_eq!(later, Err(SealError::Unopened));
}

#[test]
fn a_field_does_not_open_under_anothers_name() {
    let keyring = keyring(&[1]);
    let (crm, mut sealed) = sealed(&keyring);
    let fields: Vec<String> = sealed.fields.keys().cloned().collect();
    let bytes: Vec<Vec<u8>> = sealed.fields.values().rev().cloned().collect();
    sealed.fields = fields.into_iter().zip(bytes).collect();

    let opened = keyring.open_secrets(crm.place(), &DESTINATION, &sealed);

    assert_eq!(opened, Err(SealError::Unopened));
}

#[test]
fn rows_of_two_records_do_not_mix() {
    let keyring = keyring(&[1]);
    let (crm, first) = sealed(&keyring);
    let (_, second) = sealed(&keyring);
    let mixed = SealedSecrets {
        key: second.key,
        ..first
    };

    let opened = keyring.open_secrets(crm.place(), &DESTINATION, &mixed);

    assert_eq!(opened, Err(SealError::Unopened));
}

/// Every text that differs from `bytes` in one bit, or lacks some of it, or has more.
fn tampered(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        all.push(flipped);
    }
    all.extend((0..bytes.len()).map(|length| bytes[..length].to_vec()));
    all.push([bytes, &[0]].concat());
    all.push([&[0], bytes].concat());
    all
}

#[test]
fn no_bit_can_be_changed_and_no_change_tells_anything() {
    // protocol.md, row 53.
    let keyring = keyring(&[1]);
    let (crm, sealed) = sealed(&keyring);
    let mut tried = 0;
    let mut claim = |changed: &SealedSecrets| {
        let opened = keyring.open_secrets(crm.place(), &DESTINATION, changed);
        assert_eq!(opened, Err(SealError::Unopened));
        tried += 1;
    };

    for bytes in tampered(&sealed.key.bytes) {
        let mut changed = sealed.clone();
        changed.key.bytes = bytes;
        claim(&changed);
    }
    for field in sealed.fields.keys() {
        for bytes in tampered(&sealed.fields[field]) {
            let mut changed = sealed.clone();
            changed.fields.insert(field.clone(), bytes);
            claim(&changed);
        }
    }
    for bit in 0..64 {
        let mut changed = sealed.clone();
        changed.revision ^= 1 << bit;
        claim(&changed);
    }

    // 61 bytes of a wrapped key, 36 and 42 of the secrets: eight bits and one length each.
    assert_eq!(tried, (61 + 36 + 42) * 9 + 3 * 2 + 64);
}

#[test]
fn a_key_that_is_not_held_is_named() {
    let (crm, sealed) = sealed(&keyring(&[1]));

    let opened = keyring(&[2, 3]).open_secrets(crm.place(), &DESTINATION, &sealed);

    let wanted = KeyId::of(&master_key(1));
    let error = opened.unwrap_err();
    assert!(error.to_string().contains(wanted.as_str()), "{error}");
    assert_eq!(error, SealError::KeyMissing { wanted });
}

#[test]
fn an_id_that_names_another_held_key_opens_nothing() {
    let keyring = keyring(&[1, 2]);
    let (crm, mut sealed) = sealed(&keyring);
    sealed.key.key_id = KeyId::of(&master_key(2));

    let opened = keyring.open_secrets(crm.place(), &DESTINATION, &sealed);

    assert_eq!(opened, Err(SealError::Unopened));
}

#[test]
fn a_rewrapped_record_opens_under_the_new_key_alone() {
    let (crm, mut sealed) = sealed(&keyring(&[1]));
    let both = keyring(&[2, 1]);

    sealed.key = both
        .rewrap_secrets(crm.place(), sealed.revision, &sealed.key)
        .unwrap();

    assert_eq!(sealed.key.key_id, KeyId::of(&master_key(2)));
    let opened = keyring(&[2]).open_secrets(crm.place(), &DESTINATION, &sealed);
    assert_eq!(opened, Ok(secrets()));
    let old = keyring(&[1]).open_secrets(crm.place(), &DESTINATION, &sealed);
    assert!(matches!(old, Err(SealError::KeyMissing { .. })));
}

#[test]
fn a_record_in_anothers_place_is_not_rewrapped() {
    let (_, sealed) = sealed(&keyring(&[1]));
    let erp = spot("north", "erp", Slot::Current);

    let both = keyring(&[2, 1]);
    let rewrapped = both.rewrap_secrets(erp.place(), sealed.revision, &sealed.key);

    assert_eq!(rewrapped, Err(SealError::Unopened));
}

#[test]
fn a_value_opens_in_its_own_context_only() {
    let keyring = keyring(&[1]);
    let context: &[&[u8]] = &[b"shared token", b"crm"];
    let sealed = keyring.seal_value(context, b"at-1").unwrap();

    assert_eq!(*keyring.open_value(context, &sealed).unwrap(), b"at-1");
    for other in [
        &[b"shared token".as_slice(), b"erp"][..],
        &[b"shared tokencrm"],
        &[b"shared token", b"crm", b""],
        &[],
    ] {
        let opened = keyring.open_value(other, &sealed);
        assert_eq!(opened, Err(SealError::Unopened), "{other:?}");
    }
    for bytes in tampered(&sealed.bytes) {
        let changed = SealedValue {
            bytes,
            ..sealed.clone()
        };
        let opened = keyring.open_value(context, &changed);
        assert_eq!(opened, Err(SealError::Unopened));
    }
}

#[test]
fn a_slot_is_read_as_it_was_kept() {
    for slot in Slot::ALL {
        assert_eq!(Slot::read(slot.as_str()), Some(slot));
    }
    assert_eq!(Slot::read("Current"), None);
}
