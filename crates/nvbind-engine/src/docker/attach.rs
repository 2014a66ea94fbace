//! Standard input and output of a container.
//!
//! The connection is made here and not by the API client: that one takes the bytes of a terminal for frames when they
//! begin with 0, 1 or 2.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Bytes before each piece of output of a container without a terminal: stream, three zeros, length (big endian).
const FRAME_HEADER: usize = 8;
/// The stream number of standard error in a frame.
const STDERR: u8 = 2;

/// A connection to a container's standard streams.
#[derive(Debug)]
pub(super) struct Attached {
    output: BufReader<UnixStream>,
    input: UnixStream,
}

impl Attached {
    /// Attaches to a container that has not been started yet, so that nothing it says is missed.
    pub(super) fn open(socket: &Path, id: &str, stdin: bool) -> io::Result<Self> {
        let mut input = UnixStream::connect(socket)?;
        let stdin = u8::from(stdin);
        write!(
            input,
            "POST /containers/{id}/attach?stream=1&stdin={stdin}&stdout=1&stderr=1 HTTP/1.1\r\n\
             Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        )?;
        let mut output = BufReader::new(input.try_clone()?);
        read_response(&mut output)?;
        Ok(Self { output, input })
    }

    /// The side that the container's output is read from, and the one that its input is written to.
    pub(super) fn split(self) -> (BufReader<UnixStream>, UnixStream) {
        (self.output, self.input)
    }
}

/// Reads the answer's head: after it the connection carries the streams.
fn read_response(reader: &mut impl BufRead) -> io::Result<()> {
    let mut status = String::new();
    reader.read_line(&mut status)?;
    if !["HTTP/1.1 101", "HTTP/1.1 200"]
        .iter()
        .any(|good| status.starts_with(good))
    {
        return Err(io::Error::other(format!("unexpected answer '{}'", status.trim())));
    }
    let mut line = String::new();
    while !matches!(line.as_str(), "\r\n" | "\n") {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Copies what a container says until it ends. With a terminal it is one stream of bytes, without one frames.
pub(super) fn copy_output(
    reader: &mut impl BufRead,
    tty: bool,
    stdout: &mut impl Write,
    stderr: &mut impl Write,
) -> io::Result<()> {
    if tty {
        return copy(reader, stdout);
    }
    while let Some((stream, length)) = read_frame(reader)? {
        let mut frame = reader.by_ref().take(length);
        if stream == STDERR {
            copy(&mut frame, stderr)?;
        } else {
            copy(&mut frame, stdout)?;
        }
        if frame.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Copies a person's or a pipe's input, then says that there is no more of it.
pub(super) fn copy_input(mut from: impl Read, mut to: UnixStream) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.shutdown(Shutdown::Write),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Stream and length of the next frame; `None` at the end.
fn read_frame(reader: &mut impl BufRead) -> io::Result<Option<(u8, u64)>> {
    if reader.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut header = [0; FRAME_HEADER];
    reader.read_exact(&mut header)?;
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    Ok(Some((header[0], u64::from(length))))
}

/// Copies piece by piece, each passed on at once: a prompt has no newline.
fn copy(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<()> {
    loop {
        let count = {
            let piece = reader.fill_buf()?;
            writer.write_all(piece)?;
            writer.flush()?;
            piece.len()
        };
        if count == 0 {
            return Ok(());
        }
        reader.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(bytes: &[u8], tty: bool) -> (io::Result<()>, Vec<u8>, Vec<u8>) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let result = copy_output(&mut BufReader::with_capacity(3, bytes), tty, &mut stdout, &mut stderr);
        (result, stdout, stderr)
    }

    #[test]
    fn frames_go_to_their_streams() {
        let bytes = [
            &[1, 0, 0, 0, 0, 0, 0, 5][..],
            b"hello",
            &[2, 0, 0, 0, 0, 0, 0, 3],
            b"bad",
            &[1, 0, 0, 0, 0, 0, 0, 0],
        ];
        let (result, stdout, stderr) = output(&bytes.concat(), false);
        assert!(result.is_ok());
        assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"hello"[..], &b"bad"[..]));
    }

    #[test]
    fn a_terminal_is_passed_on_as_it_is() {
        let bytes = [1, 0, 0, 0, 0, 0, 0, 200, 7];
        let (result, stdout, _) = output(&bytes, true);
        assert!(result.is_ok());
        assert_eq!(stdout, bytes);
    }

    #[test]
    fn a_cut_frame_is_an_error() {
        for cut in [&[1, 0, 0][..], &[1, 0, 0, 0, 0, 0, 0, 5, b'h']] {
            assert_eq!(output(cut, false).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn an_answer_other_than_an_upgrade_is_an_error() {
        let read = |text: &str| read_response(&mut text.as_bytes());
        assert!(read("HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n").is_ok());
        assert!(read("HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 101 UPGRADED\r\n").is_err());
    }
}
