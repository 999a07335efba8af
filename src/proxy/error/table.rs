//! The table of what the gateway itself answers, a row a reason.

use http::StatusCode;

/// The word for a refusal: the end of the problem's `type`, and the label of `refused_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is a row of TABLE, which says it in full")]
pub enum Reason {
    BadRequest,
    BadPath,
    BadHost,
    CallerUnknown,
    CallerDenied,
    ConnectorInactive,
    BrowserRefused,
    NoSuchConnector,
    Method,
    ClientTimeout,
    BodyTooLarge,
    RateLimited,
    HeadTooLarge,
    OriginUnreachable,
    OriginTls,
    OriginProtocol,
    ResponseTooLarge,
    AddressRefused,
    NoCredential,
    BreakerOpen,
    Busy,
    Draining,
    OriginTimeout,
    Loop,
}

/// One row of what the gateway itself answers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The reason.
    pub reason: Reason,
    /// Its name, as flows and metrics see it.
    pub name: &'static str,
    /// The status.
    pub status: StatusCode,
    /// The error type of `Proxy-Status` (RFC 9209 §2.3). Where it depends on what happened, the
    /// most common one.
    pub proxy_status: &'static str,
    /// When it happens, for people.
    pub when: &'static str,
}

const fn row(
    reason: Reason,
    name: &'static str,
    status: StatusCode,
    proxy_status: &'static str,
    when: &'static str,
) -> Row {
    Row {
        reason,
        name,
        status,
        proxy_status,
        when,
    }
}

/// Everything the gateway itself answers, in the order of [`Reason`].
pub const TABLE: &[Row] = &[
    row(
        Reason::BadRequest,
        "bad-request",
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "the request is malformed, or its body is",
    ),
    row(
        Reason::BadPath,
        "bad-path",
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "no connector ID, dot segments under any decoding, backslashes, control bytes",
    ),
    row(
        Reason::BadHost,
        "bad-host",
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "Host or :authority missing, doubled, contradictory, or not one of ours",
    ),
    row(
        Reason::CallerUnknown,
        "caller-unknown",
        StatusCode::UNAUTHORIZED,
        "http_request_denied",
        "this caller showed no certificate or key, or none that is known, where tls.client_ca or inbound.keys asks for one",
    ),
    row(
        Reason::CallerDenied,
        "caller-denied",
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "the connector's allow lists no such request of this caller",
    ),
    row(
        Reason::ConnectorInactive,
        "connector-inactive",
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "the connector is switched off",
    ),
    row(
        Reason::BrowserRefused,
        "browser-refused",
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "the request has Origin, Sec-Fetch-Site or Access-Control-Request-Method, as a browser's (inbound.browsers)",
    ),
    row(
        Reason::NoSuchConnector,
        "no-such-connector",
        StatusCode::NOT_FOUND,
        "destination_not_found",
        "no connector has this ID",
    ),
    row(
        Reason::Method,
        "method",
        StatusCode::METHOD_NOT_ALLOWED,
        "http_request_error",
        "CONNECT and TRACE are not carried",
    ),
    row(
        Reason::ClientTimeout,
        "client-timeout",
        StatusCode::REQUEST_TIMEOUT,
        "http_request_error",
        "the flow stopped sending amid its request",
    ),
    row(
        Reason::BodyTooLarge,
        "body-too-large",
        StatusCode::PAYLOAD_TOO_LARGE,
        "http_request_error",
        "the request's body is over limits.request_body_bytes_max, or the connector's own",
    ),
    row(
        Reason::RateLimited,
        "rate-limited",
        StatusCode::TOO_MANY_REQUESTS,
        "http_request_denied",
        "the connector gets more requests than its requests_per_second",
    ),
    row(
        Reason::HeadTooLarge,
        "head-too-large",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "http_request_error",
        "the request's head is over limits.head_bytes_max or limits.fields_max",
    ),
    row(
        Reason::OriginUnreachable,
        "origin-unreachable",
        StatusCode::BAD_GATEWAY,
        "connection_refused",
        "the resource domain's name, address or port does not answer, or it hung up before its answer",
    ),
    row(
        Reason::OriginTls,
        "origin-tls",
        StatusCode::BAD_GATEWAY,
        "tls_certificate_error",
        "the TLS handshake with the resource domain failed or its certificate was not accepted",
    ),
    row(
        Reason::OriginProtocol,
        "origin-protocol",
        StatusCode::BAD_GATEWAY,
        "http_protocol_error",
        "what the resource domain answered is not HTTP, or its head is of more than 64 KiB or, over HTTP/1.1, 100 fields",
    ),
    row(
        Reason::ResponseTooLarge,
        "response-too-large",
        StatusCode::BAD_GATEWAY,
        "http_response_body_size",
        "the answer's body is, by its length, over the connector's response_body_bytes_max",
    ),
    row(
        Reason::AddressRefused,
        "address-refused",
        StatusCode::BAD_GATEWAY,
        "destination_ip_prohibited",
        "the resource domain's address lies in a refused range (trust.allow_addresses)",
    ),
    row(
        Reason::NoCredential,
        "no-credential",
        StatusCode::SERVICE_UNAVAILABLE,
        "proxy_internal_error",
        "no token could be obtained from the authorization server",
    ),
    row(
        Reason::BreakerOpen,
        "breaker-open",
        StatusCode::SERVICE_UNAVAILABLE,
        "destination_unavailable",
        "the resource domain failed too often lately and is left alone for a while",
    ),
    row(
        Reason::Busy,
        "busy",
        StatusCode::SERVICE_UNAVAILABLE,
        "connection_limit_reached",
        "a limit on requests in flight or on connections, the connector's or the gateway's, is reached",
    ),
    row(
        Reason::Draining,
        "draining",
        StatusCode::SERVICE_UNAVAILABLE,
        "destination_unavailable",
        "the request was still in flight when a stopping gateway's timeouts.drain was over",
    ),
    row(
        Reason::OriginTimeout,
        "origin-timeout",
        StatusCode::GATEWAY_TIMEOUT,
        "http_response_timeout",
        "no connection or no answer from the resource domain in time",
    ),
    row(
        Reason::Loop,
        "loop",
        StatusCode::LOOP_DETECTED,
        "proxy_loop_detected",
        "the request passed through this gateway before (Via)",
    ),
];

impl Reason {
    /// This reason's row.
    pub fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_reasons() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.reason as usize, index, "{}", row.name);
        }
        assert_eq!(Reason::Loop as usize, TABLE.len() - 1);
    }

    #[test]
    fn no_credential_is_never_a_401() {
        assert_eq!(
            Reason::NoCredential.row().status,
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
