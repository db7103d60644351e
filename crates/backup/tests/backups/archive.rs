//! Zip archives made by hand, so that they can lie (APPNOTE 4.3).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    /// In front of the content, where it should be the same.
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) mode: u32,
    pub(crate) sum: u32,
    pub(crate) size: u32,
    pub(crate) packed: Vec<u8>,
    pub(crate) extra: Vec<u8>,
    /// It lies within the entry before, so far behind its begin.
    pub(crate) within: Option<u32>,
}

impl Entry {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            local_name: None,
            flags: 0,
            method: 0,
            mode: 0o100_644,
            sum: sum(content),
            size: content.len() as u32,
            packed: content.to_vec(),
            extra: Vec::new(),
            within: None,
        }
    }

    pub(crate) fn deflated(name: &str, content: &[u8]) -> Self {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        archive.start_file("x", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
        let mut archive = zip::ZipArchive::new(archive.finish().unwrap()).unwrap();
        let mut packed = Vec::new();
        archive.by_index_raw(0).unwrap().read_to_end(&mut packed).unwrap();
        Self { method: 8, packed, ..Self::new(name, content) }
    }
}

fn sum(content: &[u8]) -> u32 {
    !content.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

fn common(entry: &Entry, name: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(20_u16.to_le_bytes());
    header.extend(entry.flags.to_le_bytes());
    header.extend(entry.method.to_le_bytes());
    header.extend([0, 0, 0x21, 0]);
    header.extend(entry.sum.to_le_bytes());
    header.extend((entry.packed.len() as u32).to_le_bytes());
    header.extend(entry.size.to_le_bytes());
    header.extend((name.len() as u16).to_le_bytes());
    header
}

/// Header and content.
pub(crate) fn local(entry: &Entry) -> Vec<u8> {
    let name = entry.local_name.as_ref().unwrap_or(&entry.name);
    [b"PK\x03\x04".as_slice(), &common(entry, name), &[0, 0], name, &entry.packed].concat()
}

pub(crate) fn bytes(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory, mut at) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        match entry.within {
            Some(behind) => at += behind,
            None => {
                at = out.len() as u32;
                out.extend(local(entry));
            }
        }
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(common(entry, &entry.name));
        directory.extend((entry.extra.len() as u16).to_le_bytes());
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(at.to_le_bytes());
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    let (begin, count) = (out.len() as u32, entries.len() as u16);
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(begin.to_le_bytes());
    out.extend([0, 0]);
    out
}

pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}
