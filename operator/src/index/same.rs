//! Pure. Tells the write of a status, of which there are many, from a change of what is wanted.

use serde_json::Value;

/// Whether two states of an object differ at most in its status and in what goes with any write.
pub(super) fn but_for_status(one: &Value, other: &Value) -> bool {
    but_for(Some(one), Some(other), &["metadata", "status"])
        && but_for(
            one.get("metadata"),
            other.get("metadata"),
            &["managedFields", "resourceVersion"],
        )
}

fn but_for(one: Option<&Value>, other: Option<&Value>, left_out: &[&str]) -> bool {
    let (Some(Value::Object(one)), Some(Value::Object(other))) = (one, other) else {
        return one == other;
    };
    let counts = |(key, _): &(&String, &Value)| !left_out.contains(&key.as_str());
    one.iter().filter(counts).eq(other.iter().filter(counts))
}
