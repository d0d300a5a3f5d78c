//! What Linux offers and no safe crate of ours does: a timer finer than a millisecond, and source addresses whose ports
//! are chosen as late as possible.

use std::ffi::c_int;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::arrivals::Alarm;

/// A timerfd. The runtime's own timer rounds up to milliseconds, which is longer than a message takes.
pub(crate) struct TimerFd(AsyncFd<OwnedFd>);

impl TimerFd {
    /// # Errors
    ///
    /// The system's, such as no more descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        let descriptor = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else knows it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: an OwnedFd stays open, and the same descriptor, for as long as it lives.
        let timer = unsafe { AsyncFd::register_with_interest(descriptor, tokio::io::Interest::READABLE) };
        Ok(Self(timer?))
    }

    /// Makes it readable after `wait`, which is not zero. It need not be read: setting it forgets what it counted.
    fn set(&self, wait: Duration) -> io::Result<()> {
        let value = libc::timespec {
            tv_sec: wait.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        };
        let once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let timer = libc::itimerspec { it_interval: once, it_value: value };
        // SAFETY: `timer` lives across the call, the old value is not asked for.
        let result = unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const timer, ptr::null_mut()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Alarm for TimerFd {
    async fn until(&mut self, time: Instant) {
        let mut now = Instant::now();
        while now < time {
            // A valid timer on a valid descriptor is not refused; if it ever were, this is a busy wait and not a hang.
            if self.set(time - now).is_ok()
                && let Ok(mut readable) = self.0.readable().await
            {
                readable.clear_ready();
            } else {
                tokio::task::yield_now().await;
            }
            now = Instant::now();
        }
    }
}

/// Lets a bound socket have its port chosen when it connects: then ports are scarce for each destination only.
///
/// # Errors
///
/// The system's.
pub(crate) fn choose_port_late(socket: &impl AsRawFd) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the option's value is an int, which lives across the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_timer_goes_off_when_it_is_time_and_again() {
        let mut timer = TimerFd::new().unwrap();
        let start = Instant::now();
        for step in [300, 300, 1000, 5000, 5000] {
            let time = start + Duration::from_micros(step);
            timer.until(time).await;
            assert!(Instant::now() >= time);
        }
    }
}
