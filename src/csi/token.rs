//! Page tokens: the ID of the last volume on the page, so that pages stay stable while volumes
//! come and go.

use crate::engine::{Error, Kind};
use crate::volume::VolumeId;

/// Marks a token as one of Berth's.
const PREFIX: &str = "after:";
/// The most entries on a page, also when the caller sets no bound: an answer of some 200 KiB, of which clients
/// that do not read may make the agent hold a few.
const MOST: usize = 1000;

/// The token for the page that follows `last`.
pub fn after(last: &str) -> String {
    format!("{PREFIX}{last}")
}

/// Reads a token; an empty one begins at the first volume.
pub fn parse(token: &str) -> Result<Option<VolumeId>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    token
        .strip_prefix(PREFIX)
        .and_then(|id| VolumeId::parse(id).ok())
        .map(Some)
        .ok_or_else(|| {
            let message = "starting_token is none that Berth gave out; begin again with an empty one";
            Error::new(Kind::StaleToken, message)
        })
}

/// How many entries a page may have; 0 leaves it to the driver.
pub fn page_size(max_entries: i32) -> Result<usize, Error> {
    match usize::try_from(max_entries) {
        Err(_) => Err(Error::new(Kind::Invalid, "max_entries must not be negative")),
        Ok(0) => Ok(MOST),
        Ok(most) => Ok(most.min(MOST)),
    }
}
