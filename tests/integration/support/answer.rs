//! What an origin stand-in answers.

use http::Response;

use super::body::{Outgoing, Pen};

/// An answer.
pub(crate) struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Outgoing,
}

impl Answer {
    /// 200 and a text.
    pub(crate) fn text(body: &str) -> Self {
        Self::status(200).body(body.to_owned())
    }

    /// 200 and JSON.
    pub(crate) fn json(body: &serde_json::Value) -> Self {
        Self::status(200)
            .field("content-type", "application/json")
            .body(body.to_string())
    }

    /// A status and nothing else.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Outgoing::Whole(None),
        }
    }

    /// 200 and a body that the pen writes.
    pub(crate) fn streamed() -> (Pen, Self) {
        let (pen, body) = Outgoing::streamed();
        (
            pen,
            Self {
                body,
                ..Self::status(200)
            },
        )
    }

    /// The same with one more field line.
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The content, where it is known beforehand.
    pub(crate) fn whole_body(&self) -> Vec<u8> {
        match &self.body {
            Outgoing::Whole(bytes) => bytes.clone().unwrap_or_default().to_vec(),
            Outgoing::Streamed(_) => panic!("a pen writes it"),
        }
    }

    /// The same with this content.
    pub(crate) fn body(self, body: impl Into<Outgoing>) -> Self {
        Self {
            body: body.into(),
            ..self
        }
    }

    pub(super) fn into_response(self) -> Response<Outgoing> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in &self.fields {
            response = response.header(name, value);
        }
        response.body(self.body).unwrap()
    }
}
