//! The sound goes and comes back: the sound server dies, and the microphone is unplugged. The daemon says so, and hears again by itself.

use rustix::process::Signal;

use super::{Client, teach};
use crate::place::{Place, Running};

/// Breaks the sound while a daemon hears, and mends it.
fn outlives(break_it: impl FnOnce(&mut Place), mend: impl FnOnce(&mut Place)) {
    let mut place = Place::new("");
    teach(&place.path("adapter"));
    let mut running = place.start();
    let client = Client::new(&Running::address(&running.told("READY=1")));
    client.notice(0, "hears ");
    client.knows(&place, "Cello");
    let before = client.newest();

    break_it(&mut place);
    let (lost, event) = client.notice(before, "lost: ");
    assert!(event["level"] == "error" && event["text"].as_str().unwrap().contains("tried again in"), "{event}");
    // It stays so, and the rest of it goes on.
    let (_, again) = client.notice(lost, "lost: ");
    assert!(again["text"].as_str().unwrap().contains("default"), "{again}");
    assert_eq!(client.get("/api/v1/status")["adapter"]["classes"].as_array().unwrap().len(), 3);
    assert!(place.log().contains("lost: "), "{}", place.log());

    mend(&mut place);
    client.notice(lost, "hears ");
    client.hears(3);
    client.knows(&place, "Church Organ");
    client.knows(&place, "Cello");
    assert!(running.child.try_wait().unwrap().is_none(), "it is the same process: {}", place.log());
    running.signal(Signal::TERM);
    assert_eq!(running.ends(), 0, "{}", place.log());
}

#[test]
fn when_the_sound_server_dies_and_comes_back_it_is_said_and_heard_again() {
    outlives(|place| place.server.kill(), |place| place.server.restart().unwrap());
}

#[test]
fn when_the_microphone_is_unplugged_and_plugged_in_again_it_is_said_and_heard_again() {
    outlives(|place| place.server.unplug().unwrap(), |place| place.server.plug_in().unwrap());
}
