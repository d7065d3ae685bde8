//! Disks that are full or may not be written: nothing acknowledged is lost, and the message says what to do.

use std::path::Path;

use crate::command::{Ran, private_shell, run};
use crate::material::{aisfx, digest, notes, put, put_instruments, taught};

#[test]
fn a_read_only_adapter_is_read_but_not_taught() {
    let folder = tempfile::tempdir().unwrap();
    let more = folder.path().join("more");
    put(&more.join("Violin"), &notes("Violin")[10..11]);
    let note = &notes("Violin")[7];
    let (adapter, backbone) = (taught().adapter(), aisfx());
    let arguments = [adapter.as_os_str(), backbone.as_os_str(), more.as_os_str(), note.as_os_str()];
    let script = |command: &str| format!("mount --bind \"$1\" \"$1\"; mount -o remount,bind,ro \"$1\"; {command}");
    let before = digest(&adapter);
    let teach = "\"$0\" teach \"$3\" --backbone \"$2\" --adapter \"$1\"";
    let Some(mut command) = private_shell(&script(teach), &arguments) else { return };
    Ran::of(&mut command).fails(7, &[adapter.to_str().unwrap(), "Read-only file system", "writable"]);
    let read = "\"$0\" classify \"$4\" --backbone \"$2\" --adapter \"$1\" && \"$0\" inspect \"$1\"";
    let ran = Ran::of(&mut private_shell(&script(read), &arguments).unwrap()).ok();
    assert!(ran.out.contains("Violin") && ran.out.contains(&before), "{ran:?}");
    let new = "\"$0\" teach \"$3\" --backbone \"$2\" --adapter \"$1/inside\"";
    Ran::of(&mut private_shell(&script(new), &arguments).unwrap()).fails(7, &["inside", "Read-only file system"]);
    assert_eq!(digest(&adapter), before);
}

#[test]
fn a_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(folder.path().join("probe"), b"").is_ok() {
        eprintln!("left out: permissions do not bind this user; the read-only mount shows the same");
        return;
    }
    run!("teach", taught().sounds(), "--backbone", aisfx(), "--adapter", folder.path().join("adapter"))
        .fails(7, &["adapter", "Permission denied", "make it readable and writable"]);
}

/// Runs `script` with `$1` a file system of `size`, `$2` the sounds, `$3` the backbone.
fn on_small_disk(size: &str, script: &str, sounds: &Path, backbone: &Path) -> Option<Ran> {
    let disk = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$1\"; {script}");
    let ran = private_shell(&script, &[disk.path().as_os_str(), sounds.as_os_str(), backbone.as_os_str()]).map(|mut c| Ran::of(&mut c));
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0, "what was mounted is gone with its shell");
    ran
}

#[test]
fn an_adapter_that_does_not_fit_on_the_disk_is_not_begun() {
    let teach = "\"$0\" teach \"$2\" --backbone \"$3\" --adapter \"$1/adapter\" || code=$?; ls -A \"$1\"; exit $code";
    let Some(ran) = on_small_disk("2m", teach, &taught().sounds(), &aisfx()) else { return };
    let ran = ran.fails(7, &["adapter", "No space left", "bytes of free space", "free some space, then run the same command again"]);
    assert_eq!(ran.out, "", "nothing is left behind");
}

#[test]
fn an_adapter_goes_on_learning_when_the_disk_has_become_full() {
    let folder = tempfile::tempdir().unwrap();
    let sounds = folder.path().join("sounds");
    put_instruments(&sounds, &["Trombone", "Violin"], 0, 3);
    // Its files have their full size from the start, so that a commit needs no more room.
    let script = "\"$0\" teach \"$2/Trombone\" --backbone \"$3\" --adapter \"$1/adapter\" 2>/dev/null && exit 99
        mkdir \"$1/first\"; cp -r \"$2/Trombone\" \"$1/first\"
        \"$0\" teach \"$1/first\" --backbone \"$3\" --adapter \"$1/adapter\" >&2
        dd if=/dev/zero of=\"$1/filler\" bs=64k 2>/dev/null || true
        if echo x > \"$1/probe\" && [ -s \"$1/probe\" ]; then exit 98; fi 2>/dev/null
        \"$0\" teach \"$2\" --backbone \"$3\" --adapter \"$1/adapter\" >&2
        \"$0\" classify \"$2/Violin\" --backbone \"$3\" --adapter \"$1/adapter\" --format csv --out \"$1/out\" && exit 97 || echo \"out $?\" >&2
        \"$0\" inspect --json \"$1/adapter\"";
    let Some(ran) = on_small_disk("96m", script, &sounds, &aisfx()) else { return };
    let ran = ran.ok();
    let rows = |i: usize| ran.json()["classes"][i]["rows"].as_u64().unwrap();
    assert!(rows(0) >= 3 && rows(1) >= 3, "{ran:?}");
    assert!(ran.err.contains("out 7") && ran.err.contains("No space left"), "{}", ran.err);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_keeps_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let (sounds, whole) = (folder.path().join("sounds"), folder.path().join("whole"));
    put_instruments(&sounds, &["Trombone", "Violin"], 0, 6);
    run!("teach", sounds, "--backbone", aisfx(), "--adapter", whole).ok();
    // A sparse copy has no room reserved: the next commits find the disk full.
    let script = "mkdir \"$1/first\"; cp -r \"$2/Trombone\" \"$1/first\"
        \"$0\" teach \"$1/first\" --backbone \"$3\" --adapter \"$1/made\" >&2
        cp -r --sparse=always \"$1/made\" \"$1/adapter\"; rm -r \"$1/made\"
        dd if=/dev/zero of=\"$1/filler\" bs=4k 2>/dev/null || true
        code=0; \"$0\" teach \"$2\" --backbone \"$3\" --adapter \"$1/adapter\" || code=$?
        \"$0\" inspect --json \"$1/adapter\"
        rm \"$1/filler\"; \"$0\" teach \"$2\" --backbone \"$3\" --adapter \"$1/adapter\" >\"$1/again\"
        \"$0\" inspect --json \"$1/adapter\" >\"$1/facts\"; grep statistics_sha256 \"$1/facts\" >&2
        exit $code";
    let Some(ran) = on_small_disk("96m", script, &sounds, &aisfx()) else { return };
    let ran = ran.fails(7, &["No space left", "free some space"]);
    let facts = ran.json();
    assert!(facts["generation"].as_u64().unwrap() >= 6 && facts["generation"].as_u64().unwrap() < 12, "{facts}");
    assert_eq!(facts["classes"][0]["name"].as_str(), Some("Trombone"), "what was learned before is there: {facts}");
    assert!(ran.err.contains(&digest(&whole)), "with room again the rest is learned: {}", ran.err);
}
