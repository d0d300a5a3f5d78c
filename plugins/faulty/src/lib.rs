//! Fails on purpose, in the way that the message's X-Fault field asks for: for seeing what `on_error` does before a
//! filter that matters fails for the first time.

use mailweir_filter::prelude::*;

struct Faulty;

impl Filter for Faulty {
    type Config = NoConfig;

    fn configure(_: NoConfig) -> Result<(Self, Plan), String> {
        Ok((Self, Plan::new().on_end()))
    }

    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        for fault in mail.header("X-Fault") {
            match fault.trim_ascii() {
                b"trap" => panic!("the message asked for a trap"),
                b"loop" => spin(),
                b"memory" => hog(),
                _ => {}
            }
        }
        Decision::pass().into()
    }
}

/// Never ends; the host's CPU limit does.
fn spin() {
    loop {
        std::hint::black_box(0);
    }
}

/// Takes memory until the host gives no more.
fn hog() {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

mailweir_filter::export!(Faulty);

#[cfg(test)]
mod tests {
    use mailweir_filter::testing::Harness;

    use super::*;

    #[test]
    fn a_message_that_asks_for_nothing_passes() {
        let harness = Harness::new::<Faulty>("{}").unwrap();
        assert_eq!(harness.run("Subject: lunch\n\nAt noon?\n").verdict, Verdict::Pass);
        assert_eq!(harness.run("X-Fault: nothing known\n\nAt noon?\n").verdict, Verdict::Pass);
    }

    #[test]
    #[should_panic(expected = "the message asked for a trap")]
    fn a_trap_is_a_panic() {
        Harness::new::<Faulty>("{}").unwrap().run("X-Fault: trap\n\n");
    }
}
