//! Mail servers that others wrote: Exim (which speaks TLS with GnuTLS) and OpenSMTPD, each in a root directory of its own.
//!
//! `.ci/peers` unpacks them into `target/peers`. They start only for the superuser.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::certificates::ServerCertificate;
use crate::{ports, programs};

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Software {
    /// Exim 4.
    Exim,
    /// OpenSMTPD.
    OpenSmtpd,
}

/// What it does with the mail it gets, whoever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// All of it ends in one maildir.
    Mailbox,
    /// It goes on to this server, over TLS where that is offered; certificates are not checked.
    Relay(SocketAddr),
}

/// A running server; killed on drop.
pub struct Peer {
    directory: TempDir,
    address: SocketAddr,
    _child: Child,
}

impl Peer {
    /// Starts one that offers STARTTLS with `certificate`, and waits until it accepts connections; `None` when
    /// `target/peers` is not there or we are not root.
    ///
    /// # Errors
    /// When it is there and does not start.
    pub async fn start(
        software: Software,
        role: Role,
        certificate: &ServerCertificate,
    ) -> anyhow::Result<Option<Self>> {
        let peers = target().join("peers");
        if !peers.join("root/complete").exists() || !programs::is_superuser() {
            return Ok(None);
        }
        // Beside the original, so that its files can be linked.
        let directory = tempfile::Builder::new().prefix("run-").tempdir_in(&peers)?;
        // Its processes run as other users.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let copied = Command::new("cp").arg("-al").arg(peers.join("root")).arg(directory.path()).status().await?;
        ensure!(copied.success(), "cp -al {}: {copied}", peers.display());
        let root = directory.path().join("root");
        let mail = root.join("tmp/mail");
        std::fs::create_dir(&mail)?;
        std::fs::set_permissions(&mail, std::fs::Permissions::from_mode(0o777))?;
        write(&root.join("tmp/certificate.pem"), &std::fs::read_to_string(&certificate.certificate)?, 0o644)?;
        let address = ports::free()?;
        let (configuration, arguments, key_mode) = match software {
            Software::Exim => {
                (exim(address, role), ["/usr/sbin/exim4", "-C", "/tmp/conf", "-bdf", "-q1s"].as_slice(), 0o644)
            }
            Software::OpenSmtpd => {
                (opensmtpd(address, role), ["/usr/sbin/smtpd", "-d", "-f", "/tmp/conf"].as_slice(), 0o600)
            }
        };
        write(&root.join("tmp/key.pem"), &std::fs::read_to_string(&certificate.key)?, key_mode)?;
        write(&root.join("tmp/conf"), &configuration, 0o644)?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let mut command = Command::new("chroot");
        command.arg(&root).args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.kill_on_drop(true).spawn().context("chroot")?;
        let peer = Self { directory, address, _child: child };
        ports::wait_until_open(address, Duration::from_secs(20)).await.with_context(|| peer.log())?;
        Ok(Some(peer))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until `count` messages are in the mailbox; they are in no particular order.
    ///
    /// # Errors
    /// When they are not there within `limit`; the error holds the server's log.
    pub async fn wait_for_messages(&self, count: usize, limit: Duration) -> anyhow::Result<Vec<Vec<u8>>> {
        let new = self.directory.path().join("root/tmp/mail/all/new");
        let deadline = Instant::now() + limit;
        loop {
            let names: Vec<PathBuf> = match std::fs::read_dir(&new) {
                Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?,
                Err(_) => Vec::new(),
            };
            if names.len() >= count {
                return names.iter().map(|name| Ok(std::fs::read(name)?)).collect();
            }
            ensure!(Instant::now() < deadline, "{} of {count} messages\n{}", names.len(), self.log());
            // Delivery happens in other processes; there is nothing to wait on.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        read("log") + &read("root/tmp/mainlog") + &read("root/tmp/paniclog")
    }
}

/// Where the build puts what it makes.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

fn exim(address: SocketAddr, role: Role) -> String {
    let (router, transport) = match role {
        Role::Mailbox => (
            "driver = accept".to_owned(),
            "driver = appendfile\n directory = /tmp/mail/all\n maildir_format\n user = Debian-exim\n group = Debian-exim",
        ),
        Role::Relay(to) => (
            format!("driver = manualroute\n route_list = \"* {}::{}\"\n self = send", to.ip(), to.port()),
            "driver = smtp\n allow_localhost\n hosts_try_chunking = *",
        ),
    };
    format!(
        "primary_hostname = exim.example.test\n\
         spool_directory = /tmp/spool\n\
         log_file_path = /tmp/%slog\n\
         local_interfaces = {}\n\
         daemon_smtp_ports = {}\n\
         tls_advertise_hosts = *\n\
         tls_certificate = /tmp/certificate.pem\n\
         tls_privatekey = /tmp/key.pem\n\
         acl_smtp_rcpt = accept\n\
         acl_smtp_data = accept\n\
         host_lookup =\n\
         message_size_limit = 100M\n\
         smtp_accept_max = 100\n\
         dsn_advertise_hosts = *\n\
         keep_environment =\n\
         never_users =\n\
         begin routers\n\
         all:\n \
         {router}\n \
         transport = all\n\
         begin transports\n\
         all:\n \
         {transport}\n\
         begin retry\n\
         * * F,1h,1s\n",
        address.ip(),
        address.port()
    )
}

fn opensmtpd(address: SocketAddr, role: Role) -> String {
    let action = match role {
        Role::Mailbox => "action \"all\" maildir \"/tmp/mail/all\" virtual <everybody>".to_owned(),
        Role::Relay(to) => format!("action \"all\" relay host smtp://{to}"),
    };
    format!(
        "pki mail cert \"/tmp/certificate.pem\"\n\
         pki mail key \"/tmp/key.pem\"\n\
         table everybody {{ \"@\" = \"nobody\" }}\n\
         smtp max-message-size 100M\n\
         listen on {} port {} tls pki mail hostname opensmtpd.example.test\n\
         {action}\n\
         match from any for any action \"all\"\n",
        address.ip(),
        address.port()
    )
}
