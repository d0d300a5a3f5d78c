//! What all servers of a scenario have in common: what they stand between, and what is around them.

use std::path::PathBuf;

use anyhow::Result;
use mailweir_testkit::ports;

use super::contestant::Contestant;
use super::sample::{self, Sample};
use super::scenario::Scenario;
use super::server::{Place, Server};
use super::surroundings::Surroundings;
use super::traffic::{Generator, Sink};

/// All of it; gone when it is dropped.
pub(super) struct Stage {
    pub(super) scenario: &'static Scenario,
    pub(super) sink: Sink,
    pub(super) surroundings: Surroundings,
    pub(super) generator: Generator,
}

impl Stage {
    /// Sets it, for so many sessions at once.
    ///
    /// # Errors
    /// When there is no sink, or something cannot be started.
    pub(super) async fn set(scenario: &'static Scenario, mailweir_load: PathBuf, sessions: u32) -> Result<Self> {
        let sink = Sink::start().await?;
        let surroundings = Surroundings::set(sink.address).await?;
        let message = surroundings.message(scenario.content)?;
        Ok(Self { scenario, sink, surroundings, generator: Generator { mailweir_load, sessions, message } })
    }

    /// A server that waits for its first client.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(&self, contestant: &Contestant) -> Result<Server> {
        let place = Place {
            listen: ports::free()?,
            upstream: self.sink.address,
            binary: contestant.binary.clone(),
            plugins: contestant.plugins.clone(),
            environment: contestant.environment,
        };
        Server::start(contestant.peer, self.scenario, &place, &self.surroundings).await
    }

    /// As [`Self::start`], and it has had some of these messages: its caches are warm, its code is compiled.
    ///
    /// # Errors
    /// When it does not start, or not all of them arrive.
    pub(super) async fn start_warm(&self, contestant: &Contestant, messages: u32) -> Result<Server> {
        let server = self.start(contestant).await?;
        self.sample(&server, messages.div_ceil(4).max(self.generator.sessions)).await?;
        server.wait_until_idle().await?;
        Ok(server)
    }

    /// Sends so many messages through the server.
    ///
    /// # Errors
    /// When they do not all arrive.
    pub(super) async fn sample(&self, server: &Server, messages: u32) -> Result<Sample> {
        sample::take(server, self, messages).await
    }
}
