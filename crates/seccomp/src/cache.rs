//! Programs that were compiled before.
//!
//! An engine starts all its containers with the same profile, and libseccomp takes 20 ms and more to compile it: several times
//! what the rest of a start takes. So a program is kept under the state root, in a file whose name is a hash of its profile.
//!
//! The name is only a hint: the file holds the whole profile, with the versions of all that took part, and is of no use unless
//! that is the one asked for. It must also be whole, and belong to nobody but the caller. Whatever is wrong with it, the
//! program is compiled anew: the cache can be removed at any time.

use crate::compile::{decode, encode, has_many_names};
use crate::{Instruction, Result, compile, library_version};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use spec::Seccomp;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// To be raised with every change of what [`compile`] makes of a profile.
const VERSION: u32 = 1;
/// How many programs are kept; there are as many profiles as engines, and a few made by hand.
const MOST_FILES: usize = 32;
/// The size of the checksum at the end of a file.
const CHECKSUM: usize = 8;

/// A directory of compiled programs.
#[derive(Clone, Debug)]
pub struct Cache {
    path: PathBuf,
}

impl Cache {
    /// The cache in the directory `path`, which is made when there is something to keep.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The program of a profile, compiled now or before.
    ///
    /// # Errors
    /// Those of [`compile`]; a cache that cannot be used is none.
    pub fn program(&self, profile: &Seccomp<'_>) -> Result<Vec<Instruction>> {
        // Compiled sooner than it is worth a file.
        if !has_many_names(profile) {
            return compile(profile);
        }
        let key = key(profile);
        let name = format!("{:016x}", hash(&key));
        if let Some(program) = self.read(&name, &key) {
            return Ok(program);
        }
        let program = compile(profile)?;
        if let Err(e) = self.write(&name, &key, &program) {
            log::debug!("seccomp: {} cannot be kept in {}: {e}", name, self.path.display());
        }
        Ok(program)
    }

    fn read(&self, name: &str, key: &[u8]) -> Option<Vec<Instruction>> {
        let directory = self.open().ok()?;
        // Not to be stopped by a pipe that somebody has put there.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&directory, name, flags, Mode::empty()).ok()?);
        let size = is_ours(&file).ok()?;
        let mut bytes = Vec::with_capacity(size);
        file.read_to_end(&mut bytes).ok()?;
        let (program, checksum) = bytes.strip_prefix(key)?.split_last_chunk::<CHECKSUM>()?;
        let whole = hash(program).to_ne_bytes() == *checksum && !program.is_empty() && program.len() % 8 == 0;
        whole.then(|| decode(program))
    }

    fn write(&self, name: &str, key: &[u8], program: &[Instruction]) -> std::io::Result<()> {
        match rustix::fs::mkdir(&self.path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let directory = self.open()?;
        make_room(&directory)?;
        let program = encode(program);
        let bytes = [key, &program, &hash(&program).to_ne_bytes()].concat();
        let temporary = format!("{name}.{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &temporary, flags, Mode::RUSR | Mode::WUSR)?;
        let done = File::from(file)
            .write_all(&bytes)
            .and_then(|()| Ok(rustix::fs::renameat(&directory, &temporary, &directory, name)?));
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&directory, &temporary, AtFlags::empty());
        }
        done
    }

    /// The directory, if nobody else can write to it.
    fn open(&self) -> std::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.path, flags, Mode::empty())?;
        is_ours(&directory)?;
        Ok(directory)
    }
}

/// The size of what is open, if it belongs to the caller and nobody else can write to it.
fn is_ours(file: impl std::os::fd::AsFd) -> std::io::Result<usize> {
    let stat = rustix::fs::fstat(file)?;
    let others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH);
    if stat.st_uid != rustix::process::geteuid().as_raw() || others {
        return Err(Errno::PERM.into());
    }
    Ok(usize::try_from(stat.st_size).unwrap_or_default())
}

/// Removes the oldest files until there is a place for one more, leftovers of writers that were killed included.
fn make_room(directory: &OwnedFd) -> std::io::Result<()> {
    let mut files = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        if let Ok(stat) = rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            && !entry.file_name().to_bytes().starts_with(b".")
        {
            files.push((stat.st_mtime, entry.file_name().to_owned()));
        }
    }
    files.sort();
    for (_, name) in files.iter().take((files.len() + 1).saturating_sub(MOST_FILES)) {
        let _ = rustix::fs::unlinkat(directory, name.as_c_str(), AtFlags::empty());
    }
    Ok(())
}

