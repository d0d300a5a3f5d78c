//! A real clamd for tests and the demo, with signatures of its own and without the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};

/// Where Debian puts it.
const PROGRAM: &str = "/usr/sbin/clamd";
/// The EICAR test file (<https://www.eicar.org>), in two pieces so that a scanner leaves this file alone.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];
/// What clamd calls it: the signature's name, and the mark of one that is not ClamAV's own.
pub const SIGNATURE: &str = "Mailweir.Eicar-Test.UNOFFICIAL";
/// The largest stream it takes unless it is told otherwise, in bytes.
pub const STREAM_LIMIT: u64 = 5 * 1024 * 1024;

/// How it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The largest stream it takes, and the largest it scans, in bytes.
    pub stream_limit: u64,
    /// Streams it scans at once.
    pub threads: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { stream_limit: STREAM_LIMIT, threads: 4 }
    }
}

/// The EICAR test file's content.
#[must_use]
pub fn eicar() -> String {
    EICAR.concat()
}

/// A running clamd. It is killed when it is dropped.
pub struct Clamd {
    process: Child,
    _directory: TempDir,
    socket: PathBuf,
    tcp: SocketAddr,
}

impl Clamd {
    /// Start it and wait until it answers; none when it is not installed or does not come up within 30 seconds.
    pub async fn start() -> Option<Self> {
        Self::start_with(Options::default()).await
    }

    /// As `start`, with settings of one's own.
    pub async fn start_with(options: Options) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("clamd").tempdir().ok()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.ok()?.local_addr().ok()?.port();
        let tcp = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = directory.path().join("clamd.sock");
        write_files(directory.path(), &socket, port, options).ok()?;
        let process = Command::new(PROGRAM)
            .arg(format!("--config-file={}", directory.path().join("clamd.conf").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let clamd = Self { process, _directory: directory, socket, tcp };
        tokio::time::timeout(Duration::from_secs(30), clamd.ready()).await.ok()?;
        Some(clamd)
    }

    /// The path of its unix socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its TCP address.
    #[must_use]
    pub const fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    async fn ready(&self) {
        while self.ping().await.is_none() {
            // A file system has no event to wait for that is worth it here.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ping(&self) -> Option<()> {
        let mut stream = UnixStream::connect(&self.socket).await.ok()?;
        stream.write_all(b"zPING\0").await.ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.ok()?;
        (reply == b"PONG\0").then_some(())
    }
}

fn write_files(directory: &Path, socket: &Path, port: u16, options: Options) -> std::io::Result<()> {
    let (database, scratch) = (directory.join("db"), directory.join("tmp"));
    std::fs::create_dir(&database)?;
    std::fs::create_dir(&scratch)?;
    let hex: String = eicar().bytes().map(|byte| format!("{byte:02x}")).collect();
    // Name, any type of file, at any offset, these bytes.
    std::fs::write(database.join("local.ndb"), format!("Mailweir.Eicar-Test:0:*:{hex}\n"))?;
    let Options { stream_limit, threads } = options;
    let configuration = format!(
        "Foreground yes\nLocalSocket {}\nTCPAddr 127.0.0.1\nTCPSocket {port}\nDatabaseDirectory {}\n\
         TemporaryDirectory {}\nStreamMaxLength {stream_limit}\nMaxFileSize {stream_limit}\n\
         MaxScanSize {stream_limit}\nMaxThreads {threads}\nReadTimeout 30\nCommandReadTimeout 30\n\
         SelfCheck 0\nConcurrentDatabaseReload no\nFixStaleSocket yes\n",
        socket.display(),
        database.display(),
        scratch.display(),
    );
    std::fs::write(directory.join("clamd.conf"), configuration)
}
