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
        suite: "MIME mail-parser, relayed",
        case: "thirdparty/005.eml",
        because: "NUL at the beginning of a line hides a dot from some servers; nothing may generate it",
        section: "RFC 5322 section 4.1",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "fab\\ ien@symfony.com",
        because: "comments and white space belong to header fields; a path in SMTP has none",
        section: "RFC 5321 section 4.1.2",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "example((example))@fakedfake.co.uk",
        because: "comments and white space belong to header fields; a path in SMTP has none",
        section: "RFC 5321 section 4.1.2",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "example @invalid.example.com",
        because: "comments and white space belong to header fields; a path in SMTP has none",
        section: "RFC 5321 section 4.1.2",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "example(examplecomment)@invalid.example.com",
        because: "comments and white space belong to header fields; a path in SMTP has none",
        section: "RFC 5321 section 4.1.2",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "\"\t\"@invalid.example.com",
        because: "a quoted string holds no control characters, and a line no CR of its own",
        section: "RFC 5321 sections 2.3.8 and 4.1.2",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "\"\r\"@invalid.example.com",
        because: "a quoted string holds no control characters, and a line no CR of its own",
        section: "RFC 5321 sections 2.3.8 and 4.1.2",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "a5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com",
        because: "a local part has at most 64 octets",
        section: "RFC 5321 section 4.5.3.1.1",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "too_long_localpart_too_long_localpart_too_long_localpart_too_long_localpart@invalid.example.com",
        because: "a local part has at most 64 octets",
        section: "RFC 5321 section 4.5.3.1.1",
    },
    Known {
        suite: "addresses EmailValidator",
        case: "examp\u{2551}le@symfony.com",
        because: "with SMTPUTF8 an atom may hold any character beyond ASCII",
        section: "RFC 6531 section 3.3",
    },
    Known {
        suite: "SMTP dialogs chasquid",
        case: "bad_data.cmy",
        because: "a server should not refuse a message for what it takes for a fault in its header section",
        section: "RFC 5321 section 3.3",
    },
    Known {
        suite: "SMTP dialogs James",
        case: "starttls_with_injection.test",
        because: "what a client sends behind STARTTLS is thrown away, and the handshake goes on",
        section: "RFC 3207 section 4.2",
    },
    Known {
        suite: "dot reader chasquid",
        case: "\"abc\\r\\n.\\r\\n\" errMessageTooLarge",
        because: "the final dot is no part of the message; this one has exactly the five octets that are allowed",
        section: "RFC 1870 section 5",
    },
    Known {
        suite: "detector de-steuer-id",
        case: "12345678903",
        because: "in a number that was issued one digit stands two or three times among the first ten; here all ten differ",
        section: "Bundeszentralamt f\u{fc}r Steuern, construction of the IdNr; section 139b AO",
    },
    Known {
        suite: "detector de-steuer-id",
        case: "98765432106",
        because: "in a number that was issued one digit stands two or three times among the first ten; here all ten differ",
        section: "Bundeszentralamt f\u{fc}r Steuern, construction of the IdNr; section 139b AO",
    },
    Known {
        suite: "detector de-steuer-id",
        case: "Meine Steuer-ID: 12345678903.",
        because: "in a number that was issued one digit stands two or three times among the first ten; here all ten differ",
        section: "Bundeszentralamt f\u{fc}r Steuern, construction of the IdNr; section 139b AO",
    },
    Known {
        suite: "detector de-steuer-id",
        case: "IdNr. 98765432106 liegt vor.",
        because: "in a number that was issued one digit stands two or three times among the first ten; here all ten differ",
        section: "Bundeszentralamt f\u{fc}r Steuern, construction of the IdNr; section 139b AO",
    },
    Known {
        suite: "detector it-codice-fiscale",
        case: "AAAAAA00B11C333N",
        because: "the check letter of AAAAAA00B11C333 is Y; the other code cannot be anybody's",
        section: "DM 23 December 1976",
    },
    Known {
        suite: "detector it-codice-fiscale",
        case: "AAAAAA00B11C333Y and AAAAAA00B11C333N",
        because: "the check letter of AAAAAA00B11C333 is Y; the other code cannot be anybody's",
        section: "DM 23 December 1976",
    },
    Known {
        suite: "detector uk-nhs",
        case: "0032698674",
        because: "every eleventh number of ten digits has a right check digit, telephone numbers too: it counts as the NHS writes it, with spaces, or after a word",
        section: "NHS Data Dictionary, NHS NUMBER",
    },
    Known {
        suite: "detector uk-nhs",
        case: "401-023-2137",
        because: "every eleventh number of ten digits has a right check digit, telephone numbers too: it counts as the NHS writes it, with spaces, or after a word",
        section: "NHS Data Dictionary, NHS NUMBER",
    },
    Known {
        suite: "URLs twitter-text",
        case: "example.com\u{3066}\u{3059}\u{3068}\u{3067}\u{3059}twitter.\u{307f}\u{3093}\u{306a}\u{3067}\u{3059}",
        because: "where the text goes on without a space, nothing tells where \u{307f}\u{3093}\u{306a} ends; the name in it is another one",
        section: "RFC 5892",
    },
    Known {
        suite: "URLs twitter-text",
        case: "http://twitter.com/\u{3053}\u{308c}\u{306f}\u{65e5}\u{672c}\u{8a9e}\u{3067}\u{3059}\u{3002}example.com\u{4e2d}\u{56fd}\u{8a9e}http://t.co/abcde\u{d55c}\u{ad6d}twitter.com\u{30c6}\u{30b9}\u{30c8}example2.com\u{30c6}\u{30b9}\u{30c8}http://twitter.com/abcde",
        because: "letters of any script belong to a path; a name within it is part of that one link",
        section: "RFC 3987 section 2.2",
    },
];

pub(super) fn reason(suite: &str, case: &str) -> Option<&'static Known> {
    of(suite).find(|known| known.case == case)
}

pub(super) fn of(suite: &str) -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().filter(move |known| known.suite == suite)
}
