//! Results as a page.

use super::model::Results;

pub(crate) fn html(results: &Results) -> String {
    results.title.clone()
}
