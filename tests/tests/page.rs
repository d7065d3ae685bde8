//! The page in a real browser: what sounds is seen, a tap says what it was, and the next window knows; what another site could try is no use.
//! Run by `cargo xtask page`, which installs Chromium and its driver.

#[allow(dead_code, unused_imports, unused_macros)] // The other half is for the tests of the command line.
#[path = "cli/command.rs"]
mod command;
#[allow(dead_code)] // The other half is for the tests of the daemon.
#[path = "wheateard/place.rs"]
mod place;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command::root;
use place::{LONG, Place, Running, request};
use serde_json::{Value, json};
use wheatear_tests::live;

/// A browser, spoken to as WebDriver (W3C) has it.
struct Browser {
    driver: Child,
    address: String,
    session: String,
}

impl Browser {
    fn start(width: u32, height: u32) -> Browser {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut driver = Command::new("chromedriver");
        driver.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = driver.spawn().expect("chromedriver cannot be started: install chromium-driver, or run cargo xtask page");
        let address = format!("127.0.0.1:{port}");
        let until = Instant::now() + LONG;
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < until, "chromedriver does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let size = format!("--window-size={width},{height}");
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", size]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}});
        let (status, session) = request(&address, "POST", "/session", &wanted.to_string());
        assert_eq!(status, 200, "{session}");
        let session = session["value"]["sessionId"].as_str().unwrap().to_owned();
        let browser = Browser { driver, address, session };
        // The narrowest window of a desktop is wider than a phone.
        browser.command(
            "goog/cdp/execute",
            &json!({"cmd": "Emulation.setDeviceMetricsOverride",
            "params": {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}}),
        );
        browser
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = request(&self.address, "POST", &format!("/session/{}/{path}", self.session), &body.to_string());
        assert_eq!(status, 200, "{path}: {answer}");
        answer["value"].clone()
    }

    fn open(&self, url: &str) {
        self.command("url", &json!({"url": url}));
    }

    fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({"script": script, "args": []}))
    }

    fn wait_for(&self, what: &str, script: &str) -> Value {
        let until = Instant::now() + LONG;
        loop {
            let found = self.run(script);
            if !matches!(found, Value::Null | Value::Bool(false)) {
                return found;
            }
            assert!(Instant::now() < until, "{what}: not in time; message {}, state {}", self.text("#message"), self.text("#state-text"));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn text(&self, selector: &str) -> String {
        self.run(&format!("return document.querySelector({selector:?})?.textContent ?? 'none'")).as_str().unwrap_or_default().to_owned()
    }

    /// A click as a finger makes it, on what is visible.
    fn click(&self, selector: &str) {
        self.run(&format!("document.querySelector({selector:?}).scrollIntoView({{block: 'center'}})"));
        // A list that has just moved refuses a tap.
        std::thread::sleep(Duration::from_millis(400));
        let element = self.command("element", &json!({"using": "css selector", "value": selector}));
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.command(&format!("element/{id}/click"), &json!({}));
    }

    fn type_into(&self, selector: &str, text: &str) {
        let element = self.command("element", &json!({"using": "css selector", "value": selector}));
        let id = element.as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        self.command(&format!("element/{id}/value"), &json!({"text": text}));
    }

    /// Into target/page/, for whoever wants to look.
    fn picture(&self, name: &str) {
        let (_, answer) = request(&self.address, "GET", &format!("/session/{}/screenshot", self.session), "");
        let folder = root().join("target/page");
        std::fs::create_dir_all(&folder).unwrap();
        use base64::Engine;
        let png = base64::engine::general_purpose::STANDARD.decode(answer["value"].as_str().unwrap()).unwrap();
        std::fs::write(folder.join(name), png).unwrap();
    }

    /// What the browser complained about.
    fn complaints(&self) -> Vec<String> {
        let all = self.command("se/log", &json!({"type": "browser"}));
        all.as_array().unwrap().iter().filter(|l| l["level"] == "SEVERE").map(|l| l["message"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Chromium ends with its session; who has gone needs no ending.
        _ = std::net::TcpStream::connect(&self.address)
            .map(|_| request(&self.address, "DELETE", &format!("/session/{}", self.session), ""));
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}

/// What a page that is told of a new head says.
const KNOWN: &str = "return /Known now/.test(document.querySelector('#message').textContent)";

fn through_the_page(width: u32, height: u32) {
    let place = Place::new("[listen]\nask_per_hour = 0\n");
    let running = place.start();
    let address = Running::address(&running.told("READY=1"));
    let browser = Browser::start(width, height);
    browser.open(&format!("http://{address}/"));
    browser.wait_for("connected", "return document.body.dataset.state === 'connected'");
    let sounds = root().join("target/assets/sounds/instruments");
    let notes = |instrument| live::notes(&sounds, instrument).unwrap();

    // Two new classes, by name; the second one is hostile.
    let hostile = "<img src=x onerror=alert(1)>";
    for (instrument, class) in [("Cello", "cello"), ("Church Organ", hostile)] {
        for note in &notes(instrument)[..2] {
            place.play(note);
            browser.run("document.querySelector('#say-class').value = ''");
            browser.type_into("#say-class", class);
            browser.click("#say-form [data-last='3000']");
            browser.wait_for("learned", "return /Learned|Known now/.test(document.querySelector('#message').textContent)");
        }
    }
    browser.wait_for("a head of both", KNOWN);
    // What is heard is seen, and labelled by a tap.
    place.play(&notes("Cello")[2]);
    browser.wait_for("an event", "return document.querySelector('#events > li.event[data-class=cello]') !== null");
    browser.picture(&format!("heard-{width}.png"));
    let first = "#events > li.event[data-class=cello] [data-action=yes]";
    let rows = || {
        let (_, status) = request(&address, "GET", "/api/v1/status", "");
        let classes = status["adapter"]["classes"].as_array().unwrap().iter();
        classes.map(|c| (c["class"].as_str().unwrap().to_owned(), c["rows"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    let total = |rows: &[(String, u64)]| rows.iter().map(|(_, n)| n).sum::<u64>();
    let before = total(&rows());
    browser.click(first);
    let until = Instant::now() + LONG;
    // All of its windows may have been in a label before.
    while total(&rows()) == before && !browser.text("#message").contains("labelled already") {
        assert!(Instant::now() < until, "the tap teaches nothing: {}", browser.text("#message"));
        std::thread::sleep(Duration::from_millis(100));
    }
    let taught = rows();
    assert_eq!(taught.iter().map(|(class, _)| class.as_str()).collect::<Vec<_>>(), [hostile, "cello"]);
    browser.click("#undo");
    let until = Instant::now() + LONG;
    while total(&rows()) >= total(&taught) {
        assert!(Instant::now() < until, "undo takes nothing back: {}", browser.text("#message"));
        std::thread::sleep(Duration::from_millis(100));
    }
    browser.wait_for("that it says so", "return /Took|Forgotten/.test(document.querySelector('#message').textContent)");

    // What nobody has named is not what undo takes back next.
    let next = |by: &str| {
        let label = json!({"classes": ["owl"], "rows": 1, "by": by});
        let script = format!(
            "const done = arguments[0]; import('/say.js').then(say => {{ say.onLearned({label}); done(document.querySelector('#undo').textContent); }})"
        );
        browser.command("execute/async", &json!({"script": script, "args": []}))
    };
    assert!(next("ordinary sound") != "Undo: owl" && next("anna") == "Undo: owl");

    // A phone need not scroll sideways, every control has a name, and what is not trusted is text.
    let wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth").as_f64().unwrap();
    assert!(wide <= 0.0, "{wide} px too wide at {width}");
    assert_eq!(browser.run("return document.querySelectorAll('img').length"), 0);
    let nameless = browser.run(
        "return [...document.querySelectorAll('button, input, select, canvas')].filter(e => e.offsetParent !== null && \
         !(e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.length)).map(e => e.outerHTML)",
    );
    assert_eq!(nameless, json!([]), "controls without a name");
    browser.picture(&format!("after-{width}.png"));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|c| c.contains("status of 4")), "{complaints:#?}");
    let (_, status) = request(&address, "GET", "/api/v1/status", "");
    assert_eq!((&status["counts"]["windows_dropped"], &status["counts"]["frames_lost"]), (&json!(0), &json!(0)), "{status}");
}

#[test]
#[ignore = "needs Chromium: cargo xtask page"]
fn on_a_phone_what_sounds_is_seen_labelled_known_and_taken_back() {
    through_the_page(360, 800);
}

#[test]
#[ignore = "needs Chromium: cargo xtask page"]
fn on_a_desk_too() {
    through_the_page(1280, 900);
}

#[test]
#[ignore = "needs Chromium: cargo xtask page"]
fn a_page_of_another_site_teaches_nothing_and_reads_nothing() {
    let place = Place::new("");
    let running = place.start();
    let address = Running::address(&running.told("READY=1"));
    let port = address.rsplit(':').next().unwrap().to_owned();
    // Another site: the same machine by another port, which is another origin.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let evil = other.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in other.incoming().flatten() {
            use std::io::{Read, Write};
            let mut stream = stream;
            _ = stream.read(&mut [0; 4096]);
            _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<p>other site");
        }
    });
    let browser = Browser::start(800, 600);
    browser.open(&format!("http://{evil}/"));
    let attack = |host: &str, init: &str| {
        browser.command("execute/async", &json!({"script": format!(
            "const done = arguments[0]; fetch('http://{host}:{port}/api/v1/undo', {init}).then(r => r.text().then(t => done('read: ' + t)), e => done('refused'))"
        ), "args": []}))
    };
    for init in [
        "{method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{}'}",
        "{method: 'POST', headers: {'Content-Type': 'text/plain'}, body: '{}'}",
    ] {
        assert_eq!(attack("127.0.0.1", init), "refused");
        assert_eq!(attack("localhost", init), "refused");
    }
    // One that does not ask before it sends, and cannot read.
    browser.command("execute/async", &json!({"script": format!(
        "const done = arguments[0]; fetch('http://127.0.0.1:{port}/api/v1/undo', {{method: 'POST', mode: 'no-cors', body: '{{}}'}}).then(r => done(r.type), e => done('refused'))"
    ), "args": []}));
    let (_, events) = request(&address, "GET", "/api/v1/events?kind=undone", "");
    assert_eq!(events, json!([]));
    // Nor may it be shown in a frame of another site.
    browser.run(&format!("const f = document.createElement('iframe'); f.src = 'http://127.0.0.1:{port}/'; document.body.append(f)"));
    std::thread::sleep(Duration::from_secs(1));
    assert!(browser.complaints().iter().any(|c| c.contains("frame")), "{:?}", browser.complaints());
}
