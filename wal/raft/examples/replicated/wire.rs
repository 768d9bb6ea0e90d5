//! Messages over TCP: their length in 4 bytes, and CBOR.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No message is larger: an entry, or a piece of a snapshot.
const MAX_SIZE: usize = 64 << 20;

/// Sends `message`.
pub(crate) async fn send(stream: &mut TcpStream, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    ciborium::into_writer(message, &mut bytes).map_err(io::Error::other)?;
    let len = bytes.len() - 4;
    let len = u32::try_from(len).ok().filter(|_| len <= MAX_SIZE);
    let len = len.ok_or_else(|| io::Error::other("the message is too large"))?;
    for (to, from) in bytes.iter_mut().zip(len.to_le_bytes()) {
        *to = from;
    }
    stream.write_all(&bytes).await
}

/// The next message; `UnexpectedEof` if there is none.
pub(crate) async fn receive<T: DeserializeOwned>(stream: &mut TcpStream) -> io::Result<T> {
    let len = stream.read_u32_le().await?;
    let len = usize::try_from(len).ok().filter(|len| *len <= MAX_SIZE);
    let len = len.ok_or_else(|| io::Error::other("the message is too large"))?;
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await?;
    ciborium::from_reader(bytes.as_slice()).map_err(io::Error::other)
}

/// A connection to the node at `address`.
pub(crate) async fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
