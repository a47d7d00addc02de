//! What a scrape gets: Prometheus text 0.0.4, plain or as gzip.

use std::fmt;
use std::io::{Cursor, Read, Take, Write as _};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use prometheus::process_collector::ProcessCollector;

use super::collector::ESTATE;
use super::family::Text;
use super::own;
use super::per_snapshot::PerSnapshot;
use crate::model::Snapshot;
use crate::stats::Stats;

/// Renders scrapes. The estate's part is made at most once a snapshot, the process's
/// own part with each scrape.
pub struct Exposition {
    stats: Arc<Stats>,
    /// Behind a lock, because two collections at once would count CPU time twice.
    process: Mutex<ProcessCollector>,
    /// The estate's part, packed: as text it is ten times as long.
    estate: PerSnapshot<OnceLock<Member>>,
}

/// The estate's families alone, as Prometheus text 0.0.4: what a textfile holds.
pub fn estate(snapshot: &Snapshot) -> Vec<u8> {
    let mut all = Vec::new();
    write_estate(snapshot, &mut |piece| all.extend_from_slice(piece));
    all.shrink_to_fit();
    all
}

/// The same piece by piece, so that the whole text, kilobytes a domain, is never held.
pub fn write_estate(snapshot: &Snapshot, leave: &mut dyn FnMut(&[u8])) {
    let mut text = Text::of(snapshot, leave);
    for (definition, fill) in ESTATE {
        fill(snapshot, &mut text.family(definition));
    }
    text.finish();
}

/// How a scrape is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// One gzip member (RFC 1952).
    Gzip,
}

impl Exposition {
    /// Nothing is rendered yet.
    pub fn new(stats: Arc<Stats>) -> Self {
        let process = Mutex::new(ProcessCollector::for_self());
        Self { stats, process, estate: PerSnapshot::default() }
    }

    /// The whole text; before the first audit only the process's own families. It takes time in
    /// proportion to the estate when the snapshot is new: call it where blocking is allowed.
    pub fn render(&self, snapshot: Option<&Arc<Snapshot>>, encoding: Encoding) -> Scrape {
        let own = self.own();
        let Some(snapshot) = snapshot else {
            return match encoding {
                Encoding::Plain => Scrape::whole(own),
                Encoding::Gzip => Deflated::begin().finish().finished_with(&own),
            };
        };
        let made = self.estate.of(snapshot);
        let member = made.get_or_init(|| Member::of(snapshot));
        match encoding {
            Encoding::Plain => member.unpacked_with(own),
            Encoding::Gzip => member.finished_with(&own),
        }
    }

    fn own(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut leave = |piece: &[u8]| all.extend_from_slice(piece);
        let mut text = Text::new(self.stats.vantage(), &mut leave);
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        own::write(&self.stats, &process, &mut text);
        text.finish();
        all
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exposition").finish_non_exhaustive()
    }
}

/// What a scrape gets, piece by piece: its whole text, 2 KiB a domain, is never held.
#[derive(Debug)]
pub struct Scrape {
    length: usize,
    /// What was not taken yet.
    estate: Option<Estate>,
    /// What stands behind it.
    rest: Option<Vec<u8>>,
}

/// The estate's part of a scrape.
#[derive(Debug)]
enum Estate {
    Packed(Arc<[u8]>),
    Unpacked(Take<DeflateDecoder<Cursor<Arc<[u8]>>>>),
}

/// A piece of a scrape.
#[derive(Debug)]
pub enum Piece {
    /// Which all scrapes of a snapshot have.
    Shared(Arc<[u8]>),
    /// Which only this one has.
    Own(Vec<u8>),
}

/// So much text is unpacked at once. Of a reader that does not read, 16 pieces wait.
const PIECE: usize = 8 << 10;

impl Scrape {
    fn whole(text: Vec<u8>) -> Self {
        Self { length: text.len(), estate: None, rest: Some(text) }
    }

    /// Of all pieces together, in bytes.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Iterator for Scrape {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        match &mut self.estate {
            Some(Estate::Packed(bytes)) => {
                let bytes = bytes.clone();
                self.estate = None;
                return Some(Piece::Shared(bytes));
            }
            Some(Estate::Unpacked(text)) => {
                let mut piece = Vec::with_capacity(PIECE);
                let read = text.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                if read.expect("it was packed here") > 0 {
                    return Some(Piece::Own(piece));
                }
                self.estate = None;
            }
            None => {}
        }
        self.rest.take().map(Piece::Own)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// The beginning of a gzip member: its header, and blocks that end at a byte's edge (a sync flush,
/// RFC 1951 section 3.2.4), so that the blocks of another text can follow. Simple readers know only
/// one member, so two joined ones would not do.
struct Member {
    bytes: Arc<[u8]>,
    crc: Crc,
}

impl Member {
    /// The estate's, piece by piece, so that the whole text is never held.
    fn of(snapshot: &Snapshot) -> Self {
        let mut deflated = Deflated::begin();
        write_estate(snapshot, &mut |piece| deflated.push(piece));
        deflated.finish()
    }

    /// The text of it, and this text behind.
    fn unpacked_with(&self, text: Vec<u8>) -> Scrape {
        let amount = u64::from(self.crc.amount());
        let mut blocks = Cursor::new(self.bytes.clone());
        blocks.set_position(GZIP_HEADER.len() as u64);
        // The last block is still to come, so no more is read than there is.
        let estate = DeflateDecoder::new(blocks).take(amount);
        Scrape {
            length: text.len() + usize::try_from(amount).unwrap_or(0),
            estate: Some(Estate::Unpacked(estate)),
            rest: Some(text),
        }
    }

    /// The whole member, this text at its end.
    fn finished_with(&self, text: &[u8]) -> Scrape {
        let mut rest = Deflated::with(Vec::new());
        rest.push(text);
        let Deflated { encoder, crc: rest_crc } = rest;
        let mut rest = encoder.finish().expect("memory takes every byte");
        let mut crc = Crc::new();
        crc.combine(&self.crc);
        crc.combine(&rest_crc);
        rest.extend([crc.sum().to_le_bytes(), crc.amount().to_le_bytes()].concat());
        Scrape {
            length: self.bytes.len() + rest.len(),
            estate: Some(Estate::Packed(self.bytes.clone())),
            rest: Some(rest),
        }
    }
}

/// Blocks under way, and the checksum of what they hold.
struct Deflated {
    encoder: DeflateEncoder<Vec<u8>>,
    crc: Crc,
}

/// Method deflate, no flags, no time, unknown system (RFC 1952 section 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

impl Deflated {
    fn begin() -> Self {
        Self::with(GZIP_HEADER.to_vec())
    }

    fn with(bytes: Vec<u8>) -> Self {
        Self { encoder: DeflateEncoder::new(bytes, LEVEL), crc: Crc::new() }
    }

    fn push(&mut self, text: &[u8]) {
        self.crc.update(text);
        self.encoder.write_all(text).expect("memory takes every byte");
    }

    fn finish(mut self) -> Member {
        self.encoder.flush().expect("memory takes every byte");
        let bytes = std::mem::take(self.encoder.get_mut());
        Member { bytes: bytes.into(), crc: self.crc }
    }
}

/// The text repeats itself so much that more effort hardly shortens it.
const LEVEL: Compression = Compression::fast();

#[cfg(test)]
mod tests;
