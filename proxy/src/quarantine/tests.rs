//! What is stored comes back; what is damaged is said to be; what is not an id leads nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const MESSAGE: &[u8] = b"Subject: x\r\n\r\n.a dot at the start, unstuffed\r\n";

fn new_record() -> NewRecord {
    NewRecord {
        transaction: "01".to_owned(),
        sender: "a@example.com".to_owned(),
        recipients: vec!["b@example.net".to_owned(), "c@example.net".to_owned()],
        route: "inside".to_owned(),
        plugin: "dlp".to_owned(),
        reason: "2 cards".to_owned(),
        ..NewRecord::default()
    }
}

fn pieces() -> impl Iterator<Item = Result<Bytes, io::Error>> + Send {
    MESSAGE.chunks(7).map(|piece| Ok(Bytes::from_static(piece)))
}

struct Fixture {
    state_dir: tempfile::TempDir,
    quarantine: Quarantine,
}

fn fixture() -> Fixture {
    let state_dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::new(state_dir.path());
    Fixture { state_dir, quarantine }
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        self.state_dir.path().join("quarantine").join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn what_is_stored_comes_back() {
    let fixture = fixture();
    assert_eq!(fixture.quarantine.list().await.unwrap(), []);
    let id = fixture.quarantine.store(new_record(), pieces()).await.unwrap();
    assert_eq!(fixture.names(), [format!("{id}.eml"), format!("{id}.json")]);
    assert_eq!(fs::read(fixture.path(&format!("{id}.eml"))).unwrap(), MESSAGE);
    let mode = fs::metadata(fixture.path(&format!("{id}.eml"))).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let record = fixture.quarantine.show(&id).await.unwrap();
    assert_eq!(record.size, MESSAGE.len() as u64);
    assert_eq!(record.recipients.len(), 2);
    assert!(record.time.parse::<jiff::Timestamp>().is_ok());
    assert_eq!(fixture.quarantine.list().await.unwrap(), [Entry::Whole(Box::new(record))]);
    fixture.quarantine.delete(&id).await.unwrap();
    assert!(fixture.names().is_empty());
    assert!(matches!(fixture.quarantine.delete(&id).await, Err(QuarantineError::NotFound(_))));
    assert!(matches!(fixture.quarantine.show(&id).await, Err(QuarantineError::NotFound(_))));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_or_written_leaves_nothing() {
    let fixture = fixture();
    let broken = pieces().take(2).chain([Err(io::Error::other("the spill file is gone"))]);
    let stored = fixture.quarantine.store(new_record(), broken).await;
    assert!(matches!(stored, Err(QuarantineError::Content(_))), "{stored:?}");
    assert!(fixture.names().is_empty());

    let state_dir = tempfile::tempdir().unwrap();
    fs::write(state_dir.path().join("quarantine"), "a file in the way").unwrap();
    let stored = Quarantine::new(state_dir.path()).store(new_record(), pieces()).await;
    assert!(matches!(stored, Err(QuarantineError::Io { .. })), "{stored:?}");
}

#[tokio::test]
async fn damage_is_listed() {
    let fixture = fixture();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(fixture.quarantine.store(new_record(), pieces()).await.unwrap());
    }
    fs::remove_file(fixture.path(&format!("{}.eml", ids[0]))).unwrap();
    fs::remove_file(fixture.path(&format!("{}.json", ids[1]))).unwrap();
    fs::write(fixture.path(&format!("{}.json", ids[2])), "{\"id\": 7").unwrap();
    fs::write(fixture.path(&format!("{}.eml", ids[3])), "short").unwrap();
    fs::copy(fixture.path(&format!("{}.json", ids[3])), fixture.path(&format!("{}.json", ids[4]))).unwrap();
    fs::write(fixture.path("notes.txt"), "not ours").unwrap();
    fs::write(fixture.path("x.eml.tmp"), "half").unwrap();
    let listed = fixture.quarantine.list().await.unwrap();
    assert_eq!(listed.len(), 5);
    for entry in listed {
        let Entry::Damaged { id, .. } = entry else { panic!("{entry:?}") };
        let released = fixture.quarantine.release(&id, async |_| Ok::<_, io::Error>(Vec::new())).await;
        let refused = matches!(released, Err(QuarantineError::Damaged { .. } | QuarantineError::NotFound(_)));
        assert!(refused, "{released:?}");
        fixture.quarantine.delete(&id).await.unwrap();
    }
    // What is half written and young stays, another process may be at it.
    fixture.quarantine.remove_unfinished().await.unwrap();
    assert_eq!(fixture.names(), ["notes.txt", "x.eml.tmp"]);
    let hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    File::options().write(true).open(fixture.path("x.eml.tmp")).unwrap().set_modified(hours_ago).unwrap();
    fixture.quarantine.remove_unfinished().await.unwrap();
    assert_eq!(fixture.names(), ["notes.txt"]);
}

#[tokio::test]
async fn a_changed_message_is_not_released() {
    let fixture = fixture();
    let id = fixture.quarantine.store(new_record(), pieces()).await.unwrap();
    let mut changed = MESSAGE.to_vec();
    changed[9] = b'y';
    fs::write(fixture.path(&format!("{id}.eml")), changed).unwrap();
    let released = fixture.quarantine.release(&id, async |_| Ok::<_, io::Error>(Vec::new())).await;
    assert!(matches!(released, Err(QuarantineError::Damaged { .. })), "{released:?}");
}

#[tokio::test]
async fn released_messages_go_once_to_each_recipient() {
    let fixture = fixture();
    let id = fixture.quarantine.store(new_record(), pieces()).await.unwrap();

    let failed = fixture.quarantine.release(&id, async |_| Err(io::Error::other("unreachable"))).await;
    assert!(matches!(failed, Err(QuarantineError::Delivery { .. })), "{failed:?}");

    let second = fixture.quarantine.clone();
    let refused = fixture
        .quarantine
        .release(&id, async |held: Held| {
            assert_eq!(held.content, MESSAGE);
            // While it is on its way, nobody else gets at it.
            let again = second.release(&held.record.id, async |_| Ok::<_, io::Error>(Vec::new())).await;
            assert!(matches!(again, Err(QuarantineError::Busy(_))), "{again:?}");
            assert!(matches!(second.delete(&held.record.id).await, Err(QuarantineError::Busy(_))));
            Ok::<_, io::Error>(vec!["c@example.net".to_owned()])
        })
        .await
        .unwrap();
    assert_eq!(refused, ["c@example.net"]);
    assert_eq!(fixture.quarantine.show(&id).await.unwrap().recipients, ["c@example.net"]);

    let refused = fixture
        .quarantine
        .release(&id, async |held: Held| {
            assert_eq!(held.record.recipients, ["c@example.net"]);
            Ok::<_, io::Error>(Vec::new())
        })
        .await
        .unwrap();
    assert!(refused.is_empty());
    assert!(fixture.names().is_empty());
}

#[test]
fn ids_stay_in_the_directory() {
    for text in ["", ".", "..", "../x", "a/b", "a\\b", "a.b", "-rf", "a\0", "a b", "é", &"a".repeat(65)] {
        assert!(Id::parse(text).is_err(), "{text:?}");
    }
    let id = Id::generate(jiff::Timestamp::now());
    assert_eq!(Id::parse(id.as_str()).unwrap(), id);
    let later = |micros| Id::generate(jiff::Timestamp::from_microsecond(1_800_000_000_000_000_i64 + micros).unwrap());
    let ids: Vec<Id> = [0, 1, 999_999, 1_000_000].map(later).into();
    assert!(ids.is_sorted(), "{ids:?}");
}
