//! `dns`: lookups through the host's cache.

use std::net::IpAddr;

use crate::host::bindings::mailweir::filter::dns::{Dnssec, Error, Exchange, Exchanges, Host, Names, Texts};
use crate::host::context::Context;
use crate::host::failure::HostFault;
use crate::services::dns::{self, Answer, Dns};

/// Names that one call of `dnsbl` asks for; the rest are answered as failures.
const QUERIES: usize = 256;

impl Host for Context {
    async fn txt(&mut self, name: String) -> wasmtime::Result<Result<Texts, Error>> {
        let answer = self.resolver()?.txt(&name).await;
        Ok(answer.map_err(error).map(|answer| Texts {
            values: answer.values.iter().map(|value| value.to_vec()).collect(),
            dnssec: dnssec(answer.dnssec),
        }))
    }

    async fn addresses(&mut self, name: String) -> wasmtime::Result<Result<Names, Error>> {
        Ok(self.resolver()?.addresses(&name).await.map(names).map_err(error))
    }

    async fn mx(&mut self, name: String) -> wasmtime::Result<Result<Exchanges, Error>> {
        let answer = self.resolver()?.mx(&name).await;
        let exchange =
            |exchange: &dns::Exchange| Exchange { preference: exchange.preference, host: exchange.host.clone() };
        Ok(answer.map_err(error).map(|answer| Exchanges {
            values: answer.values.iter().map(exchange).collect(),
            dnssec: dnssec(answer.dnssec),
        }))
    }

    async fn ptr(&mut self, address: String) -> wasmtime::Result<Result<Names, Error>> {
        let resolver = self.resolver()?;
        let Ok(address) = address.parse::<IpAddr>() else {
            return Ok(Err(Error::Invalid("not an address".to_owned())));
        };
        Ok(resolver.ptr(address).await.map(names).map_err(error))
    }

    async fn dnsbl(&mut self, mut queries: Vec<String>) -> wasmtime::Result<Vec<Result<Names, Error>>> {
        let resolver = self.resolver()?;
        let asked = queries.len();
        queries.truncate(QUERIES);
        // Each query is a call, so that a list of them is no way around the limit. One is counted already.
        for _ in 1..queries.len() {
            self.limits.host_call()?;
        }
        let answers = resolver.dnsbl(&queries).await;
        let mut results: Vec<_> = answers.into_iter().map(|answer| answer.map(names).map_err(error)).collect();
        results.resize_with(asked, || Err(Error::Failure(format!("more than {QUERIES} queries at once"))));
        Ok(results)
    }
}

impl Context {
    /// Counts a call and gives the resolver.
    fn resolver(&mut self) -> Result<Dns, HostFault> {
        self.limits.host_call()?;
        // Granting the interface without a resolver is refused when the plugin is loaded.
        self.facilities.services.dns.clone().ok_or_else(|| HostFault::Unavailable("no resolver".to_owned()))
    }
}

fn names<T: ToString>(answer: Answer<T>) -> Names {
    Names { values: answer.values.iter().map(ToString::to_string).collect(), dnssec: dnssec(answer.dnssec) }
}

fn dnssec(status: dns::Dnssec) -> Dnssec {
    match status {
        dns::Dnssec::Secure => Dnssec::Secure,
        dns::Dnssec::Insecure => Dnssec::Insecure,
        dns::Dnssec::Bogus => Dnssec::Bogus,
        dns::Dnssec::Indeterminate => Dnssec::Indeterminate,
    }
}

fn error(error: dns::Error) -> Error {
    match error {
        dns::Error::NoName | dns::Error::NoRecord => Error::NotFound,
        dns::Error::Timeout => Error::Timeout,
        dns::Error::Failure(text) => Error::Failure(text),
        exhausted @ dns::Error::Exhausted(_) => Error::Failure(exhausted.to_string()),
        dns::Error::Invalid(text) => Error::Invalid(text),
    }
}
