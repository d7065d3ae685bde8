//! What the thread that answers windows asks the heap for between two calls of the backbone. A heap is counted for a whole process: so that
//! nothing but that thread works while it is, a [`Gate`] holds the thread that tells at one window, which leaves inference the windows that
//! find room on their way.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wheatear::backbone::Backbone;
use wheatear::backbone::manifest::GraphInput;
use wheatear::daemon::{Glance, Sink};
use wheatear::event::{Event, What};
use wheatear::{Error, ErrorKind, Result};

/// Windows that are answered while telling is held: fewer than find room on their way.
pub const HELD: usize = 48;
/// How long anything may take.
const LONG: Duration = Duration::from_secs(120);
/// Nothing was asked for during so long: everything else rests.
const REST: Duration = Duration::from_millis(300);

/// What has been asked for since the process began, in bytes.
pub type Allocated = fn() -> usize;

/// Holds whoever tells.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// Number of the hold, from 1; 0 while nobody is held.
    held: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    /// Holds so far.
    holds: u64,
    told: Told,
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Heads that came to serve.
    pub heads: u64,
    /// Windows.
    pub windows: u64,
    /// Windows of them that a head had answered.
    pub answered: u64,
    /// Events.
    pub events: u64,
}

impl Gate {
    /// Holds telling at its next window, or lets it go on.
    pub fn close(&self, is_closed: bool) {
        self.state().is_closed = is_closed;
        self.changed.notify_all();
    }

    /// Waits until telling is held.
    ///
    /// # Errors
    /// `Limit` when it is not in time.
    pub fn wait_held(&self) -> Result<()> {
        wait_until("telling is held", || self.held.load(Relaxed) > 0)
    }

    /// What was told so far.
    pub fn told(&self) -> Told {
        self.state().told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sink that is held.
pub struct Held(pub Arc<Gate>);

impl Sink for Held {
    fn take(&mut self, event: &Event) -> Result<()> {
        let told = &mut self.0.state().told;
        told.events += 1;
        told.heads += u64::from(matches!(event.what, What::Serving { .. }));
        Ok(())
    }

    fn glance(&mut self, glance: &Glance<'_>) {
        let Glance::Window { guesses, .. } = glance else { return };
        let mut state = self.0.state();
        state.told.windows += 1;
        state.told.answered += u64::from(!guesses.is_empty());
        if !state.is_closed {
            return;
        }
        state.holds += 1;
        self.0.held.store(state.holds, Relaxed);
        while state.is_closed {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.0.held.store(0, Relaxed);
    }

    fn wants_sound(&self) -> bool {
        true
    }
}

/// What was counted round the backbone's calls.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls.
    pub calls: AtomicU64,
    /// Stretches between two calls during one hold.
    pub stretches: AtomicU64,
    /// Bytes asked for in them.
    pub outside: AtomicUsize,
    /// Calls during one hold.
    pub held: AtomicU64,
    /// Least and most bytes asked for in one of these.
    pub inside: (AtomicUsize, AtomicUsize),
}

/// A backbone that counts.
pub struct Counting {
    backbone: Box<dyn Backbone>,
    gate: Arc<Gate>,
    tally: Arc<Tally>,
    allocated: Allocated,
    /// Number of the hold behind the last call, and what had been asked for then.
    before: (u64, usize),
}

impl Counting {
    /// Round `backbone`, whose windows `gate` holds the telling of.
    pub fn new(backbone: Box<dyn Backbone>, gate: Arc<Gate>, allocated: Allocated) -> (Counting, Arc<Tally>) {
        let tally = Arc::new(Tally { inside: (usize::MAX.into(), 0.into()), ..Tally::default() });
        (Counting { backbone, gate, tally: tally.clone(), allocated, before: (0, 0) }, tally)
    }
}

impl Backbone for Counting {
    fn input(&self) -> GraphInput {
        self.backbone.input()
    }

    fn input_len(&self) -> usize {
        self.backbone.input_len()
    }

    fn dim(&self) -> usize {
        self.backbone.dim()
    }

    fn embed(&mut self, input: &[f32], embedding: &mut [f32]) -> Result<()> {
        // What is within one hold at both ends is within it all the while: first the hold, then the count, and here the other way round.
        let begun = (self.allocated)();
        let hold = self.gate.held.load(Relaxed);
        let (before, since) = self.before;
        if hold > 0 && hold == before {
            self.tally.stretches.fetch_add(1, Relaxed);
            self.tally.outside.fetch_add(begun - since, Relaxed);
        }
        let embedded = self.backbone.embed(input, embedding);
        let done = (self.allocated)();
        if hold > 0 && self.gate.held.load(Relaxed) == hold && before == hold {
            self.tally.held.fetch_add(1, Relaxed);
            self.tally.inside.0.fetch_min(done - begun, Relaxed);
            self.tally.inside.1.fetch_max(done - begun, Relaxed);
        }
        let hold = self.gate.held.load(Relaxed);
        self.before = (hold, (self.allocated)());
        self.tally.calls.fetch_add(1, Relaxed);
        embedded
    }
}

/// Waits until nothing is asked for any more.
///
/// # Errors
/// As [`wait_until`].
pub fn wait_for_rest(allocated: Allocated) -> Result<()> {
    let mut last = (allocated(), Instant::now());
    wait_until("everything rests", || {
        let now = allocated();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > REST
    })
}

/// Waits until it `is` so.
///
/// # Errors
/// `Limit` when it is not in time.
pub fn wait_until(what: &str, mut is: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + LONG;
    while !is() {
        if Instant::now() > until {
            return Err(Error::new(ErrorKind::Limit, "what is waited for does not come").expected(what));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
