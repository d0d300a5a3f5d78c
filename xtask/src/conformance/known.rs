//! The cases in which mailweir disagrees on purpose, with the argument. One that agrees again fails the run, so that this
//! table stays true.

/// A disagreement that is meant.
pub(super) struct Known {
    pub(super) suite: &'static str,
    pub(super) case: &'static str,
    pub(super) because: &'static str,
    /// What the argument rests on.
    pub(super) section: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        suite: "DKIM mail-auth",
        case: "005.txt",
        because: "x= has passed: a signature that its signer calls expired is no pass",
        section: "RFC 6376 section 3.5",
    },
    Known {
        suite: "SPF mail-auth",
        case: "all/1",
        because: "\"ip:10.0.0.1\" is no mechanism, and a syntax error anywhere in the record counts, behind \"all\" too",
        section: "RFC 7208 section 4.6",
    },
    Known {
        suite: "SPF mail-auth",
        case: "basic/9",
        because: "ten names that do not exist are more than two void look-ups",
        section: "RFC 7208 section 4.6.4",
    },
    Known {
        suite: "SPF mail-auth",
        case: "basic/14",
        because: "a domain with eleven mail exchangers is over the limit, whichever of them matches",
        section: "RFC 7208 section 4.6.4",
    },
    Known {
        suite: "SPF mail-auth",
        case: "exists/2",
        because: "\"exists\" asks for A records, for IPv6 clients too; the name has only AAAA",
        section: "RFC 7208 section 5.7",
    },
    Known {
        suite: "SPF mail-auth",
        case: "ip/11",
        because: "an IPv4 client is in no IPv6 network, also in none of mapped addresses",
        section: "RFC 7208 section 5.6",
    },
    Known {
        suite: "DMARC mailauth",
        case: "mailauth/Should return false for headerFrom array with multiple elements",
        because: "two addresses of one domain name one author domain, whose policy applies all the same",
        section: "RFC 7489 section 6.6.1",
    },
    Known {
        suite: "MIME mail-parser, texts",
        case: "malformed/009.eml",
        because: "the boundary of an outer multipart ends the inner one, so that these words are fields, not text",
        section: "RFC 2046 section 5.1.2",
    },
    Known {
        suite: "MIME mail-parser, texts",
        case: "malformed/011.eml",
        because: "the boundary of an outer multipart ends the inner one, so that these words are fields, not text",
        section: "RFC 2046 section 5.1.2",
    },
    Known {
        suite: "MIME mail-parser, texts",
        case: "malformed/012.eml",
        because: "the boundary of an outer multipart ends the inner one, so that these words are fields, not text",
        section: "RFC 2046 section 5.1.2",
    },
    Known {
        suite: "MIME mail-parser, texts",
        case: "thirdparty/002.eml",
        because: "characters outside of base64's alphabet are skipped, and the others decoded",
        section: "RFC 2045 section 6.8",
    },
    Known {
        suite: "MIME mail-parser, texts",
        case: "legacy/026.eml",
        because: "a body in x-uuencode is decoded before it is searched; the words are those of its encoding",
        section: "RFC 2045 section 6.3",
    },
    Known {
        suite: "MIME mail-parser, texts",
        case: "rfc/000.eml",
        because: "what is declared to be base64 is decoded: sounds and an image, not words",
        section: "RFC 2045 section 6.8",
    },
    Known {
        suite: "MIME mail-parser, relayed",
        case: "thirdparty/005.eml",
        because: "NUL at the beginning of a line hides a dot from some servers; nothing may generate it",
        section: "RFC 5322 section 4.1",
    },
];

pub(super) fn reason(suite: &str, case: &str) -> Option<&'static Known> {
    of(suite).find(|known| known.case == case)
}

pub(super) fn of(suite: &str) -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(move |known| known.suite == suite)
}
