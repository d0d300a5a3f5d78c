//! `scan`: searching and digesting the message natively.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::component::Resource;

use crate::host::bindings::mailweir::filter::scan::{
    DigestAlgorithm, Hit, Host, HostPatternSet, PatternOptions, Scope,
};
use crate::host::context::{Context, work};
use crate::host::failure::HostFault;
use crate::host::resources::{Mail, Patterns};
use crate::message::scan;

/// Patterns of a set.
const PATTERNS: usize = 4096;
/// Bytes of all patterns of a set.
const PATTERN_BYTES: usize = 256 << 10;
/// Hits of one call.
const HITS: u32 = 10_000;

impl HostPatternSet for Context {
    async fn compile(
        &mut self,
        patterns: Vec<String>,
        options: PatternOptions,
    ) -> wasmtime::Result<Result<Resource<Patterns>, String>> {
        self.limits.host_call()?;
        let bytes: usize = patterns.iter().map(String::len).sum();
        if patterns.len() > PATTERNS || bytes > PATTERN_BYTES {
            let count = patterns.len();
            let text = format!("{count} patterns of {bytes} bytes; at most {PATTERNS} of together {PATTERN_BYTES}");
            return Ok(Err(text));
        }
        let key = key(&patterns, options);
        let set = match self.facilities.patterns.get(&key) {
            Some(set) => set,
            None => match compiled(patterns, options).await? {
                Ok(set) => {
                    let set = Arc::new(set);
                    self.facilities.patterns.insert(key, Arc::clone(&set));
                    set
                }
                Err(text) => return Ok(Err(text)),
            },
        };
        if let (None, Some(compiled)) = (&self.transaction, &mut self.compiled) {
            compiled.push(Arc::clone(&set));
        }
        Ok(Ok(self.table.push(Patterns(set))?))
    }

    async fn drop(&mut self, set: Resource<Patterns>) -> wasmtime::Result<()> {
        self.table.delete(set)?;
        self.compiled = None;
        Ok(())
    }
}

impl Host for Context {
    async fn find(
        &mut self,
        mail: Resource<Mail>,
        scope: Scope,
        patterns: Resource<Patterns>,
        limit: u32,
    ) -> wasmtime::Result<Vec<Hit>> {
        let view = self.call_on(&mail)?;
        let patterns = Arc::clone(&self.table.get(&patterns)?.0);
        let scope = match scope {
            Scope::Raw => scan::Scope::Raw,
            Scope::Headers => scan::Scope::Headers,
            Scope::Text => scan::Scope::Text,
        };
        let limit = limit.min(HITS);
        let hits = work(&view.message, move |message| scan::find(message, scope, &patterns, limit)).await?;
        self.hand_over(hits.iter().map(|hit| size_of::<Hit>() + hit.matched.len()).sum());
        let hits = hits.into_iter();
        let hits = hits.map(|scan::Hit { pattern, part, offset, matched }| Hit { pattern, part, offset, matched });
        Ok(hits.collect())
    }

    async fn digest(&mut self, mail: Resource<Mail>, algorithm: DigestAlgorithm) -> wasmtime::Result<Vec<u8>> {
        let view = self.call_on(&mail)?;
        let algorithm = match algorithm {
            DigestAlgorithm::Sha256 => scan::Algorithm::Sha256,
            DigestAlgorithm::Sha1 => scan::Algorithm::Sha1,
        };
        Ok(work(&view.message, move |message| scan::digest(message, algorithm)).await?)
    }
}

/// Large regular expressions take a while, and more stack than a sandbox has.
async fn compiled(
    patterns: Vec<String>,
    options: PatternOptions,
) -> Result<Result<scan::PatternSet, String>, HostFault> {
    let options = scan::PatternOptions {
        regex: options.contains(PatternOptions::REGEX),
        case_insensitive: options.contains(PatternOptions::CASE_INSENSITIVE),
        whole_word: options.contains(PatternOptions::WHOLE_WORD),
    };
    let compiling = tokio::task::spawn_blocking(move || scan::PatternSet::compile(&patterns, options));
    compiling.await.map_err(|error| HostFault::Unavailable(format!("compiling patterns: {error}")))
}

/// Names a set in the plugin's cache.
fn key(patterns: &[String], options: PatternOptions) -> [u8; 32] {
    let mut digest = Sha256::new();
    let flags = [PatternOptions::REGEX, PatternOptions::CASE_INSENSITIVE, PatternOptions::WHOLE_WORD];
    digest.update(flags.map(|flag| u8::from(options.contains(flag))));
    for pattern in patterns {
        digest.update((pattern.len() as u64).to_le_bytes());
        digest.update(pattern);
    }
    digest.finalize().into()
}
