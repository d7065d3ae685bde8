//! A sink behind a bounded queue, with a thread of its own: a slow disk never delays whoever tells events.
//!
//! What finds no room is dropped: [`Behind::take`] says so (whoever tells logs the first of a row), it is counted, and when there is room
//! again a line in the log says how many were lost. That its sink fails, and that it works again, are its news. Dropping it lets the thread write what waits, for a limited time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::event::{Event, Level, Sink};
use crate::{Error, ErrorKind, Result};

/// Events that wait for a sink, where nothing else is asked for.
pub const ROOM: usize = 1024;
/// How long a sink may take for what waits at the end, where nothing else is asked for.
pub const FAREWELL: Duration = Duration::from_secs(2);

/// A sink behind a queue.
pub struct Behind {
    name: String,
    /// None once it ends.
    queue: Option<SyncSender<Event>>,
    /// Breaks when the thread has ended.
    ended: Receiver<()>,
    farewell: Duration,
    counts: Arc<Counts>,
    /// Lost since there was room last.
    lost_now: u64,
}

/// What became of the events.
#[derive(Debug, Default)]
pub struct Counts {
    taken: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    refused: AtomicU64,
    /// What nobody was told yet.
    news: Mutex<Option<(Level, String)>>,
}

impl Counts {
    /// Events that the sink took.
    pub fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Events that found no room, or no sink that still runs.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Events that the sink could not take.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn tell(&self, level: Level, text: String) {
        *self.news.lock().unwrap_or_else(PoisonError::into_inner) = Some((level, text));
    }

    /// Events that wait.
    pub fn waiting(&self) -> u64 {
        self.taken.load(Relaxed).saturating_sub(self.written() + self.refused())
    }
}

impl Behind {
    /// Puts `sink` behind a queue of [`ROOM`] events; `name` stands in the log.
    ///
    /// # Errors
    /// `Storage` when the system gives no thread.
    pub fn new(name: &str, sink: impl Sink + 'static) -> Result<Behind> {
        Behind::with(name, sink, ROOM, FAREWELL)
    }

    /// Puts `sink` behind a queue of `room` events. At the end it may take `farewell` for what waits.
    ///
    /// # Errors
    /// As [`Behind::new`].
    pub fn with(name: &str, sink: impl Sink + 'static, room: usize, farewell: Duration) -> Result<Behind> {
        let ((queue, events), (ending, ended)) = (sync_channel(room.max(1)), sync_channel(0));
        let counts = Arc::<Counts>::default();
        let (own, counted) = (name.to_owned(), counts.clone());
        let thread = std::thread::Builder::new().name(name.into());
        let work = move || {
            write(&own, sink, events, &counted);
            drop::<SyncSender<()>>(ending);
        };
        let failed = |e| Error::new(ErrorKind::Storage, "the system gives no thread").at(name).because(e).cure("end other programs");
        thread.spawn(work).map_err(failed)?;
        Ok(Behind { name: name.into(), queue: Some(queue), ended, farewell, counts, lost_now: 0 })
    }

    fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// What became of the events; stays readable when the sink has been given away.
    pub fn counts(&self) -> Arc<Counts> {
        self.counts.clone()
    }
}

impl Sink for Behind {
    fn take(&mut self, event: &Event) -> Result<()> {
        let ended = || Error::new(ErrorKind::Storage, "a sink of events has ended").at(&self.name).cure("see the log, and start again");
        match self.queue.as_ref().ok_or_else(ended)?.try_send(event.clone()) {
            Ok(()) => {
                self.counts.taken.fetch_add(1, Relaxed);
                let lost = std::mem::take(&mut self.lost_now);
                if lost > 0 {
                    log::warn!("{lost} events were lost to {}: it was too slow", self.name);
                }
                Ok(())
            }
            Err(TrySendError::Full(_)) => {
                self.lost_now += 1;
                self.counts.lost.fetch_add(1, Relaxed);
                Err(Error::new(ErrorKind::Limit, "events come faster than a sink takes them")
                    .at(&self.name)
                    .cure("look whether its disk is slow or hangs"))
            }
            Err(TrySendError::Disconnected(_)) => {
                self.counts.lost.fetch_add(1, Relaxed);
                Err(ended())
            }
        }
    }

