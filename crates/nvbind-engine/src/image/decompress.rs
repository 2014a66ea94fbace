//! Layers come plain, gzipped or as zstd; which is told by their first bytes, not by what a manifest claims.

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read};

const BUFFER: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A reader of the plain content.
pub(super) fn decompress<'a>(raw: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut raw = BufReader::with_capacity(BUFFER, raw);
    let start = raw.fill_buf()?;
    if start.starts_with(&GZIP) {
        Ok(Box::new(MultiGzDecoder::new(raw)))
    } else if start.starts_with(&ZSTD) || is_skippable(start) {
        Ok(Box::new(Zstd {
            source: raw,
            decoder: FrameDecoder::new(),
            in_frame: false,
        }))
    } else {
        Ok(Box::new(raw))
    }
}

/// A zstd frame that carries no data (RFC 8878, 3.1.2): magic 0x184D2A50 to 0x184D2A5F.
fn is_skippable(start: &[u8]) -> bool {
    start.len() >= 4 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18]
}

/// All frames of a zstd stream, one after the other.
struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    /// Goes to the next frame with data; `false` at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    io::copy(&mut self.source.by_ref().take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame && self.decoder.is_finished() && self.decoder.can_collect() == 0 {
                self.in_frame = false;
            }
            if !self.in_frame && !self.next_frame()? {
                return Ok(0);
            }
            self.in_frame = true;
            while self.decoder.can_collect() < buffer.len() && !self.decoder.is_finished() {
                let missing = buffer.len() - self.decoder.can_collect();
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBytes(missing))
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            let length = self.decoder.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn plain(raw: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        decompress(raw).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn every_form_gives_the_same_bytes() {
        let text: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        assert_eq!(plain(&text), text);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        assert_eq!(plain(&gzip.finish().unwrap()), text);
        assert_eq!(plain(&zstd(&text)), text);
    }

    #[test]
    fn zstd_frames_follow_each_other_and_may_be_skippable() {
        let mut raw = vec![0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        raw.extend(zstd(b"one "));
        raw.extend([0x5f, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        raw.extend(zstd(b"two"));
        assert_eq!(plain(&raw), b"one two");
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let raw = zstd(&[7; 100_000]);
        let mut bytes = Vec::new();
        assert!(
            decompress(&raw[..raw.len() - 2])
                .unwrap()
                .read_to_end(&mut bytes)
                .is_err()
        );
    }
}
