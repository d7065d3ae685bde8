//! t
use super::results::Results;
pub fn curves(_r: &Results) -> wheatear::Result<String> {
    Ok(String::new())
}
pub fn standalone(s: &str) -> String {
    s.to_owned()
}
