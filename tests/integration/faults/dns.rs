//! Rows of the matrix: the name of an origin or a token endpoint. Both are healthy.

use std::time::Duration;

use super::Trouble::{Addresses, Denied, Failing, Hanging};
use super::{CONTENT, Limit, Row, Warm, rows};

/// How soon after a failed look-up the next may start.
const RETRY: Duration = Duration::from_secs(1);
/// An age in which addresses are looked up again before they are used.
const OLD: Duration = Duration::from_secs(30);
/// An age in which they are used only for want of newer ones, and no idle connection is left.
const STALE: Duration = Duration::from_secs(11 * 60);
/// An age in which they are not used at all.
const FORGOTTEN: Duration = Duration::from_secs(61 * 60);

const FAILED: &str = "names failed";

impl Row {
    fn unresolved(self) -> Self {
        self.refused(502, "origin-unreachable", "dns_error")
            .counts(FAILED)
            .recovers_after(RETRY)
    }

    fn prohibited(self) -> Self {
        self.refused(502, "address-refused", "destination_ip_prohibited")
            .recovers_after(OLD)
    }
}

rows! {
    no_such_name => Row::origin_name(Denied).unresolved();
    no_address => Row::origin_name(Addresses(&[])).unresolved();
    name_servers_fail => Row::origin_name(Failing).unresolved();
    name_servers_are_silent => Row::origin_name(Hanging)
        .by(Limit::Upstream("connect: 1s"))
        .refused(504, "origin-timeout", "dns_timeout");
    private_address => Row::origin_name(Addresses(&["10.0.0.1"])).prohibited();
    metadata_address => Row::origin_name(Addresses(&["169.254.169.254"])).prohibited();
    private_and_good_address => Row::origin_name(Addresses(&["10.0.0.1", "127.0.0.1"]))
        .answered(200, CONTENT)
        .heard(1);
    dead_address => Row::origin_name(Addresses(&["127.0.0.2"]))
        .refused(502, "origin-unreachable", "connection_refused")
        .recovers_after(OLD);
    dead_and_good_address => Row::origin_name(Addresses(&["127.0.0.2", "127.0.0.1"]))
        .answered(200, CONTENT)
        .heard(1);
    /// RFC 8767.
    old_address_while_name_servers_fail => Row::origin_name(Failing)
        .warm(Warm::Later(STALE))
        .answered(200, CONTENT)
        .heard(1)
        .counts(FAILED)
        .counts("names stale")
        .recovers_after(RETRY);
    too_old_address_while_name_servers_fail => Row::origin_name(Failing)
        .warm(Warm::Later(FORGOTTEN))
        .unresolved();
    old_address_of_a_name_that_is_gone => Row::origin_name(Denied)
        .warm(Warm::Later(STALE))
        .unresolved();

    token_endpoint_without_a_name => Row::token_endpoint_name(Denied, "token unreachable")
        .counts(FAILED);
    token_endpoint_while_name_servers_fail => Row::token_endpoint_name(Failing, "token unreachable")
        .counts(FAILED);
    token_endpoint_while_name_servers_are_silent => Row::token_endpoint_name(Hanging, "token timeout")
        .by(Limit::Tokens("wait: 1m, fetch: 1s"));
    token_endpoint_with_a_private_address =>
        Row::token_endpoint_name(Addresses(&["10.0.0.1"]), "token unreachable").recovers_after(OLD);
    token_endpoint_with_a_dead_address =>
        Row::token_endpoint_name(Addresses(&["127.0.0.2"]), "token unreachable").recovers_after(OLD);
}
