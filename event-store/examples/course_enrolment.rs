//! Enrolment in courses: a course has places, and a student takes at most two courses. Neither rule is that
//! of one stream; the decision rests on a query, and is written only if nothing that the query means has
//! come since.
//!
//! ```console
//! $ cargo run -p event-store --example course_enrolment
//! ```

#![allow(clippy::print_stdout, reason = "an example")]

use event_store::{
    Append, Condition, Error, EventStore, Expected, NewEvent, Options, Position, Query,
};

const PLACES: usize = 2;
const COURSES_EACH: usize = 2;

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Enrolled,
    CourseIsFull,
    StudentIsBusy,
    WasEnrolled,
}

fn enrol(store: &EventStore, course: &str, student: &str) -> event_store::Result<Answer> {
    loop {
        // All that this decision depends on: who is in the course, and where the student is.
        let relevant = Query::new()
            .kinds(["Enrolled"])
            .tags([course])
            .or()
            .kinds(["Enrolled"])
            .tags([student]);
        let seen = store.last_position();
        let (mut in_course, mut of_student) = (0, 0);
        for event in store.query(relevant.clone(), Position(1)) {
            let event = event?;
            let has = |tag: &str| event.tags().any(|other| other == tag);
            if has(course) && has(student) {
                return Ok(Answer::WasEnrolled);
            }
            in_course += usize::from(has(course));
            of_student += usize::from(has(student));
        }
        if in_course == PLACES {
            return Ok(Answer::CourseIsFull);
        }
        if of_student == COURSES_EACH {
            return Ok(Answer::StudentIsBusy);
        }
        let event = NewEvent::new("Enrolled", b"").tag(course).tag(student);
        let append = Append::new()
            .stream("enrolments", Expected::Any, [event])
            .condition(Condition::new(relevant, seen));
        match store.write(&append) {
            // Somebody has enrolled in the course, or the student somewhere else: decide again.
            Err(Error::ConditionFailed { .. }) => {}
            done => return done.map(|_| Answer::Enrolled),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let store = Options::new().open(dir.path().join("school"))?;
    let enrolled = std::thread::scope(|scope| {
        let store = &store;
        let students = ["student:1", "student:2", "student:3", "student:4"];
        let all = students.map(|student| scope.spawn(move || enrol(store, "course:rust", student)));
        all.map(|one| {
            one.join()
                .map(|answer| matches!(answer, Ok(Answer::Enrolled)))
        })
    });
    let enrolled = enrolled
        .into_iter()
        .filter(|one| matches!(one, Ok(true)))
        .count();
    println!("{enrolled} of 4 got one of {PLACES} places");
    assert_eq!(enrolled, PLACES);
    for (course, expected) in [
        ("course:sql", Answer::Enrolled),
        ("course:sql", Answer::WasEnrolled),
        ("course:art", Answer::Enrolled),
        ("course:law", Answer::StudentIsBusy),
    ] {
        assert_eq!(enrol(&store, course, "student:9")?, expected);
    }
    assert_eq!(
        enrol(&store, "course:rust", "student:8")?,
        Answer::CourseIsFull
    );
    store.close()?;
    Ok(())
}
