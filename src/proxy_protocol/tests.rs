//! Headers byte by byte, and who is believed: refusals first.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::header::START_BYTES;
use super::*;

/// The signature of `proxy-protocol.txt` §2.2.
const SIGNATURE: [u8; 12] = [
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
];
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const BEHIND: &[u8] = b"GET / HTTP/1.1\r\n";

fn header(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

/// 203.0.113.7:51000 to 198.51.100.1:443, in network order.
fn tcp4() -> Vec<u8> {
    let ports = [51_000_u16, 443].map(u16::to_be_bytes).concat();
    [&[203, 0, 113, 7, 198, 51, 100, 1], &ports[..]].concat()
}

fn ends4() -> Ends {
    Ends {
        source: "203.0.113.7:51000".parse().unwrap(),
        destination: "198.51.100.1:443".parse().unwrap(),
    }
}

fn tcp6(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let ports = [51_000_u16, 443].map(u16::to_be_bytes).concat();
    [&source.octets(), &destination.octets(), &ports[..]].concat()
}

fn value(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

/// A header with its checksum, bit by bit as RFC 4960 Appendix B describes it.
fn with_checksum(block: &[u8]) -> Vec<u8> {
    let mut whole = header(PROXY, TCP4, &[block, &value(3, &[0; 4])].concat());
    let mut rest = u32::MAX;
    for byte in &whole {
        rest ^= u32::from(*byte);
        for _ in 0..8 {
            let low = rest & 1;
            rest >>= 1;
            if low == 1 {
                rest ^= 0x82f6_3b78;
            }
        }
    }
    let at = whole.len() - 4;
    whole[at..].copy_from_slice(&(!rest).to_be_bytes());
    whole
}

fn refused(bytes: &[u8]) -> HeaderError {
    match parse(bytes) {
        Err(error) => error,
        Ok(header) => panic!("{bytes:02x?} was read as {header:?}"),
    }
}

#[test]
fn what_is_no_header_of_version_2_is_missing_one_from_its_first_wrong_byte() {
    let good = header(PROXY, TCP4, &tcp4());
    for at in 0..12 {
        let mut bad = good.clone();
        bad[at] ^= 0x01;
        assert_eq!(refused(&bad), HeaderError::Missing, "{at}");
        assert_eq!(refused(&bad[..=at]), HeaderError::Missing, "{at}");
    }
    for version in [0x01, 0x11, 0x31, 0xf1] {
        assert_eq!(
            refused(&header(version, TCP4, &tcp4())),
            HeaderError::Missing
        );
    }
    for other in [
        &b"PROXY TCP4 203.0.113.7 198.51.100.1 51000 443\r\n"[..],
        b"PROXY UNKNOWN\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0",
    ] {
        assert_eq!(refused(other), HeaderError::Missing);
    }
}

#[test]
fn what_the_protocol_does_not_list_is_malformed() {
    for command in 2..16 {
        let bytes = header(0x20 | command, TCP4, &tcp4());
        assert_eq!(refused(&bytes), HeaderError::Malformed, "{command}");
    }
    for family in 0..=u8::MAX {
        let listed = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32];
        let read = parse(&header(PROXY, family, &[0; 216]));
        assert_eq!(read.is_ok(), listed.contains(&family), "{family:02x}");
    }
}

#[test]
fn a_block_too_short_for_its_addresses_is_malformed() {
    for (family, whole) in [
        (TCP4, 12),
        (0x12, 12),
        (TCP6, 36),
        (0x22, 36),
        (0x31, 216),
        (0x32, 216),
    ] {
        for length in 0..whole {
            let bytes = header(PROXY, family, &vec![0; length]);
            assert_eq!(refused(&bytes), HeaderError::Malformed, "{family} {length}");
        }
        assert!(parse(&header(PROXY, family, &vec![0; whole])).is_ok());
    }
}

#[test]
fn values_that_do_not_fill_the_header_to_its_end_are_malformed() {
    for values in [
        &[4][..],
        &[4, 0],
        &[4, 0, 1],
        &[4, 0xff, 0xff, 0],
        &[4, 0, 0, 4],
        // A checksum has four bytes (§2.2.3).
        &[3, 0, 3, 1, 2, 3],
        &[3, 0, 0],
    ] {
        let bytes = header(PROXY, TCP4, &[&tcp4(), values].concat());
        assert_eq!(refused(&bytes), HeaderError::Malformed, "{values:?}");
    }
}

#[test]
fn a_header_longer_than_the_limit_is_refused_by_its_length_alone() {
    let fits = HEADER_BYTES_MAX - START_BYTES;
    let padded = |bytes: usize| [tcp4(), value(4, &vec![0; bytes - tcp4().len() - 3])].concat();
    assert!(parse(&header(PROXY, TCP4, &padded(fits))).is_ok());

    for block in [padded(fits + 1), padded(usize::from(u16::MAX))] {
        let bytes = header(PROXY, TCP4, &block);
        let length = bytes.len();
        assert_eq!(refused(&bytes), HeaderError::TooLong { length });
        let start = &bytes[..START_BYTES];
        assert_eq!(refused(start), HeaderError::TooLong { length });
    }
}

#[test]
fn a_checksum_that_is_there_has_to_be_right() {
    // proxy-protocol.txt §2.2.3.
    let good = with_checksum(&[tcp4(), value(2, b"crm.example")].concat());
    assert_eq!(parse(&good).unwrap().ends, Some(ends4()));

    // All but the byte that says that this is a checksum.
    for at in (START_BYTES..good.len()).filter(|at| *at != good.len() - 7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let error = refused(&bad);
        let fits = [HeaderError::Checksum, HeaderError::Malformed].contains(&error);
        assert!(fits, "{at}: {error}");
    }
    let mut another_source = good;
    another_source[START_BYTES] ^= 1;
    assert_eq!(refused(&another_source), HeaderError::Checksum);
}

#[test]
fn a_header_that_is_cut_off_is_told_from_one_that_is_wrong() {
    let whole = with_checksum(&tcp4());
    for cut in 0..whole.len() {
        assert_eq!(refused(&whole[..cut]), HeaderError::Truncated, "{cut}");
    }
}

#[test]
fn both_ends_come_in_either_family_and_mapped_ones_as_what_they_map() {
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let mapped = |a: Ipv4Addr| a.to_ipv6_mapped();
    for (family, block, source, destination) in [
        (TCP4, tcp4(), "203.0.113.7:51000", "198.51.100.1:443"),
        (
            TCP6,
            tcp6(v6("2001:db8::7"), v6("2001:db8::1")),
            "[2001:db8::7]:51000",
            "[2001:db8::1]:443",
        ),
        // RFC 4291 §2.5.5.2.
        (
            TCP6,
            tcp6(
                mapped([203, 0, 113, 7].into()),
                mapped([198, 51, 100, 1].into()),
            ),
            "203.0.113.7:51000",
            "198.51.100.1:443",
        ),
    ] {
        let bytes = [header(PROXY, family, &block), BEHIND.to_vec()].concat();
        let read = parse(&bytes).unwrap();

        assert_eq!(read.length, bytes.len() - BEHIND.len());
        let ends = read.ends.unwrap();
        assert_eq!(ends.source, source.parse().unwrap());
        assert_eq!(ends.destination, destination.parse().unwrap());
    }
}

#[test]
fn who_speaks_for_itself_keeps_its_own_ends() {
    // A LOCAL one's block means nothing, whatever family it names (§2.2).
    for family in 0..=u8::MAX {
        let read = parse(&header(LOCAL, family, b"\x03\x00\x04not a value")).unwrap();
        assert_eq!(read.ends, None);
        assert_eq!(read.length, START_BYTES + 14);
    }
    for (family, block) in [
        (0x00, &b"whatever"[..]),
        (0x12, &[0; 12]),
        (0x22, &[0; 36]),
        (0x31, &[0; 216]),
        (0x32, &[0; 216]),
    ] {
        let read = parse(&header(PROXY, family, block)).unwrap();
        assert_eq!(read.ends, None, "{family:02x}");
    }
}

#[test]
fn nothing_that_is_thrown_at_it_is_read_beyond_its_end() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let seed = with_checksum(&[tcp4(), value(4, &[0; 9]), value(1, b"h2")].concat());
    for _ in 0..20_000 {
        let mut bytes = seed.clone();
        for _ in 0..random() % 4 {
            let at = usize::try_from(random()).unwrap() % bytes.len();
            bytes[at] = random().to_le_bytes()[0];
        }
        bytes.truncate(usize::try_from(random()).unwrap() % (bytes.len() + 1));

        if let Ok(read) = parse(&bytes) {
            assert!(read.length <= bytes.len() && read.length <= HEADER_BYTES_MAX);
            assert_eq!(parse(&bytes[..read.length]), Ok(read));
        }
    }
}

