use super::*;

const DAY: i64 = 24 * 3600;

/// An authority for 360 days, certificates for 30: published for a day before it signs.
const LIFETIMES: Lifetimes = Lifetimes {
    certificate: Duration::from_secs(30 * 24 * 3600),
    authority: Duration::from_secs(360 * 24 * 3600),
};

fn days(from: i64, until: i64) -> Dates {
    Dates {
        from: from * DAY,
        until: until * DAY,
    }
}

fn known() -> Known {
    Known {
        ca: days(0, 360),
        next: None,
        old: Vec::new(),
        server: days(0, 30),
        names: Names::AllThere,
    }
}

fn with_next(published: Option<i64>) -> Known {
    Known {
        next: Some(Next {
            dates: days(240, 600),
            published: published.map(|day| day * DAY),
        }),
        server: days(230, 260),
        ..known()
    }
}

#[test]
fn each_change_comes_when_it_is_due() {
    let renamed = Known {
        names: Names::Missing,
        ..known()
    };
    let late = Known {
        server: days(330, 360),
        ..known()
    };
    let retired = Known {
        old: vec![days(0, 100), days(0, 5)],
        ..known()
    };
    let wasted = Known {
        next: with_next(None).next.map(|next| Next {
            dates: days(240, 350),
            ..next
        }),
        ..late.clone()
    };
    use Bundle::{Behind, Published};
    #[rustfmt::skip]
    let table = [
        ("fresh", known(), Published, 1, None),
        ("before two thirds", known(), Published, 19, None),
        ("at two thirds", known(), Published, 20, Some(Change::RenewServer)),
        ("expired", known(), Published, 40, Some(Change::RenewServer)),
        ("a new name", renamed, Published, 1, Some(Change::RenewServer)),
        ("as long as its authority", late.clone(), Published, 239, None),
        ("the authority at two thirds", late.clone(), Published, 240, Some(Change::MakeNext)),
        ("not in the bundles yet", with_next(None), Behind, 241, None),
        ("in the bundles", with_next(None), Published, 241, Some(Change::NotePublished)),
        ("for less than a day", with_next(Some(242)), Published, 242, None),
        ("for a day", with_next(Some(242)), Published, 243, Some(Change::Promote)),
        ("never published", with_next(None), Behind, 359, Some(Change::Promote)),
        ("nothing to lose", with_next(None), Behind, 400, Some(Change::Promote)),
        ("one old expired", retired.clone(), Published, 6, Some(Change::DropOld)),
        ("all old alive", retired, Published, 4, None),
        ("all expired", late, Published, 360, Some(Change::StartOver)),
        ("a next that expired", wasted, Published, 355, Some(Change::MakeNext)),
        ("years later", with_next(Some(241)), Published, 999, Some(Change::StartOver)),
    ];
    for (case, known, bundle, day, expected) in table {
        // What is shown is renewed first; a table about authorities has one that is fresh.
        let known = match known.server.until / DAY {
            260 => Known {
                server: days(day, day + 30),
                ..known
            },
            _ => known,
        };
        let found = change(&known, bundle, &LIFETIMES, day * DAY);
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn no_change_is_asked_for_twice() {
    // Day by day for ten years: what is trusted always holds what signs, and nothing flaps.
    let mut known = known();
    let mut changes = 0;
    for day in 1..3650 {
        let now = day * DAY;
        let (mut again, mut trusted) = (0, vec![known.ca.until]);
        trusted.extend(known.next.map(|next| next.dates.until));
        while let Some(change) = change(&known, Bundle::Published, &LIFETIMES, now) {
            (again, changes) = (again + 1, changes + 1);
            assert!(again <= 3, "day {day}: {change:?} again");
            let server = |ca: Dates| Dates {
                from: now,
                until: (now + 30 * DAY).min(ca.until),
            };
            match change {
                Change::DropOld => known.old.retain(|old| now < old.until),
                Change::MakeNext => {
                    known.next = Some(Next {
                        dates: days(day, day + 360),
                        published: None,
                    });
                }
                Change::NotePublished => {
                    known.next = known.next.map(|next| Next {
                        published: Some(now),
                        ..next
                    });
                }
                Change::Promote => {
                    let next = known.next.take().unwrap();
                    assert!(trusted.contains(&next.dates.until), "signs unpublished");
                    known.old.push(known.ca);
                    known.ca = next.dates;
                    known.server = server(known.ca);
                }
                Change::RenewServer => known.server = server(known.ca),
                Change::StartOver => panic!("day {day}: expired"),
            }
        }
        assert!(now < known.server.until, "day {day}: shows an expired one");
        assert!(known.old.len() <= 1);
    }
    // 182 renewals of a certificate, and three changes and the end of each of 15 authorities.
    assert!((200..260).contains(&changes), "{changes}");
}

#[test]
fn short_lifetimes_overlap_shortly() {
    let lifetimes = Lifetimes {
        certificate: Duration::from_secs(30),
        authority: Duration::from_secs(60),
    };
    assert_eq!(lifetimes.published(), Duration::from_secs(5));
    assert_eq!(LIFETIMES.published(), Duration::from_secs(24 * 3600));
}
