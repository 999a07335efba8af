//! What was sealed and then changed: `control::store::seal`.
//!
//! Every three bytes are one change: which part, where in it, what is flipped there. What was
//! changed opens nowhere; what was not opens.

#![no_main]

use std::sync::OnceLock;

use attache::config::MasterKey;
use attache::config::stored::Secrets;
use attache::connector::{ConnectorId, Organization};
use attache::control::store::{Keyring, Place, SealError, SealedSecrets, Slot, new_master_key};
use attache::secret::Secret;
use libfuzzer_sys::fuzz_target;

const FIELD: &str = "/auth/basic/password";

fuzz_target!(|data: &[u8]| {
    let (keyring, sealed) = sealed();
    let mut changed = sealed.clone();
    let mut destination = [7; 32];
    let mut name = "crm".to_owned();
    for change in data.chunks_exact(3) {
        let [part, place, flip] = [change[0], change[1], change[2]];
        let place = usize::from(place);
        match part % 8 {
            0 => flipped(changed.fields.get_mut(FIELD), place, flip),
            1 => flipped(Some(&mut changed.key.bytes), place, flip),
            2 => changed.revision ^= u64::from(flip) << (place % 56),
            3 => destination[place % 32] ^= flip,
            4 if changed
                .fields
                .get(FIELD)
                .is_some_and(|bytes| place < bytes.len()) =>
            {
                changed
                    .fields
                    .entry(FIELD.to_owned())
                    .or_default()
                    .truncate(place);
            }
            5 => changed
                .fields
                .entry(FIELD.to_owned())
                .or_default()
                .push(flip),
            6 => name = format!("crm{}", place),
            7 => changed.key.bytes.truncate(place),
            _ => {}
        }
    }
    let whole = changed == sealed && destination == [7; 32] && name == "crm";
    let connector = ConnectorId::parse(&name).expect("an ID");
    let organization = Organization::default();
    let place = Place {
        organization: &organization,
        connector: &connector,
        slot: Slot::Current,
    };
    match keyring.open_secrets(place, &destination, &changed) {
        Ok(opened) => {
            assert!(whole);
            assert_eq!(opened.get(FIELD).map(Secret::expose), Some("a secret"));
        }
        Err(error) => assert!(!whole && matches!(error, SealError::Unopened), "{error:?}"),
    }
});

/// Sealed once: what differs between runs are bits that nothing is asserted of.
fn sealed() -> (&'static Keyring, SealedSecrets) {
    static SEALED: OnceLock<(Keyring, SealedSecrets)> = OnceLock::new();
    let (keyring, sealed) = SEALED.get_or_init(|| {
        let key: MasterKey = new_master_key().expect("randomness");
        let keyring = Keyring::new(&[key]).expect("a key");
        let secret = Secret::new("a secret".to_owned());
        let secrets = Secrets::from([(FIELD.to_owned(), secret)]);
        let connector = ConnectorId::parse("crm").expect("an ID");
        let organization = Organization::default();
        let place = Place {
            organization: &organization,
            connector: &connector,
            slot: Slot::Current,
        };
        let sealed = keyring.seal_secrets(place, 3, &[7; 32], &secrets);
        (keyring, sealed.expect("it can be sealed"))
    });
    (keyring, sealed.clone())
}

fn flipped(bytes: Option<&mut Vec<u8>>, place: usize, flip: u8) {
    if let Some(byte) = bytes.and_then(|bytes| bytes.get_mut(place)) {
        *byte ^= flip;
    }
}
