//! The guards, each with the words that take it out.

/// Something that an attack meets.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) name: &'static str,
    /// What is missing without it.
    pub(super) about: &'static str,
    /// The test target, `lib` for the tests beside the code.
    pub(super) target: &'static str,
    /// The test's name, or the end of it.
    pub(super) test: &'static str,
    pub(super) edits: &'static [Edit],
}

/// Words of a file, which stand there once, and what replaces them.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) file: &'static str,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

pub(super) const GUARDS: &[Guard] = &[
    Guard {
        name: "bare-newline",
        about: "a bare LF in a message ends a line, and with a dot the message",
        target: "dialogs",
        test: "dialogs",
        edits: &[Edit {
            file: "smtp/src/data/content.rs",
            from: "BareNewline::Reject => break Stop::Fault(MessageFault::BareNewline),
                            BareNewline::Keep => position += 1,",
            to: "BareNewline::Reject | BareNewline::Keep => {
                                position += 1;
                                self.place = Place::LineStart;
                            }",
        }],
    },
    Guard {
        name: "state-after-reject",
        about: "a message that ended leaves its transaction open",
        target: "dialogs",
        test: "dialogs",
        edits: &[Edit {
            file: "smtp/src/server/content.rs",
            from: "Some(Scanned::End(end)) => ask_verdict(end, Phase::Greeted(dialect)),",
            to: "Some(Scanned::End(end)) => {
            let charset = super::state::Charset::Ascii;
            let open = Transaction { dialect, charset, body: None, recipients: 1, attempts: 1 };
            ask_verdict(end, Phase::Transaction(open))
        }",
        }],
    },
    Guard {
        name: "bdat-size",
        about: "the size limit is for each chunk, not for the message",
        target: "dialogs",
        test: "dialogs",
        edits: &[
            Edit {
                file: "smtp/src/data/scanner.rs",
                from: "if self.content.size.saturating_add(size) > self.content.limit {",
                to: "if size > self.content.limit {",
            },
            Edit {
                file: "smtp/src/data/content.rs",
                from: "if self.size > self.limit && matches!(self.fate, Fate::Passing) {",
                to: "if self.framing == Framing::DotStuffed && self.size > self.limit && matches!(self.fate, Fate::Passing) {",
            },
        ],
    },
    Guard {
        name: "starttls-server",
        about: "what a client sent behind STARTTLS is kept and read after the handshake",
        target: "e2e",
        test: "tls::what_is_pipelined_behind_starttls_is_dropped",
        edits: &[
            Edit {
                file: "proxy/src/session/mod.rs",
                from: "// RFC 3207 section 6: what was sent in the clear before the handshake counts for nothing.
        self.input = BytesMut::new();",
                to: "",
            },
            Edit {
                file: "smtp/src/server/mod.rs",
                from: "            input.clear();
            self.session.tls_established();",
                to: "            let _ = input;
            self.session.tls_established();",
            },
        ],
    },
    Guard {
        name: "starttls-client",
        about: "what an upstream sent behind its 220 to STARTTLS is passed over",
        target: "lib",
        test: "upstream::tests::tls::what_comes_before_the_handshake_is_not_believed",
        edits: &[
            Edit {
                file: "smtp/src/client/mod.rs",
                from: "Expected::StartTls if !input.is_empty() => return Err(ClientError::PlaintextInjection),",
                to: "",
            },
            Edit {
                file: "proxy/src/upstream/connection.rs",
                from: "Stream::Plain(stream) if self.input.is_empty() => Some(stream),",
                to: "Stream::Plain(stream) => Some(stream),",
            },
        ],
    },
    Guard {
        name: "tickets-of-a-listener",
        about: "all listeners make their TLS tickets with one key",
        target: "e2e",
        test: "tls::tickets_are_good_for_their_listener_only",
        edits: &[Edit {
            file: "proxy/src/listener/tls.rs",
            from: "Ok(Self { certificate, ticketer: rustls::crypto::aws_lc_rs::Ticketer::new()? })",
            to: "static ONE: std::sync::OnceLock<Arc<dyn ProducesTickets>> = std::sync::OnceLock::new();
        let made = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { certificate, ticketer: Arc::clone(ONE.get_or_init(|| made)) })",
        }],
    },
    Guard {
        name: "tickets-of-a-certificate",
        about: "tickets outlive the certificate that they were given out under",
        target: "e2e",
        test: "tls::tickets_are_good_for_their_certificate_only",
        edits: &[Edit {
            file: "proxy/src/listener/tls.rs",
            from: "if Arc::ptr_eq(&current.certificate, &certificate) {",
            to: "if Arc::ptr_eq(&current.certificate, &certificate) || true {",
        }],
    },
    Guard {
        name: "filter-replies",
        about: "a filter's reply may hold CR, LF and NUL",
        target: "host",
        test: "returned::replies",
        edits: &[Edit {
            file: "proxy/src/host/output/reply.rs",
            from: "character.is_control() || matches!(character, '\\u{2028}' | '\\u{2029}')",
            to: "matches!(character, '\\u{2028}' | '\\u{2029}')",
        }],
    },
    Guard {
        name: "early-praise",
        about: "a 250 that was said before the end of the message counts as the answer to it",
        target: "lib",
        test: "upstream::tests::early::an_answer_ahead_of_the_end_is_no_answer",
        edits: &[Edit {
            file: "proxy/src/upstream/body.rs",
            from: "connection.has_spoken().map_err(BodyError::Broken)?",
            to: "connection.has_spoken().is_err()",
        }],
    },
    Guard {
        name: "patience",
        about: "a client may say one command after another for ever, each just in time",
        target: "e2e",
        test: "limits::slowness_ends_a_connection",
        edits: &[Edit {
            file: "proxy/src/session/mod.rs",
            from: "patience = patience.min(limits.for_all_commands(stress).saturating_sub(self.waited));",
            to: "patience = patience.min(limits.for_all_commands(stress));",
        }],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A guard that was rewritten must not drop out of the list unnoticed.
    #[test]
    fn every_guard_is_where_the_list_says() {
        let root = crate::workspace_root();
        for guard in GUARDS {
            for edit in guard.edits {
                let text = std::fs::read_to_string(root.join(edit.file)).unwrap_or_default();
                assert_eq!(text.matches(edit.from).count(), 1, "{}: {}: {}", guard.name, edit.file, edit.from);
            }
        }
    }
}
