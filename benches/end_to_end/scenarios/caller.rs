//! One connection over HTTP/1.1, asked by hand: for what no load does, such as waiting.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use crate::load::Target;
use crate::load::head::{self, Length};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// More than any answer here.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// A connection that is kept.
pub(super) struct Caller {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Caller {
    /// Connects, and says nothing.
    pub(super) fn connect(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let (path, host) = (target.path("/b/100"), &target.host);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Ok(Self {
            stream,
            request: request.into(),
        })
    }

    /// Asks for 100 bytes, and returns the status of the answer once that is read whole.
    pub(super) fn ask(&mut self) -> io::Result<u16> {
        self.stream.write_all(&self.request)?;
        let (mut answer, mut end) = ([0; ANSWER_BYTES_MAX], 0);
        loop {
            let more = self.stream.read(&mut answer[end..])?;
            if more == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            end += more;
            let head = head::scan(&answer[..end]).map_err(io::Error::other)?;
            let Some(head) = head else { continue };
            let Length::Bytes(length) = head.length else {
                return Err(io::Error::other("an answer without a length"));
            };
            if end >= head.bytes + length as usize {
                return Ok(head.status);
            }
        }
    }

    /// As [`Self::ask`]; anything but 200 is an error.
    pub(super) fn ask_well(&mut self) -> io::Result<()> {
        match self.ask()? {
            200 => Ok(()),
            status => Err(io::Error::other(format!("answered with {status}"))),
        }
    }

    /// Whether the other side has neither closed the connection nor said anything on it.
    pub(super) fn is_open(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Ten thousand that are waited for by the system (TIME_WAIT) would leave few ports.
        drop(SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)));
    }
}
