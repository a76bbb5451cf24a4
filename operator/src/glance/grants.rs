//! Edge. What a namespace says of who may go to its Services.

use super::{Cluster, Error, Seen, failed, is_forbidden};
use crate::index::{Event, Kind, Sight};
use crate::watch;

impl Cluster {
    pub(super) async fn grants(&self, namespace: &str, seen: &mut Seen) -> Result<(), Error> {
        let what = format!("ReferenceGrants of namespace {namespace}");
        match watch::grants(&self.client, namespace).await {
            Ok(Some(grants)) => {
                let all = Event::Replaced(Kind::ReferenceGrant, grants);
                seen.index.apply(all);
            }
            Ok(None) => {
                seen.index.apply(Event::Sight(Sight::Absent));
            }
            Err(error) if is_forbidden(&error) => {
                // Nothing is known of them, which is not that they permit nothing.
                seen.index.apply(Event::Sight(Sight::Unread));
                seen.forbidden.push(what);
            }
            Err(error) => return Err(failed(&what)(error)),
        }
        Ok(())
    }
}
