//! The smallest filter: greets each message in a header field.

use mailweir_filter::prelude::*;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    greeting: String,
}

impl Filter for Hello {
    type Config = Self;

    fn configure(config: Self) -> Result<(Self, Plan), String> {
        Ok((config, Plan::new().on_end().edits()))
    }

    fn on_end(&mut self, _mail: &Mail) -> (Decision, Edits) {
        let edits = Edits::new().add_header("X-Hello", self.greeting.as_str());
        Decision::pass().because("said hello").tag("hello", "said").with(edits)
    }
}

mailweir_filter::export!(Hello);

#[cfg(test)]
mod tests {
    use mailweir_filter::testing::Harness;

    use super::*;

    #[test]
    fn greets() {
        let harness = Harness::new::<Hello>(r#"{ "greeting": "Good day" }"#).unwrap();
        let outcome = harness.run("Subject: lunch\n\nAt noon?\n");
        assert_eq!(outcome.verdict, Verdict::Pass);
        assert_eq!(outcome.header("X-Hello").as_deref(), Some("Good day"));
        assert_eq!(outcome.tag("hello"), Some("said"));
    }

    #[test]
    fn wants_a_greeting() {
        assert_eq!(Harness::new::<Hello>("{}").unwrap_err(), "missing field `greeting`");
    }
}