    fn news(&mut self) -> Option<(Level, String)> {
        self.counts.news.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn lost(&self) -> u64 {
        let counts = &self.counts;
        // Of a thread that has ended what waited is lost, too.
        let unheard = if self.has_ended() { counts.waiting() } else { 0 };
        counts.lost() + counts.refused() + unheard
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        drop(self.queue.take());
        if self.ended.recv_timeout(self.farewell) == Err(RecvTimeoutError::Timeout) {
            let (waiting, name) = (self.counts.waiting(), &self.name);
            log::error!("{name} was given {} s to end: {waiting} events still wait and may be lost", self.farewell.as_secs_f32());
        }
        if self.lost_now > 0 {
            log::warn!("{} events were lost to {}: it was too slow", self.lost_now, self.name);
        }
        if let Some((Level::Error, text)) = self.news() {
            log::error!("{text}");
        }
    }
}

fn write(name: &str, mut sink: impl Sink, events: Receiver<Event>, counts: &Counts) {
    let mut works = true;
    for event in events {
        match sink.take(&event) {
            Ok(()) => {
                if !std::mem::replace(&mut works, true) {
                    counts.tell(Level::Info, format!("{name} works again"));
                }
                counts.written.fetch_add(1, Relaxed);
            }
            Err(e) => {
                counts.refused.fetch_add(1, Relaxed);
                if std::mem::replace(&mut works, false) {
                    counts.tell(Level::Error, format!("{e}; events are lost to {name} until it works again"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::event::What;
    use crate::units::Moment;

    /// Takes an event for each time that it is let, and then as many as come.
    struct Gate {
        arrived: std::sync::mpsc::Sender<()>,
        open: Receiver<bool>,
        taken: Arc<Mutex<Vec<u64>>>,
    }

    impl Sink for Gate {
        fn take(&mut self, event: &Event) -> Result<()> {
            // Nobody may be looking any more.
            let _ = self.arrived.send(());
            if self.open.recv() == Ok(false) {
                return Err(Error::new(ErrorKind::Storage, "closed"));
            }
            self.taken.lock().unwrap().push(event.generation);
            Ok(())
        }
    }

    fn event(generation: u64) -> Event {
        Event::new(Moment::UNKNOWN, generation, What::Undone { rows: 1, by: String::new(), durable: true })
    }

    type Ends = (Receiver<()>, std::sync::mpsc::Sender<bool>, Arc<Mutex<Vec<u64>>>);

    fn behind(room: usize, farewell: Duration) -> (Behind, Ends) {
        let ((arrived, arrivals), (let_in, open), taken) = (channel(), channel(), Arc::default());
        let gate = Gate { arrived, open, taken: Arc::clone(&taken) };
        (Behind::with("a test", gate, room, farewell).unwrap(), (arrivals, let_in, taken))
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_and_the_rest_is_written_in_order() {
        let (mut behind, (arrivals, let_in, taken)) = behind(2, Duration::from_secs(60));
        let counts = behind.counts();
        behind.take(&event(1)).unwrap();
        // The thread holds the first, and two more have room.
        arrivals.recv().unwrap();
        behind.take(&event(2)).unwrap();
        behind.take(&event(3)).unwrap();
        for n in 4..6 {
            assert_eq!(behind.take(&event(n)).unwrap_err().kind(), ErrorKind::Limit);
        }
        assert_eq!((counts.lost(), counts.waiting(), counts.written()), (2, 3, 0));
        let_in.send(true).unwrap();
        arrivals.recv().unwrap();
        behind.take(&event(6)).unwrap();
        drop(let_in);
        drop(behind);
        assert_eq!(*taken.lock().unwrap(), [1, 2, 3, 6], "what waited at the end is written");
        assert_eq!((counts.lost(), counts.waiting(), counts.written()), (2, 0, 4));
    }

    #[test]
    fn an_end_waits_for_a_sink_that_hangs_no_longer_than_it_may() {
        let (mut behind, (arrivals, let_in, taken)) = behind(2, Duration::ZERO);
        behind.take(&event(1)).unwrap();
        arrivals.recv().unwrap();
        drop(behind);
        assert!(taken.lock().unwrap().is_empty());
        drop(let_in);
    }

    #[test]
    fn a_sink_that_fails_is_tried_again_with_the_next_event() {
        let (mut behind, (_, let_in, taken)) = behind(8, Duration::from_secs(60));
        let counts = behind.counts();
        [true, false, true].into_iter().for_each(|open| let_in.send(open).unwrap());
        (1..=3).for_each(|n| behind.take(&event(n)).unwrap());
        while counts.written() < 2 {
            std::thread::yield_now();
        }
        let news = counts.news.lock().unwrap().take();
        assert_eq!(news, Some((Level::Info, "a test works again".to_owned())), "the newest, which the failure is before");
        drop(behind);
        assert_eq!(*taken.lock().unwrap(), [1, 3]);
        assert_eq!((counts.written(), counts.refused()), (2, 1));
    }

    #[test]
    fn that_a_sink_fails_is_news_once() {
        let (mut behind, (arrivals, let_in, _)) = behind(8, Duration::from_secs(60));
        let refused = |counts: &Counts, n| {
            while counts.refused() < n {
                std::thread::yield_now();
            }
        };
        for n in 1..=2 {
            behind.take(&event(n)).unwrap();
            arrivals.recv().unwrap();
            let_in.send(false).unwrap();
            refused(&behind.counts(), n);
            // It is told before the next event is taken.
            while n == 1 && behind.counts.news.lock().unwrap().is_none() {
                std::thread::yield_now();
            }
            let news = behind.news();
            assert_eq!(news.is_some_and(|(level, text)| level == Level::Error && text.contains("closed")), n == 1);
        }
        assert_eq!(behind.lost(), 2);
    }

    #[test]
    fn a_sink_that_panics_is_said_to_have_ended() {
        struct Panics;
        impl Sink for Panics {
            fn take(&mut self, _: &Event) -> Result<()> {
                panic!("as it should");
            }
        }
        let mut behind = Behind::new("a test", Panics).unwrap();
        behind.take(&event(1)).unwrap();
        assert_eq!(behind.ended.recv(), Err(std::sync::mpsc::RecvError));
        assert_eq!(behind.take(&event(2)).unwrap_err().kind(), ErrorKind::Storage);
        // The one that it was at, and the one that nobody takes any more.
        assert_eq!(behind.lost(), 2);
    }
}
