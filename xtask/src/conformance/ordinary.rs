//! Ordinary business mail in which there is nothing to find, though it is full of numbers: orders, telephones, books,
//! parcels, identifiers, dates, dumps. The same messages in every run.

/// How many messages.
const MESSAGES: usize = 400;

/// Numbers that look drawn by lot, from a seed (Knuth's MMIX generator).
struct Lot(u64);

impl Lot {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.next(10)).unwrap_or(0))).collect()
    }

    fn of(&mut self, alphabet: &[u8], count: usize) -> String {
        let length = alphabet.len() as u64;
        (0..count).map(|_| char::from(alphabet[usize::try_from(self.next(length)).unwrap_or(0)])).collect()
    }
}

/// The messages.
pub(super) fn messages() -> Vec<String> {
    let mut lot = Lot(2026);
    (0..MESSAGES).map(|number| message(&mut lot, number)).collect()
}

fn message(lot: &mut Lot, number: usize) -> String {
    let lines: Vec<String> = (0..12).map(|_| line(lot)).collect();
    format!(
        "Message-ID: <{}.{}@mail.shop.example>\r\nDate: {} Nov 2026 {}\r\nFrom: Orders <orders@shop.example>\r\n\
         To: customer{number}@example.com\r\nSubject: Your order {}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
        lot.digits(14),
        lot.of(b"0123456789abcdef", 16),
        lot.next(28) + 1,
        time(lot),
        lot.digits(10),
        lines.join("\r\n")
    )
}

fn line(lot: &mut Lot) -> String {
    const HEX: &[u8] = b"0123456789abcdef";
    const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    match lot.next(18) {
        0 => format!("Order no. {} of {}, total {},{} EUR", lot.digits(10), date(lot), lot.digits(3), lot.digits(2)),
        1 => format!("Call us: +1 {}{}-{}-{}", lot.next(8) + 2, lot.digits(2), lot.digits(3), lot.digits(4)),
        2 => format!("Telefon: +49 30 {} oder 0171 {}", lot.digits(8), lot.digits(7)),
        3 => format!("ISBN {}", article(lot, "978")),
        4 => format!("UPS tracking 1Z{} ", lot.of(UPPER, 16)),
        5 => format!("DHL parcel {}, FedEx {} {} {}", lot.digits(12), lot.digits(4), lot.digits(4), lot.digits(4)),
        6 => format!(
            "request {}-{}-4{}-a{}-{}",
            lot.of(HEX, 8),
            lot.of(HEX, 4),
            lot.of(HEX, 3),
            lot.of(HEX, 3),
            lot.of(HEX, 12)
        ),
        7 => format!("{}T{}Z job {} done in {} ms", date(lot), time(lot), lot.digits(6), lot.digits(4)),
        8 => format!("epoch 17{}, nanoseconds 17{}", lot.digits(8), lot.digits(17)),
        9 => (0..16).map(|_| lot.of(HEX, 2)).collect::<Vec<_>>().join(" "),
        10 => format!("{:08x}  {}", lot.next(1 << 30), (0..8).map(|_| lot.of(HEX, 4)).collect::<Vec<_>>().join(" ")),
        11 => lot.of(BASE64, 76),
        12 => format!("sha256 {}", lot.of(HEX, 64)),
        13 => format!("Invoice {}-{}, customer {}", lot.digits(4), lot.digits(6), lot.digits(8)),
        14 => (0..6).map(|_| lot.digits(4)).collect::<Vec<_>>().join("  "),
        15 => format!("EAN {}, {} pieces at {}.{}", article(lot, "40"), lot.next(90) + 1, lot.digits(2), lot.digits(2)),
        16 => {
            format!("version {}.{}.{}.{} build {}", lot.next(9), lot.next(30), lot.next(99), lot.next(9), lot.digits(5))
        }
        _ => format!(
            "Room {}, {} o'clock, agenda items {} to {}.",
            lot.digits(3),
            lot.next(12),
            lot.next(9),
            lot.digits(2)
        ),
    }
}

/// An EAN-13 with its check digit.
fn article(lot: &mut Lot, prefix: &str) -> String {
    let body = format!("{prefix}{}", lot.digits(12 - prefix.len()));
    let weighted = body.bytes().zip([1, 3].into_iter().cycle());
    let sum: u32 = weighted.map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn date(lot: &mut Lot) -> String {
    format!("20{}-{:02}-{:02}", lot.digits(2), lot.next(12) + 1, lot.next(28) + 1)
}

fn time(lot: &mut Lot) -> String {
    format!("{:02}:{:02}:{:02}", lot.next(24), lot.next(60), lot.next(60))
}
