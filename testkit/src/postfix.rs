//! A real Postfix on a high port, with configuration, queue and mailbox of its own.
//!
//! Postfix starts only for the superuser. It accepts mail for every domain and delivers all of it to one maildir, to
//! another server, or nowhere, whichever is asked for.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::certificates::ServerCertificate;
use crate::ports;
use crate::programs;

const POSTFIX: &str = "/usr/sbin/postfix";
/// The account whose maildir it is: nobody's, on every Linux.
const MAILBOX_USER: u32 = 65_534;

/// What becomes of the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Every message ends in the maildir.
    Maildir,
    /// Every message is accepted and thrown away.
    Discard,
    /// Every message goes on to this server, over TLS where that is offered; certificates are not checked.
    Relay(SocketAddr),
}

/// How it is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// What becomes of the mail.
    pub delivery: Delivery,
    /// STARTTLS is offered with this certificate.
    pub certificate: Option<ServerCertificate>,
    /// More lines for main.cf, such as `smtpd_discard_ehlo_keywords = chunking`.
    pub parameters: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { delivery: Delivery::Maildir, certificate: None, parameters: Vec::new() }
    }
}

/// A running Postfix; stopped on drop.
pub struct Postfix {
    directory: TempDir,
    address: SocketAddr,
}

impl Postfix {
    /// Starts one and waits until it accepts connections; `None` when Postfix is not installed or we are not root.
    ///
    /// # Errors
    /// When it is there and does not start.
    pub async fn start(options: &Options) -> anyhow::Result<Option<Self>> {
        if !Path::new(POSTFIX).exists() || !programs::is_superuser() {
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("mailweir-postfix-").tempdir()?;
        // Its daemons run as another user.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let address = ports::free()?;
        write_configuration(directory.path(), address, options)?;
        let postfix = Self { directory, address };
        let status = postfix.control("start").status().context("postfix start")?;
        ensure!(status.success(), "postfix start: {status}\n{}", postfix.log());
        ports::wait_until_open(address, Duration::from_secs(20)).await.with_context(|| postfix.log())?;
        Ok(Some(postfix))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The messages delivered so far, in no particular order, as they stand in the maildir.
    ///
    /// # Errors
    /// When the maildir cannot be read.
    pub fn messages(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let new = self.directory.path().join("mail/all/new");
        if !new.exists() {
            return Ok(Vec::new());
        }
        std::fs::read_dir(new)?.map(|entry| Ok(std::fs::read(entry?.path())?)).collect()
    }

    /// Waits until `count` messages were delivered.
    ///
    /// # Errors
    /// When they were not within `limit`; the error holds Postfix's log.
    pub async fn wait_for_messages(&self, count: usize, limit: Duration) -> anyhow::Result<Vec<Vec<u8>>> {
        let deadline = Instant::now() + limit;
        loop {
            let messages = self.messages()?;
            if messages.len() >= count {
                return Ok(messages);
            }
            ensure!(Instant::now() < deadline, "{} of {count} messages\n{}", messages.len(), self.log());
            // Delivery happens in other processes; there is nothing to wait on.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("postfix.log")).unwrap_or_default()
    }

    fn control(&self, action: &str) -> Command {
        let mut command = Command::new(POSTFIX);
        command.arg("-c").arg(self.directory.path().join("etc")).arg(action);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // `abort` ends it at once; `stop` would wait for its daemons to finish. Nothing can be done about a failure.
        let _ = self.control("abort").status();
    }
}

fn write_configuration(directory: &Path, address: SocketAddr, options: &Options) -> anyhow::Result<()> {
    for name in ["etc", "queue", "data", "mail"] {
        std::fs::create_dir(directory.join(name))?;
    }
    chown(&directory.join("data"), "postfix")?;
    chown(&directory.join("mail"), &MAILBOX_USER.to_string())?;
    let path = |name: &str| -> PathBuf { directory.join(name) };
    let mut main = format!(
        "compatibility_level = 3.6\n\
         myhostname = postfix.example.test\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         queue_directory = {queue}\n\
         data_directory = {data}\n\
         maillog_file = {log}\n\
         maillog_file_prefixes = {prefix}\n\
         mydestination =\n\
         alias_maps =\n\
         local_recipient_maps =\n\
         virtual_mailbox_domains = static:all\n\
         virtual_mailbox_maps = static:all/\n\
         virtual_mailbox_base = {mail}\n\
         virtual_uid_maps = static:{MAILBOX_USER}\n\
         virtual_gid_maps = static:{MAILBOX_USER}\n\
         virtual_mailbox_limit = 0\n\
         message_size_limit = 104857600\n\
         mailbox_size_limit = 0\n\
         smtpd_client_connection_count_limit = 0\n\
         smtpd_relay_restrictions = permit_mynetworks, reject\n\
         smtputf8_enable = yes\n",
        queue = path("queue").display(),
        data = path("data").display(),
        log = path("postfix.log").display(),
        prefix = directory.display(),
        mail = path("mail").display(),
    );
    match options.delivery {
        Delivery::Maildir => main.push_str("virtual_transport = virtual\n"),
        Delivery::Discard => main.push_str("virtual_transport = discard:\n"),
        Delivery::Relay(to) => main.push_str(&format!(
            "virtual_transport = smtp:[{}]:{}\nsmtp_tls_security_level = may\n",
            to.ip(),
            to.port()
        )),
    }
    if let Some(certificate) = &options.certificate {
        main.push_str(&format!(
            "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
            certificate.certificate.display(),
            certificate.key.display()
        ));
    }
    for parameter in &options.parameters {
        main.push_str(parameter);
        main.push('\n');
    }
    std::fs::write(path("etc/main.cf"), main)?;
    std::fs::write(path("etc/master.cf"), master_configuration(address))?;
    Ok(())
}

fn master_configuration(address: SocketAddr) -> String {
    format!(
        "{address} inet n - n - - smtpd\n\
         pickup unix n - n 60 1 pickup\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         tlsmgr unix - - n 1000? 1 tlsmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         proxymap unix - - n - - proxymap\n\
         error unix - - n - - error\n\
         retry unix - - n - - error\n\
         discard unix - - n - - discard\n\
         virtual unix - n n - - virtual\n\
         smtp unix - - n - - smtp\n\
         anvil unix - - n - 1 anvil\n\
         postlog unix-dgram n - n - 1 postlogd\n"
    )
}

fn chown(path: &Path, owner: &str) -> anyhow::Result<()> {
    let status = Command::new("chown").arg(owner).arg(path).status().context("chown")?;
    ensure!(status.success(), "chown {owner} {}: {status}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn delivers_to_the_maildir() {
        let Some(postfix) = Postfix::start(&Options::default()).await.unwrap() else {
            return println!("skipped: no Postfix, or not root");
        };
        let Some(source) = programs::smtp_source(&["-c", "-m", "5", "-l", "1000"], postfix.address()) else {
            return println!("skipped: no smtp-source");
        };
        let report = source.finish(Duration::from_secs(30)).await.unwrap();
        assert!(report.success, "{}", report.text);
        let messages = postfix.wait_for_messages(5, Duration::from_secs(20)).await.unwrap();
        assert_eq!(messages.len(), 5);
    }
}
