//! t
use super::results::Results;
pub fn page(_r: &Results) -> wheatear::Result<String> {
    Ok(String::new())
}
