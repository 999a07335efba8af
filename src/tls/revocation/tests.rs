//! Lists that are sound, and lists that are not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, date_time_ymd,
};

use super::*;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// One of the name that all of them have, and a key of its own.
fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A list of `ca` from the beginning of one year to that of another.
fn list(ca: &Ca, years: (i32, i32)) -> rcgen::CertificateRevocationList {
    list_of(ca, years, None)
}

/// The same, of what `point` says alone.
fn list_of(
    ca: &Ca,
    (since, until): (i32, i32),
    point: Option<CrlIssuingDistributionPoint>,
) -> rcgen::CertificateRevocationList {
    let revoked = |number: u64| RevokedCertParams {
        serial_number: number.into(),
        revocation_time: date_time_ymd(since, 1, 1),
        reason_code: Some(rcgen::RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(since, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: 7.into(),
        issuing_distribution_point: point,
        revoked_certs: vec![revoked(1), revoked(2)],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(ca).unwrap()
}

/// Bytes as the text of a list.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
}

fn year(year: i32) -> SystemTime {
    let since_1970 = date_time_ymd(year, 1, 1).unix_timestamp();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since_1970.unsigned_abs())
}

#[test]
fn no_list_at_all_and_other_pem_are_refused() {
    let certificate = ca().pem();
    for text in ["", "nothing", &certificate] {
        let refused = check_revocations(text);

        assert!(matches!(refused, Err(TlsError::NoRevocationList)), "{text}");
    }
}

#[test]
fn a_list_that_was_cut_short_is_refused_wherever_it_was_cut() {
    // protocol.md row 45 (RUSTSEC-2026-0104: a list that makes its reader panic).
    let whole = list(&ca(), (2020, 2049));
    let der = whole.der();
    check_revocations(&pem(der)).unwrap();
    for length in 0..der.len() {
        let cut = pem(&der[..length]);

        assert!(check_revocations(&cut).is_err(), "{length} bytes");
    }
    let longer = [der, &b"\0"[..]].concat();
    assert!(check_revocations(&pem(&longer)).is_err());
}

#[test]
fn a_text_that_was_cut_short_is_refused_wherever_it_was_cut() {
    let text = list(&ca(), (2020, 2049)).pem().unwrap();
    let whole = text.trim_end().len();
    for length in 0..whole {
        assert!(
            check_revocations(&text[..length]).is_err(),
            "{length} bytes"
        );
    }
}

#[test]
fn a_list_with_any_bit_turned_is_refused_or_read_and_nothing_breaks() {
    let whole = list(&ca(), (2020, 2049));
    let mut refused = 0;
    for at in 0..whole.der().len() * 8 {
        let mut der = whole.der().to_vec();
        der[at / 8] ^= 1 << (at % 8);
        let turned = pem(&der);

        // Its signature is looked at in a handshake, with its issuer's certificate at hand.
        let checked = check_revocations(&turned);
        let read = revocation_lists(&turned);
        let _ends = next_update(&turned);

        refused += usize::from(checked.is_err());
        assert!(checked.is_err() || read.is_ok(), "bit {at}");
    }
    assert!(refused > 100, "{refused} were refused");
}

#[test]
fn of_several_lists_of_one_issuer_the_newest_counts_and_of_all_that_count_the_first_to_end() {
    let one = ca();
    let texts = |all: &[(&Ca, (i32, i32))]| -> String {
        let text = |(ca, years): &(&Ca, (i32, i32))| list(ca, *years).pem().unwrap();
        all.iter().map(text).collect()
    };
    let same_name = texts(&[
        (&one, (2020, 2021)),
        (&one, (2022, 2030)),
        (&one, (2021, 2022)),
    ]);

    assert_eq!(revocation_lists(&same_name).unwrap().len(), 1);
    assert_eq!(next_update(&same_name), Some(year(2030)));
    let mut named = CertificateParams::default();
    named.distinguished_name = rcgen::DistinguishedName::new();
    named
        .distinguished_name
        .push(rcgen::DnType::CommonName, "other");
    named.key_usages = vec![KeyUsagePurpose::CrlSign];
    let named = CertifiedIssuer::self_signed(named, KeyPair::generate().unwrap()).unwrap();
    let both = texts(&[(&one, (2022, 2030)), (&named, (2020, 2025))]);
    assert_eq!(revocation_lists(&both).unwrap().len(), 2);
    assert_eq!(next_update(&both), Some(year(2025)));
    assert_eq!(next_update("nothing"), None);
}

/// RFC 5280 §5.2.5: it is the extension that makes a list a partial one, whoever can read it.
#[test]
fn a_newer_partial_list_leaves_the_full_one_however_it_says_of_what_it_is() {
    let ca = ca();
    let point = CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://crl.example/users".to_owned()],
        },
        scope: Some(CrlScope::UserCertsOnly),
    };
    let partial = list_of(&ca, (2022, 2030), Some(point));
    let (full, older) = (list(&ca, (2021, 2040)), list(&ca, (2020, 2041)));
    let rest = full.pem().unwrap() + &older.pem().unwrap();

    // The last of it says `onlyContainsUserCerts`: [1], of one byte.
    let said = [0x81, 1, 0xff];
    let at = partial.der().windows(3).position(|bytes| bytes == said);
    for change in [0x81, 0x86, 0x02, 0xa1] {
        let mut der = partial.der().to_vec();
        der[at.unwrap()] = change;

        let counting = revocation_lists(&(pem(&der) + &rest)).unwrap();

        let counting: Vec<_> = counting.iter().map(AsRef::as_ref).collect();
        assert_eq!(counting, [&der[..], &full.der()[..]], "{change:#x}");
    }
}

/// RFC 5280 §5.2.1: a CA that has taken a new key signs the list of its old one's certificates yet.
#[test]
fn lists_by_two_keys_of_one_name_both_count() {
    let (old, new) = (ca(), ca());
    let lists = [
        list(&old, (2020, 2025)),
        list(&old, (2021, 2026)),
        list(&new, (2022, 2030)),
    ];
    let text: String = lists.iter().map(|list| list.pem().unwrap()).collect();

    let counting = revocation_lists(&text).unwrap();

    let counting: Vec<_> = counting.iter().map(AsRef::as_ref).collect();
    assert_eq!(counting, [&lists[2].der()[..], &lists[1].der()[..]]);
    assert_eq!(next_update(&text), Some(year(2026)));
}
