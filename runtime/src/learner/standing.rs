//! Which head serves: the last one that the guard accepted, kept with the adapter together with what judged it, so that it serves on
//! when a newer one is refused, and after a restart.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::trial::{self, Judgement, Verdict};
use super::{Budget, Served, serve};
use crate::head::HeadKind;
use crate::learn::ClassName;
use crate::monitor::Monitor;
use crate::store::Adapter;
use crate::{Error, ErrorKind, Result};

/// Changes whenever the bytes do, or the head that the same rows give.
const VERSION: u8 = 3;

/// The head that serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// It, and what is known of it.
    pub served: Served,
    /// Generation of the adapter whose rows it is solved from.
    pub generation: u64,
    /// What was found when the head of the newest rows was tried; none where there was none to compare it with. When it refuses,
    /// `served` is the head before.
    pub verdict: Option<Verdict>,
    judgement: Judgement,
    /// Generation whose head was tried last.
    tried: u64,
}

/// As it is kept.
#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    generation: u64,
    tried: u64,
    served: Cow<'a, Served>,
    judgement: Cow<'a, Judgement>,
}

/// The head that `adapter` serves now: the kept one where nothing was learned since, else that of all its rows, unless the guard
/// refuses it.
///
/// # Errors
/// As [`serve`]; those of reading what was kept. One that cannot be made out is passed over, and the head of all rows serves.
pub fn stand(adapter: &Adapter, budget: &Budget) -> Result<Standing> {
    kept(adapter)?.map_or_else(|| newest(adapter, budget), |kept| kept.follow(adapter, budget))
}

/// The head of all rows, whatever the guard says of it: a person decided.
///
/// # Errors
/// As [`serve`].
pub fn newest(adapter: &Adapter, budget: &Budget) -> Result<Standing> {
    let served = serve(adapter, HeadKind::Auto, budget)?;
    Ok(Standing {
        judgement: served.answers.judgement(None),
        served,
        generation: adapter.generation(),
        verdict: None,
        tried: adapter.generation(),
    })
}

/// Tries the head of what was learned, and writes what serves and what `monitor` knows with a checkpoint, where that is new.
///
/// # Errors
/// As [`stand`] and [`Adapter::checkpoint`]. An adapter without room for them serves all the same: a line in the log says so.
pub fn settle(adapter: &mut Adapter, monitor: &Monitor, budget: &Budget) -> Result<Standing> {
    let from = kept(adapter)?;
    keep(adapter, monitor, budget, from)
}

/// As [`settle`], where the head that serves is `from`, which need not have been kept; none where there was none.
///
/// # Errors
/// As [`settle`].
pub fn keep(adapter: &mut Adapter, monitor: &Monitor, budget: &Budget, from: Option<Standing>) -> Result<Standing> {
    let monitor = monitor.encode()?;
    let is_known = adapter.kept_monitor()?.as_ref() == Some(&monitor);
    let follow = |adapter: &Adapter| from.map_or_else(|| newest(adapter, budget), |from| from.follow(adapter, budget));
    if is_known && kept(adapter)?.is_some_and(|kept| kept.tried == adapter.generation()) {
        return follow(adapter);
    }
    adapter.fresh_generation()?;
    let standing = follow(adapter)?;
    match standing.write(adapter, monitor) {
        Err(e) if e.kind() == ErrorKind::Limit => {
            log::warn!("{e}");
            adapter.checkpoint()?;
        }
        done => done?,
    }
    Ok(standing)
}

/// Lets the head of all rows serve although the guard refused it.
///
/// # Errors
/// As [`settle`], and `Limit` when there is no room to keep it.
pub fn accept(adapter: &mut Adapter, budget: &Budget) -> Result<Standing> {
    adapter.fresh_generation()?;
    let standing = newest(adapter, budget)?;
    let monitor = adapter.kept_monitor()?.map_or_else(|| Monitor::new(adapter.dim())?.encode(), Ok)?;
    standing.write(adapter, monitor)?;
    Ok(standing)
}

impl Standing {
    /// The head that serves when `adapter`, of which this one served before, has learned more: that of all its rows, unless the guard
    /// refuses it.
    ///
    /// # Errors
    /// As [`serve`].
    pub fn follow(mut self, adapter: &Adapter, budget: &Budget) -> Result<Standing> {
        if self.generation == adapter.generation() {
            return Ok(self);
        }
        let newest = newest(adapter, budget)?;
        let verdict = trial::compare(&self.judgement, &newest.served.answers);
        if verdict.accepts() {
            let judgement = newest.served.answers.judgement(Some(&self.judgement));
            return Ok(Standing { verdict: Some(verdict), judgement, ..newest });
        }
        // What a person took away is never named again.
        let presence = newest.served.presence.iter().flat_map(|p| p.present.iter().chain(&p.vetoes));
        let known: BTreeSet<&ClassName> = presence.chain([&newest.served.head]).flat_map(|head| &head.classes).collect();
        match self.served.retain(|class| known.contains(class)) {
            true => Ok(Standing { verdict: Some(verdict), tried: newest.tried, ..self }),
            false => Ok(newest),
        }
    }

    /// Whether a newer head was refused.
    pub fn is_refused(&self) -> bool {
        self.verdict.as_ref().is_some_and(|v| !v.accepts())
    }

    fn write(&self, adapter: &mut Adapter, monitor: Vec<u8>) -> Result<()> {
        adapter.keep_head(self.encode()?)?;
        // What was answered is told, and decides nothing: for want of room it must not cost the head.
        match adapter.keep_monitor(monitor) {
            Err(e) if e.kind() == ErrorKind::Limit => log::warn!("{e}"),
            done => done?,
        }
        adapter.checkpoint()
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let kept = Kept {
            generation: self.generation,
            tried: self.tried,
            served: Cow::Borrowed(&self.served),
            judgement: Cow::Borrowed(&self.judgement),
        };
        let body = postcard::to_stdvec(&kept).map_err(|e| Error::new(ErrorKind::Limit, "the head cannot be encoded").because(e))?;
        Ok([vec![VERSION], body].concat())
    }
}

/// What the monitor of `adapter` knows; none before the first. One that cannot be made out is passed over, with a line in the log.
///
/// # Errors
/// Those of reading it.
pub fn monitor(adapter: &Adapter) -> Result<Option<Monitor>> {
    let Some(bytes) = adapter.kept_monitor()? else { return Ok(None) };
    let monitor = Monitor::decode(&bytes, adapter.dim());
    if monitor.is_none() {
        log::warn!("{}: what the monitor knew is of another version, it begins anew", adapter.folder().display());
    }
    Ok(monitor)
}

fn kept(adapter: &Adapter) -> Result<Option<Standing>> {
    let Some(bytes) = adapter.kept_head()? else { return Ok(None) };
    let standing = decode(&bytes, adapter.dim());
    if standing.is_none() {
        log::warn!("{}: the head that was kept is of another version, the head of all rows serves", adapter.folder().display());
    }
    Ok(standing)
}

/// None when the bytes are not what [`Standing::encode`] writes.
fn decode(bytes: &[u8], dim: usize) -> Option<Standing> {
    let (version, rest) = bytes.split_first()?;
    let kept: Kept<'_> = postcard::from_bytes(rest).ok().filter(|_| *version == VERSION)?;
    let (served, judgement) = (kept.served.into_owned(), kept.judgement.into_owned());
    (served.validate(dim).and_then(|()| judgement.validate())).ok()?;
    Some(Standing { served, generation: kept.generation, verdict: None, judgement, tried: kept.tried })
}
