//! The kernel's requests (FUSE), answered from an image.

use std::ffi::OsStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::image::{Directory, File, Image, Node};

/// The kernel asks again every time.
const NOT_CACHED: Duration = Duration::ZERO;
const BLOCK_LEN: u64 = 4096;

/// An image as a filesystem.
#[derive(Debug)]
pub(super) struct Mounted {
    image: Arc<Mutex<Image>>,
}

impl Mounted {
    pub(super) fn new(image: Arc<Mutex<Image>>) -> Mounted {
        Mounted { image }
    }

    /// Does something with the image, if it has power.
    fn with<T>(&self, action: impl FnOnce(&mut Image) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut image = self.image.lock().map_err(|_| Errno::EIO)?;
        action(image.powered()?)
    }

    fn attributes(&self, request: &Request, number: u64) -> Result<FileAttr, Errno> {
        self.with(|image| attributes(image, request, number))
    }
}

fn attributes(image: &Image, request: &Request, number: u64) -> Result<FileAttr, Errno> {
    let (kind, perm, size) = match image.node(number)? {
        Node::File(file) => (FileType::RegularFile, 0o644, file.len()),
        Node::Directory(_) => (FileType::Directory, 0o755, 0),
    };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: request.uid(),
        gid: request.gid(),
        rdev: 0,
        blksize: BLOCK_LEN as u32,
        flags: 0,
    })
}

fn empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn entry(reply: ReplyEntry, result: Result<FileAttr, Errno>) {
    match result {
        Ok(attributes) => reply.entry(&NOT_CACHED, &attributes, Generation(0)),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|image| {
            let number = image.find(parent.0, name)?;
            attributes(image, request, number)
        });
        entry(reply, found);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(request, ino.0) {
            Ok(attributes) => reply.attr(&NOT_CACHED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|image| {
            if let Some(size) = size {
                image.file(ino.0)?.set_len(size);
            }
            attributes(image, request, ino.0)
        });
        match changed {
            Ok(attributes) => reply.attr(&NOT_CACHED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.with(|image| {
            let directory = Node::Directory(Directory::default());
            let number = image.make(parent.0, name, directory)?;
            attributes(image, request, number)
        });
        entry(reply, made);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.with(|image| image.remove(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.with(|image| image.remove(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != newparent {
            return reply.error(Errno::ENOSYS);
        }
        let renamed = self.with(|image| image.rename(parent.0, name, newname));
        empty(reply, renamed);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.with(|image| {
            let number = image.make(parent.0, name, Node::File(File::default()))?;
            attributes(image, request, number)
        });
        let nothing_special = FopenFlags::empty();
        match made {
            Ok(attributes) => reply.created(
                &NOT_CACHED,
                &attributes,
                Generation(0),
                FileHandle(0),
                nothing_special,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|image| image.node(ino.0).map(|_| ())) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.with(|image| Ok(image.file(ino.0)?.read(offset, size as usize).to_vec())) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.with(|image| image.write(ino.0, offset, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close keeps nothing.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, self.with(|image| image.sync(ino.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let synced = self.with(|image| {
            image.directory(ino.0)?.sync();
            Ok(())
        });
        empty(reply, synced);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.with(|image| {
            let names = image.directory(ino.0)?.names.clone();
            names
                .into_iter()
                .map(|(name, number)| {
                    let kind = match image.node(number)? {
                        Node::File(_) => FileType::RegularFile,
                        Node::Directory(_) => FileType::Directory,
                    };
                    Ok((name, number, kind))
                })
                .collect::<Result<Vec<_>, Errno>>()
        });
        let entries = match listed {
            Ok(entries) => entries,
            Err(error) => return reply.error(error),
        };
        for (next, (name, number, kind)) in (1..).zip(entries).skip(offset as usize) {
            if reply.add(INodeNo(number), next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let reserved = self.with(|image| image.reserve(ino.0, offset + length, mode == 0));
        empty(reply, reserved);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.with(|image| Ok((image.capacity(), image.used()))) {
            Ok((capacity, used)) => {
                let blocks = (capacity / BLOCK_LEN).min(1 << 40);
                let free = blocks.saturating_sub(used / BLOCK_LEN);
                let len = BLOCK_LEN as u32;
                reply.statfs(blocks, free, free, 1 << 20, 1 << 20, len, 255, len);
            }
            Err(error) => reply.error(error),
        }
    }
}
