//! `proxy_protocol` and `balancers`, which both kinds of listener have.

use super::reader::{Path, Reader, Section};
use super::settings::ranges;
use crate::proxy_protocol::Balancers;

const ANYBODY: &str =
    "without `balancers`, whoever reaches the listener can name any source address";
const UNUSED: &str = "`balancers` mean nothing without `proxy_protocol: true`";

/// The balancers in front of a listener, if its connections begin with a PROXY protocol header.
pub(super) fn balancers<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    path: &Path<'_>,
) -> Option<Balancers> {
    let on = reader
        .flag(section, path, "proxy_protocol")
        .unwrap_or(false);
    let written = section.written("balancers");
    let networks = match written {
        Some(node) => ranges(reader, node, &path.key("balancers")),
        None => Vec::new(),
    };
    let balancers = Balancers::within(&networks);
    match (on, balancers.are_all()) {
        (true, true) => {
            let at = section.place("proxy_protocol");
            reader.warn(at, &path.key("proxy_protocol"), ANYBODY);
        }
        (false, false) => {
            reader.warn(section.place("balancers"), &path.key("balancers"), UNUSED);
        }
        (true, false) | (false, true) => {}
    }
    on.then_some(balancers)
}
