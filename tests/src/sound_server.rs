//! A private PulseAudio with a virtual microphone, so that capture is tested with live sound on a machine without any.
//!
//! What is played into its null sink `vmic` is heard by every program that opens ALSA's default device in the environment of
//! [`SoundServer::environment`]. Home, sockets and configuration lie in one folder; nothing of the tester's own sound is
//! touched. Limits: needs PulseAudio, its command line programs and its ALSA plugin, all of which `cargo xtask setup`
//! installs on Debian and its kin.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use wheatear::{Error, ErrorKind, Result};

/// How long the server may take until its microphone is there.
const START: Duration = Duration::from_secs(20);
/// Rate of the null sink in hertz.
pub const RATE_HZ: u32 = 48_000;

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct SoundServer {
    folder: PathBuf,
    server: Option<Child>,
}

impl SoundServer {
    /// Starts a server that keeps everything in `folder`, which should be short and empty.
    ///
    /// # Errors
    /// `Missing` when a program is not installed; `Storage` when the folder cannot be written; `Limit` when the server is not
    /// ready in time, with the end of what it said.
    pub fn start(folder: &Path) -> Result<SoundServer> {
        let mut server = SoundServer { folder: folder.to_owned(), server: None };
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(|e| Error::io("protect", folder, e))?;
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).map_err(|e| Error::io("write", folder.join(name), e));
        let socket = server.socket();
        write(
            "pulse.pa",
            &format!(
                "load-module module-native-protocol-unix auth-anonymous=1 socket={}\n{}\n",
                socket.display(),
                microphone().map(|line| line.join(" ")).join("\n")
            ),
        )?;
        write(
            ".asoundrc",
            "pcm.!default { type pulse hint { show on description \"Virtual microphone\" } }\nctl.!default { type pulse }\n",
        )?;
        server.restart()?;
        Ok(server)
    }

    /// The environment in which a program hears this server.
    pub fn environment(&self) -> [(&'static str, String); 3] {
        let folder = self.folder.display().to_string();
        [("PULSE_SERVER", format!("unix:{}", self.socket().display())), ("HOME", folder.clone()), ("XDG_RUNTIME_DIR", folder)]
    }

    /// Starts playing a sound file into the microphone; all of it is handed over at once, so that a busy machine does not
    /// tear it.
    ///
    /// # Errors
    /// `Missing` when the player is not installed.
    pub fn play(&self, file: &Path) -> Result<Child> {
        let mut player = self.program("paplay");
        player.args(["--device=vmic", "--latency-msec=10000"]).arg(file);
        player.spawn().map_err(|e| not_installed("paplay", e))
    }

    /// Takes the microphone away, as if it were unplugged; the server goes on.
    ///
    /// # Errors
    /// `Missing` when `pactl` is not installed; `Input` when the server refuses.
    pub fn unplug(&self) -> Result<()> {
        let [sink, source, ..] = microphone();
        [source, sink].iter().try_for_each(|line| self.control(&["unload-module", &line[1]]))
    }

    /// Brings the microphone back.
    ///
    /// # Errors
    /// As [`SoundServer::unplug`].
    pub fn plug_in(&self) -> Result<()> {
        microphone().iter().try_for_each(|line| self.control(&line.iter().map(String::as_str).collect::<Vec<_>>()))
    }

    fn control(&self, arguments: &[&str]) -> Result<()> {
        let ended = self.program("pactl").args(arguments).status().map_err(|e| not_installed("pactl", e))?;
        if ended.success() { Ok(()) } else { Err(Error::new(ErrorKind::Input, "pactl failed").at(arguments.join(" ")).found(ended)) }
    }

    /// Ends the server without any farewell, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            // A server that has gone already needs no ending.
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Starts the server again after [`SoundServer::kill`], and waits until its microphone is there.
    ///
    /// # Errors
    /// As [`SoundServer::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let said = self.folder.join("pulse.log");
        let log = File::create(&said).map_err(|e| Error::io("create", &said, e))?;
        let mut server = self.program("pulseaudio");
        server.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit", "--use-pid-file=no", "-F"]);
        server.arg(self.folder.join("pulse.pa")).stderr(log);
        let child = server.spawn().map_err(|e| not_installed("pulseaudio", e))?;
        let deadline = Instant::now() + START;
        let child = self.server.insert(child);
        let ended = child.id();
        loop {
            if let Ok(Some(status)) = self.server.as_mut().map_or(Ok(None), Child::try_wait) {
                return Err(not_ready(&said, &format!("process {ended} ended with {status}")));
            }
            if self.has_microphone()? {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(not_ready(&said, &format!("no microphone within {} s", START.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn has_microphone(&self) -> Result<bool> {
        let mut list = self.program("pactl");
        let output = list.args(["list", "short", "sources"]).stdout(Stdio::piped()).output().map_err(|e| not_installed("pactl", e))?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.split('\t').nth(1) == Some("mic")))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("pulse.sock")
    }

    fn program(&self, name: &str) -> Command {
        let mut program = Command::new(name);
        program.envs(self.environment()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        program
    }
}

/// What makes the microphone, as lines of words for the server's configuration and for `pactl`.
fn microphone() -> [Vec<String>; 4] {
    let lines = [
        &format!("load-module module-null-sink sink_name=vmic rate={RATE_HZ} channels=1 norewinds=1"),
        "load-module module-remap-source master=vmic.monitor source_name=mic",
        "set-default-sink vmic",
        "set-default-source mic",
    ];
    lines.map(|line| line.split(' ').map(str::to_owned).collect())
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn not_installed(program: &str, e: std::io::Error) -> Error {
    Error::new(ErrorKind::Missing, "the tests of capture need PulseAudio")
        .at(program)
        .found(e.to_string())
        .cure("run cargo xtask setup, which installs pulseaudio, pulseaudio-utils and libasound2-plugins")
        .because(e)
}

fn not_ready(said: &Path, what: &str) -> Error {
    let text = fs::read_to_string(said).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    let last = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    Error::new(ErrorKind::Limit, "the test's PulseAudio is not ready")
        .at(said.display())
        .expected("its microphone")
        .found(format!("{what}; it said last:\n{last}"))
        .cure("cargo xtask setup installs what it needs")
}