/// All that a program depends on; ends with a line feed, which JSON has none of, so that no key is the beginning of another.
fn key(profile: &Seccomp<'_>) -> Vec<u8> {
    let versions = format!(
        "rt {} {VERSION}, libseccomp {}, {}\n",
        env!("CARGO_PKG_VERSION"),
        library_version(),
        std::env::consts::ARCH
    );
    let mut key = versions.into_bytes();
    // Writing plain data to memory does not fail.
    let _ = serde_json::to_writer(&mut key, profile);
    key.push(b'\n');
    key
}

/// FNV-1a: finds a file and notices a damaged one, both of which need no cryptography.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::oci::LinuxSeccomp;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use testkit::Profile;

    fn with_profile(json: testkit::Value, test: impl FnOnce(&Seccomp<'_>)) {
        let seccomp: LinuxSeccomp = serde_json::from_value(json).unwrap();
        test(&Seccomp::of(&seccomp).unwrap());
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(&directory.path().join("programs"));
        (directory, cache)
    }

    fn files(cache: &Cache) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&cache.path).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn a_program_is_kept_and_found() {
        let (_directory, cache) = cache();
        with_profile(Profile::Docker.json(), |profile| {
            let program = cache.program(profile).unwrap();
            assert_eq!(program, compile(profile).unwrap());
            let [file] = &files(&cache)[..] else { panic!("{:?}", files(&cache)) };
            let made = std::fs::metadata(file).unwrap();
            assert_eq!(made.permissions().mode() & 0o7777, 0o600);
            assert_eq!(cache.program(profile).unwrap(), program);
            assert_eq!(std::fs::metadata(file).unwrap().ino(), made.ino(), "it was compiled again");
        });
        with_profile(Profile::Podman.json(), |profile| drop(cache.program(profile).unwrap()));
        assert_eq!(files(&cache).len(), 2);
    }

    #[test]
    fn a_small_profile_is_not_kept() {
        let (_directory, cache) = cache();
        let small = testkit::json!({"defaultAction": "SCMP_ACT_ALLOW"});
        with_profile(small, |profile| drop(cache.program(profile).unwrap()));
        assert!(!cache.path.exists());
    }

    #[test]
    fn what_is_damaged_or_foreign_is_compiled_again() {
        let (_directory, cache) = cache();
        with_profile(Profile::Docker.json(), |profile| {
            let program = cache.program(profile).unwrap();
            let file = files(&cache).remove(0);
            let good = std::fs::read(&file).unwrap();
            let mut flipped = good.clone();
            *flipped.iter_mut().rev().nth(100).unwrap() ^= 4;
            let other_profile = [b"rt 0\n{}\n", &good[good.len() - 24..]].concat();
            for bad in [&flipped, &good[..good.len() - 9].to_vec(), &Vec::new(), &other_profile] {
                std::fs::write(&file, bad).unwrap();
                assert_eq!(cache.program(profile).unwrap(), program);
                assert_eq!(std::fs::read(&file).unwrap(), good, "it was not replaced");
            }
            for change in [
                |file: &Path| std::fs::set_permissions(file, PermissionsExt::from_mode(0o622)),
                |file: &Path| {
                    std::fs::rename(file, file.with_extension("elsewhere"))?;
                    symlink(file.with_extension("elsewhere"), file)
                },
            ] {
                change(&file).unwrap();
                assert!(cache.read(file.file_name().unwrap().to_str().unwrap(), &key(profile)).is_none());
                assert_eq!(cache.program(profile).unwrap(), program);
                assert_eq!(std::fs::symlink_metadata(&file).unwrap().mode() & 0o777, 0o600);
            }
        });
    }

    #[test]
    fn a_cache_that_cannot_be_used_is_none() {
        let (directory, cache) = cache();
        with_profile(Profile::Docker.json(), |profile| {
            std::fs::create_dir(&cache.path).unwrap();
            std::fs::set_permissions(&cache.path, PermissionsExt::from_mode(0o777)).unwrap();
            cache.program(profile).unwrap();
            assert!(files(&cache).is_empty());
            let nowhere = Cache::new(&directory.path().join("no/such/directory"));
            nowhere.program(profile).unwrap();
        });
    }

    #[test]
    fn the_oldest_give_way() {
        let (_directory, cache) = cache();
        std::fs::create_dir(&cache.path).unwrap();
        for n in 0..40 {
            let file = File::create(cache.path.join(format!("{n:016x}"))).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 + n);
            file.set_modified(time).unwrap();
        }
        with_profile(Profile::Docker.json(), |profile| drop(cache.program(profile).unwrap()));
        let left = files(&cache);
        assert_eq!(left.len(), MOST_FILES);
        assert!(!cache.path.join(format!("{:016x}", 8)).exists());
        assert!(cache.path.join(format!("{:016x}", 9)).exists());
    }
}
