//! The shares, waits for them, and turns.

use super::*;

fn budget(memory: u64, disk: u64) -> Budget {
    Budget::with_patience(memory, disk, &std::env::temp_dir(), Duration::from_secs(30))
}

#[test]
fn the_charge_lives_as_long_as_any_slice() {
    let budget = budget(10, 0);
    let held = budget.hold(Bytes::from_static(b"12345678")).unwrap();
    let slice = held.slice(2..3);
    drop(held);
    assert_eq!(budget.in_memory(), 8);
    assert!(budget.hold(Bytes::from_static(b"123")).is_err());
    drop(slice);
    assert_eq!(budget.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_what_comes_free_or_is_told_that_nothing_did() {
    let budget = budget(4, 0);
    let held = budget.memory(4).unwrap();
    let waiter = tokio::spawn({
        let budget = budget.clone();
        async move { budget.room_to_arrive(|| budget.memory(2)).await }
    });
    tokio::task::yield_now().await;
    drop(held);
    let got = waiter.await.unwrap().unwrap();
    assert_eq!(got.amount(), 2);
    let full = budget.room_to_arrive(|| budget.memory(3)).await;
    assert!(matches!(full, Err(StoreError::Full)));
    assert_eq!((budget.usage().waits, budget.usage().refusals, budget.usage().waiting), (2, 1, 0));
}

#[test]
fn message_bytes_leave_room_for_what_a_session_cannot_do_without() {
    let share = Share::new(1200, 1050);
    let budget = Budget::with_shares(share, 1, 400, &std::env::temp_dir(), Duration::ZERO);
    let message = Bytes::from(vec![0; 1050]);
    let held = budget.hold(message).unwrap();
    budget.hold(Bytes::from_static(b"x")).unwrap_err();
    let buffer = budget.memory(150).unwrap();
    assert!(budget.memory(1).is_none());
    drop((held, buffer));
    assert_eq!((budget.in_memory(), budget.usage().memory_peak), (0, 1200));
    // Without a disk nothing is mapped, and messages may have it all.
    Budget::for_server(1600, 0, &std::env::temp_dir()).hold(Bytes::from(vec![0; 1600])).unwrap();
}

#[test]
fn texts_do_not_take_the_place_of_the_sandboxes_that_read_them() {
    let budget = Budget::for_server(64 << 20, 1 << 30, &std::env::temp_dir());
    let ceiling = usize::try_from(budget.shared.memory.ceiling).unwrap();
    let message = budget.hold(Bytes::from(vec![0; ceiling])).unwrap();
    let mut text = budget.memory_for_content(SMALL_CONTENT).unwrap();
    assert!(!budget.grow_for_content(&mut text, 1) && budget.memory_for_content(SMALL_CONTENT + 1).is_none());
    assert!(budget.memory(SANDBOXES_AT_LEAST - SMALL_CONTENT).is_some(), "what is left is for sandboxes");
    // However many there are of one message.
    let archive = budget.for_message();
    let small: Vec<_> = std::iter::from_fn(|| archive.memory_for_content(SMALL_CONTENT)).take(100).collect();
    assert_eq!(small.len() as u64, SMALL_CONTENTS / SMALL_CONTENT);
    assert!(budget.for_message().memory_for_content(SMALL_CONTENT).is_some(), "others are not kept from it");
    drop((message, small));
    assert!(budget.grow_for_content(&mut text, 1 << 20));
    drop(text);
    assert_eq!(budget.in_memory(), 0);
}

#[tokio::test(start_paused = true)]
async fn large_messages_take_turns() {
    let budget = Budget::for_server(4 << 20, 1, &std::env::temp_dir());
    let deadline = Instant::now() + Duration::from_secs(240);
    let at_once = || panic!("nobody is before it");
    let first = budget.turn(600 << 10, deadline, at_once).await.unwrap();
    let small = budget.turn(SMALL_MESSAGE, deadline, at_once).await.unwrap();
    let (gives_back, given_back) = tokio::sync::oneshot::channel();
    let second = tokio::spawn({
        let budget = budget.clone();
        // More than there is: alone, when everybody else is done.
        async move { budget.turn(1 << 40, deadline, || gives_back.send(()).unwrap()).await }
    });
    given_back.await.expect("what it holds is given back before it waits");
    assert_eq!((budget.usage().turns_waiting, budget.usage().turn_waits), (1, 1));
    drop((first, small));
    let second = second.await.unwrap().unwrap();
    assert!(
        matches!(budget.turn(SMALL_MESSAGE + 1, deadline, || {}).await, Err(StoreError::Full)),
        "its patience is over"
    );
    drop(second);
    budget.turn(1 << 20, deadline, at_once).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_messages_wait_for_turns_than_sandboxes_can_bear() {
    let budget = Budget::for_server(4 << 20, 1, &std::env::temp_dir());
    let deadline = Instant::now() + Duration::from_secs(240);
    let held = budget.turn(1 << 20, deadline, || {}).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..turns::MOST_WAITING {
        let budget = budget.clone();
        waiting.spawn(async move { budget.turn(1 << 20, deadline, || {}).await.map(drop) });
    }
    while budget.usage().turns_waiting < turns::MOST_WAITING as u64 {
        tokio::task::yield_now().await;
    }
    let one_more = budget.turn(1 << 20, deadline, || panic!("it does not wait")).await;
    assert!(matches!(one_more, Err(StoreError::Full)));
    assert!(budget.begin(SMALL_MESSAGE + 1).is_err(), "nor does another begin");
    assert!(budget.begin(SMALL_MESSAGE).unwrap().is_none());
    assert!(Instant::now() < deadline, "at once");
    drop(held);
    for waited in waiting.join_all().await {
        waited.unwrap();
    }
    assert_eq!((budget.usage().turns_waiting, budget.usage().refusals), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn while_messages_wait_no_more_begin_than_can_wait_as_well() {
    let budget = Budget::for_server(4 << 20, 1, &std::env::temp_dir());
    let deadline = Instant::now() + Duration::from_secs(240);
    let begin = || budget.begin(SMALL_MESSAGE + 1).map(|begun| begun.expect("large enough"));
    let idle: Vec<_> = (0..1000).map(|_| begin().expect("nobody waits")).collect();
    drop(idle);
    let held = budget.turn(1 << 20, deadline, || {}).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    let usage = || budget.usage().turns_waiting;
    for place in 1..=turns::MANY_WAITING {
        drop((0..1000).map(|_| begin().expect("few wait")).collect::<Vec<_>>());
        let budget = budget.clone();
        waiting.spawn(async move { budget.turn(1 << 20, deadline, || {}).await.map(drop) });
        while usage() < place as u64 {
            tokio::task::yield_now().await;
        }
    }
    let mut begun: Vec<_> = (turns::MANY_WAITING..turns::MOST_WAITING).map(|_| begin().unwrap()).collect();
    assert!(begin().is_err());
    begun.pop();
    begun.push(begin().expect("one comes no more"));
    assert!(begin().is_err());
    tokio::time::advance(Duration::from_millis(600)).await;
    begun.pop();
    begun.push(begin().expect("one is whole"));
    assert!(begin().is_err());
    tokio::time::advance(Duration::from_millis(600)).await;
    begun.extend(
        (turns::MANY_WAITING + 1..turns::MOST_WAITING)
            .map(|_| begin().expect("slow clients keep nobody away for long")),
    );
    assert!(begin().is_err(), "the one of 600 ms ago is still expected");
    drop(begun);
    drop(held);
    for waited in waiting.join_all().await {
        waited.unwrap();
    }
    assert!(Instant::now() < deadline);
}

#[tokio::test(start_paused = true)]
async fn no_more_messages_wait_while_they_arrive_than_may() {
    let budget = budget(4, 0);
    let held = budget.memory(4).unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..ARRIVALS_WAITING {
        budget.admit().unwrap();
        let budget = budget.clone();
        waiting.spawn(async move { budget.room_to_arrive(|| budget.memory(1)).await.map(drop) });
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let one_more = budget.room_to_arrive(|| budget.memory(1)).await;
    assert!(matches!(one_more, Err(StoreError::Full)) && budget.admit().is_err());
    assert_eq!(Instant::now(), began, "at once");
    assert_eq!(budget.usage().refusals, 2);
    drop(held);
    for waited in waiting.join_all().await {
        waited.unwrap();
    }
    budget.admit().unwrap();
    assert_eq!(budget.usage().refusals, 2);
}

#[tokio::test(start_paused = true)]
async fn messages_that_hold_what_each_other_waits_for_do_not_all_fail() {
    let budget = budget(10, 0);
    // Each is two bytes long, and has room for the first one.
    let mut arriving = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let budget = budget.clone();
        let first = budget.memory(1).unwrap();
        arriving.spawn(async move {
            let second = budget.room_to_arrive(|| budget.memory(1)).await;
            drop(first);
            second.map(drop)
        });
    }
    let arrived = arriving.join_all().await;
    assert_eq!(arrived.iter().filter(|arrived| arrived.is_err()).count(), 1, "{arrived:?}");
}
