use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::OwnerLock;
use crate::{
    db::layout::Layout,
    error::{Code, Detail},
};

/// Where a child process finds the directory that it is to own.
const DIRECTORY: &str = "CLAUDE_MEM_NATIVE_TEST_OWN";

fn layout() -> (tempfile::TempDir, Layout) {
    let directory = tempfile::tempdir().unwrap();
    let layout = Layout::new(directory.path().join("data"));
    (directory, layout)
}

/// Another process that owns the directory until it is killed.
fn holder(layout: &Layout) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "db::owner::tests::child_that_holds", "--nocapture"])
        .env(DIRECTORY, &layout.data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line.ends_with("owned")), "the child owns nothing");
    child
}

/// The body of the child process; passes at once in an ordinary run.
#[test]
fn child_that_holds() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let _owner = OwnerLock::acquire(&Layout::new(directory), Duration::ZERO).unwrap();
    println!("\nowned");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_second_handle_of_the_same_process_is_refused_and_told_who_holds_it() {
    let (_directory, layout) = layout();
    let owner = OwnerLock::acquire(&layout, Duration::ZERO).unwrap();
    let error = OwnerLock::acquire(&layout, Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.code, Code::Locked);
    assert!(error.details.contains(&("pid", Detail::Number(f64::from(std::process::id())))), "{error:?}");
    assert!(error.message.contains(&layout.data_dir.display().to_string()), "{error}");
    drop(owner);
    drop(OwnerLock::acquire(&layout, Duration::ZERO).unwrap());
    assert!(!layout.owner_note().exists());
}

#[test]
fn the_lock_itself_excludes_a_second_handle() {
    // What another copy of this library in the process, which has a registry of its own, would meet.
    let (_directory, layout) = layout();
    let _owner = OwnerLock::acquire(&layout, Duration::ZERO).unwrap();
    let other = fs::OpenOptions::new().write(true).open(layout.owner_lock()).unwrap();
    assert!(matches!(other.try_lock(), Err(fs::TryLockError::WouldBlock)));
}

#[test]
fn a_killed_holder_is_followed_at_once() {
    let (_directory, layout) = layout();
    let mut child = holder(&layout);
    let error = OwnerLock::acquire(&layout, Duration::ZERO).unwrap_err();
    assert_eq!(error.code, Code::Locked);
    assert!(error.message.contains(&format!("process {} since 2", child.id())), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    // Its note is still there, and harmless.
    assert!(layout.owner_note().exists());
    let _owner = OwnerLock::acquire(&layout, Duration::ZERO).unwrap();
    let note = fs::read_to_string(layout.owner_note()).unwrap();
    assert!(note.contains(&format!("\"pid\":{},", std::process::id())), "{note}");
}

#[test]
fn an_owner_that_goes_in_time_is_waited_for() {
    let (_directory, layout) = layout();
    let mut child = holder(&layout);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        let since = Instant::now();
        drop(OwnerLock::acquire(&layout, Duration::from_secs(30)).unwrap());
        assert!(since.elapsed() >= Duration::from_millis(200));
    });
}

#[test]
fn a_note_that_is_no_json_is_harmless() {
    let (_directory, layout) = layout();
    fs::create_dir_all(layout.native()).unwrap();
    fs::write(layout.owner_note(), "{\"pid\":").unwrap();
    let file = fs::File::create(layout.owner_lock()).unwrap();
    file.lock().unwrap();
    let error = OwnerLock::acquire(&layout, Duration::ZERO).unwrap_err();
    assert_eq!((error.code, error.details.len()), (Code::Locked, 1));
    drop(file);
    drop(OwnerLock::acquire(&layout, Duration::ZERO).unwrap());
}

#[cfg(unix)]
#[test]
fn what_is_ours_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, layout) = layout();
    fs::create_dir_all(layout.native()).unwrap();
    fs::set_permissions(layout.native(), fs::Permissions::from_mode(0o755)).unwrap();
    let _owner = OwnerLock::acquire(&layout, Duration::ZERO).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&layout.native()), 0o700);
    assert_eq!(mode(&layout.owner_lock()), 0o600);
    assert_eq!(mode(&layout.owner_note()), 0o600);
}

#[test]
fn a_file_where_the_directory_belongs_is_an_io_error_that_names_it() {
    let (_directory, layout) = layout();
    fs::write(&layout.data_dir, "").unwrap();
    let error = OwnerLock::acquire(&layout, Duration::ZERO).unwrap_err();
    assert_eq!(error.code, Code::Io);
    assert!(error.message.contains("native"), "{error}");
}