/// Gives its pieces one at a time, however much room there is.
struct Pieces(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_header_is_read_however_it_is_cut_and_nothing_behind_it() {
    let sent = [with_checksum(&tcp4()), BEHIND.to_vec()].concat();
    for cut in 1..sent.len() {
        let (front, back) = sent.split_at(cut);
        let mut stream = Pieces([front.to_vec(), back.to_vec()].into());

        let ends = read(&mut stream).await.unwrap();

        assert_eq!(ends, Some(ends4()), "{cut}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, BEHIND, "{cut}");
    }
}

#[tokio::test]
async fn who_says_nothing_is_gone_and_who_breaks_off_is_cut_off() {
    let whole = header(PROXY, TCP4, &tcp4());
    let nothing = read(&mut Pieces([].into())).await;
    assert!(matches!(nothing, Err(Refused::Gone(_))), "{nothing:?}");

    for cut in 1..whole.len() {
        let broken = read(&mut Pieces([whole[..cut].to_vec()].into())).await;
        let cut_off = matches!(broken, Err(Refused::Header(HeaderError::Truncated)));
        assert!(cut_off, "{cut}: {broken:?}");
    }
}

#[tokio::test]
async fn what_cannot_become_a_header_is_not_waited_for() {
    let (mut client, mut server) = tokio::io::duplex(64);
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET")
        .await
        .unwrap();

    let refused = read(&mut server).await;

    let missing = matches!(refused, Err(Refused::Header(HeaderError::Missing)));
    assert!(missing, "{refused:?}");
}

#[test]
fn balancers_are_those_within_their_networks_and_all_where_none_is_listed() {
    let networks = ["192.0.2.0/24", "2001:db8::/64", "198.51.100.9/32"];
    let networks = networks.map(|network| network.parse().unwrap());
    let balancers = Balancers::within(&networks);
    for (address, is_one) in [
        ("192.0.1.255", false),
        ("192.0.2.0", true),
        ("192.0.2.255", true),
        ("192.0.3.0", false),
        ("::ffff:192.0.2.1", true),
        ("::ffff:192.0.3.1", false),
        ("198.51.100.8", false),
        ("198.51.100.9", true),
        ("2001:db8::ffff:ffff:ffff:ffff", true),
        ("2001:db8:0:1::", false),
    ] {
        assert_eq!(
            balancers.include(address.parse().unwrap()),
            is_one,
            "{address}"
        );
        assert!(Balancers::default().include(address.parse().unwrap()));
    }
}
