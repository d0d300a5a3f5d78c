//! Compiled components on disk, so that a start or a reload does not compile them again.
//!
//! A compiled artifact is machine code: whoever can write it can run what they like. So a file is used only when it
//! belongs to us, nobody else can write or read it, and its content has the digest that it was written with. Whatever
//! is wrong with one, it is compiled and written anew.

use std::fs::{DirBuilder, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine::build_id;

/// Bytes of the digest that a file begins with.
const DIGEST: usize = 32;
/// Artifacts that are kept, those that were used last.
const ARTIFACTS: usize = 256;
/// What a file is called while it is being written.
const UNFINISHED: &str = "unfinished-";
/// Nobody writes for so long: the process that began it has ended in the middle.
const GIVEN_UP: Duration = Duration::from_secs(24 * 60 * 60);
/// A file larger than this is not ours.
const SIZE_LIMIT: u64 = 512 << 20;

/// A folder of compiled components.
pub(super) struct Cache {
    directory: PathBuf,
    /// The user we run as.
    owner: u32,
}

/// Names one artifact: the component, and all that its compilation depends on.
#[derive(PartialEq, Eq)]
pub(super) struct Key(String);

impl Cache {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made or written to.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        // Tells both that we may write here and as whom.
        let owner = tempfile::tempfile_in(directory)?.metadata()?.uid();
        Ok(Self { directory: directory.to_owned(), owner })
    }

    /// Where it is.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The component of this key, if a good artifact of it is there.
    pub(super) fn load(&self, engine: &Engine, key: &Key) -> Option<Component> {
        let path = self.path(key);
        let artifact = match self.read(&path) {
            Ok(artifact) => artifact,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin is not trusted and made anew");
                return None;
            }
        };
        // SAFETY: deserialize must be given what `Component::serialize` made, unchanged. The file is ours alone, has
        // the digest that it was written with, and its name holds the build and the settings that it was made with,
        // which the engine checks once more.
        let component = unsafe { Component::deserialize(engine, &artifact) };
        component
            .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "a compiled plugin is made anew"))
            .ok()
    }

    /// Keeps a compiled component, if that can be done: nothing but time depends on it.
    pub(super) fn store(&self, key: &Key, component: &Component) {
        let path = self.path(key);
        let stored = component.serialize().map_err(io::Error::other).and_then(|artifact| self.write(&path, &artifact));
        if let Err(error) = stored.and_then(|()| self.make_room()) {
            tracing::warn!(path = %path.display(), %error, "a compiled plugin could not be kept");
        }
    }

    /// Every change of a plugin or its configuration leaves an artifact behind: those go that were not used for longest.
    /// Another process may be doing the same.
    fn make_room(&self) -> io::Result<()> {
        let (mut artifacts, mut surplus) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let is_artifact = path.extension().is_some_and(|extension| extension == "cwasm");
            let is_unfinished =
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()));
            if !is_artifact && !is_unfinished {
                continue;
            }
            let Some(metadata) = unless_gone(std::fs::symlink_metadata(&path))? else { continue };
            let used = metadata.modified()?;
            if is_artifact {
                artifacts.push((used, path));
            } else if used.elapsed().is_ok_and(|age| age > GIVEN_UP) {
                surplus.push(path);
            }
        }
        artifacts.sort_unstable();
        let excess = artifacts.len().saturating_sub(ARTIFACTS);
        surplus.extend(artifacts.drain(..excess).map(|(_, path)| path));
        surplus.into_iter().try_for_each(|path| unless_gone(std::fs::remove_file(path)).map(|_| ()))
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(format!("{}.cwasm", key.0))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != self.owner || metadata.mode() & 0o777 != 0o600 {
            return Err(io::Error::other("not a file of ours with mode 0600"));
        }
        let mut content = Vec::new();
        (&file).take(SIZE_LIMIT).read_to_end(&mut content)?;
        if content.len() < DIGEST {
            return Err(io::Error::other("cut short"));
        }
        let artifact = content.split_off(DIGEST);
        if Sha256::digest(&artifact).as_slice() != content {
            return Err(io::Error::other("damaged"));
        }
        // What is used is kept longest. Where that cannot be noted, it is only compiled again one day.
        let _ = file.set_modified(SystemTime::now());
        Ok(artifact)
    }

    /// Written under another name and then renamed, so that nobody sees half a file.
    fn write(&self, path: &Path, artifact: &[u8]) -> io::Result<()> {
        // Made with mode 0600.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.directory)?;
        file.write_all(&Sha256::digest(artifact))?;
        file.write_all(artifact)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Key {
    /// The key of a component for this engine.
    pub(super) fn new(engine: &Engine, component: &[u8]) -> Self {
        let mut hasher = KeyHasher(Sha256::new());
        build_id().hash(&mut hasher);
        std::env::consts::ARCH.hash(&mut hasher);
        std::env::consts::OS.hash(&mut hasher);
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Sha256::digest(component).as_slice().hash(&mut hasher);
        Self(hasher.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key of the same component with this configuration in its memory.
    pub(super) fn configured(engine: &Engine, component: &[u8], configuration: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(Self::new(engine, component).0);
        digest.update("configured");
        digest.update(configuration);
        Self(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// What became of a file, or nothing if another process has removed it.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Collects what is hashed in a digest that is the same in every run.
struct KeyHasher(Sha256);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with so many artifacts, by their names, each used an hour before the next.
    fn filled(count: u32) -> (tempfile::TempDir, Cache) {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        for number in 0..count {
            let file = File::create(cache.path(&name(number))).unwrap();
            let age = Duration::from_secs(60 * 60) * (count - number);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        (directory, cache)
    }

    fn name(number: u32) -> Key {
        Key(format!("{number:04}"))
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let count = u32::try_from(ARTIFACTS).unwrap() + 3;
        let (_directory, cache) = filled(count);
        let used = cache.path(&name(1));
        let unused = std::fs::metadata(&used).unwrap().modified().unwrap();
        cache.write(&used, b"code").unwrap();
        File::open(&used).unwrap().set_modified(unused).unwrap();
        assert_eq!(cache.read(&used).unwrap(), b"code");
        cache.make_room().unwrap();
        let is_kept = |number| cache.path(&name(number)).exists();
        let gone: Vec<u32> = (0..count).filter(|number| !is_kept(*number)).collect();
        assert_eq!(gone, [0, 2, 3], "all but the one that was used");
    }

    #[test]
    fn others_may_make_room_at_the_same_time() {
        let (_directory, cache) = filled(u32::try_from(ARTIFACTS).unwrap() + 200);
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            let made = || {
                start.wait();
                cache.make_room()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(made)).collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
        assert_eq!(std::fs::read_dir(cache.directory()).unwrap().count(), ARTIFACTS);
    }

    #[test]
    fn what_was_never_finished_goes_one_day() {
        let (directory, cache) = filled(1);
        for (name, age) in [("unfinished-old", GIVEN_UP * 2), ("unfinished-new", GIVEN_UP / 2), ("else", GIVEN_UP * 2)]
        {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        cache.make_room().unwrap();
        let exists = |name: &str| directory.path().join(name).exists();
        assert_eq!(["unfinished-old", "unfinished-new", "else"].map(exists), [false, true, true]);
        assert!(cache.path(&name(0)).exists());
    }
}
