//! Edge. Waiting for a condition: the only place in the tests that lets time pass.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout};

/// Between two looks: short enough not to be noticed, long enough to leave the cores to the others.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `look` returns `Ok`, and returns that.
///
/// # Errors
/// `deadline` passes first; the message holds what the last look returned.
pub async fn eventually<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut last = "no look came to an end".to_owned();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        match timeout(left, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => break,
        }
        sleep(PAUSE).await;
    }
    bail!("gave up after {deadline:?} waiting for: {what}; last seen: {last}")
}

/// Looks again and again for the whole `duration`.
///
/// # Errors
/// The first look that fails.
pub async fn always<E: Display>(
    what: &str,
    duration: Duration,
    mut look: impl AsyncFnMut() -> Result<(), E>,
) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(error) = look().await {
            bail!(
                "no longer true after {:?}: {what}: {error:#}",
                start.elapsed()
            );
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Lets a window pass in which something else is measured.
pub async fn pass(window: Duration) {
    sleep(window).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_success_is_returned() {
        let mut looks = 0;
        let value = eventually("three looks", Duration::from_secs(5), async || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn the_message_holds_the_last_value() {
        let never = eventually("nothing", Duration::from_millis(50), async || {
            Err::<(), _>("7 of 9")
        });
        let message = never.await.unwrap_err().to_string();
        assert!(message.contains("nothing; last seen: 7 of 9"), "{message}");
    }
}
