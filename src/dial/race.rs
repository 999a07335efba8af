//! Both address families raced, the first connection wins (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;

/// The head start of each address over the next (RFC 8305 §5).
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Puts `addresses` in the order they are tried: families in turn, the first one's family first
/// (RFC 8305 §4).
pub(super) fn interleave<T>(addresses: Vec<T>, is_ipv6: impl Fn(&T) -> bool) -> Vec<T> {
    let first_is_v6 = addresses.first().is_some_and(&is_ipv6);
    let (one, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| is_ipv6(address) == first_is_v6);
    let mut other = other.into_iter();
    let mut ordered = Vec::with_capacity(one.len() + other.len());
    for address in one {
        ordered.push(address);
        ordered.extend(other.next());
    }
    ordered.extend(other);
    ordered
}

/// Connects to the first of `addresses` that answers. A failed attempt starts the next at once;
/// a silent one does after [`CONNECTION_ATTEMPT_DELAY`].
pub(super) async fn connect(
    addresses: &[SocketAddr],
) -> Result<TcpStream, (SocketAddr, io::Error)> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(address) => attempts.push(attempt(address)),
            None if attempts.is_empty() => break,
            None => {}
        }
        let head_start = tokio::time::sleep(CONNECTION_ATTEMPT_DELAY);
        tokio::select! {
            ended = attempts.next() => match ended {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = Some(error),
                None => {}
            },
            () = head_start => {}
        }
    }
    Err(failure.unwrap_or_else(|| {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        (nowhere, io::Error::from(io::ErrorKind::NotFound))
    }))
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, (SocketAddr, io::Error)> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| (address, error))?;
    stream.set_nodelay(true).map_err(|error| (address, error))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    #[test]
    fn families_take_turns() {
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);

        let ordered = interleave(found, SocketAddr::is_ipv6);

        assert_eq!(
            ordered,
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"])
        );
    }

    #[tokio::test]
    async fn a_refusing_address_does_not_keep_the_next_one_waiting() -> io::Result<()> {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let closed_address = closed.local_addr()?;
        drop(closed);
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await?;

        let stream = connect(&[closed_address, open.local_addr()?])
            .await
            .map_err(|(_, error)| error)?;

        assert_eq!(stream.peer_addr()?, open.local_addr()?);
        Ok(())
    }

    /// A listener whose queue is full: the system lets further connections wait in silence, as a
    /// black hole would. What fills it is to be held.
    async fn black_hole() -> io::Result<(SocketAddr, Socket, TcpStream)> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        socket.listen(0)?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let filling = TcpStream::connect(address).await?;
        Ok((address, socket, filling))
    }

    #[tokio::test]
    async fn a_silent_address_keeps_the_next_one_waiting_for_a_moment_only() -> io::Result<()> {
        // RFC 8305 §5.
        let (silent, _listener, _filling) = black_hole().await?;
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let open_address = open.local_addr()?;
        let (alone, several) = ([silent], [silent, silent, open_address]);

        let racing = async {
            tokio::select! {
                biased;
                ended = connect(&alone) => panic!("the silent address spoke: {ended:?}"),
                stream = connect(&several) => stream,
            }
        };
        let stream = tokio::time::timeout(Duration::from_secs(30), racing).await?;

        let stream = stream.map_err(|(_, error)| error)?;
        assert_eq!(stream.peer_addr()?, open_address);
        Ok(())
    }

    #[tokio::test]
    async fn the_last_failure_is_told_when_none_answers() -> io::Result<()> {
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = closed.local_addr()?;
        drop(closed);

        let failure = connect(&[address]).await.map(drop);

        assert!(matches!(failure, Err((at, error)) if at == address
                && error.kind() == io::ErrorKind::ConnectionRefused));
        Ok(())
    }
}
