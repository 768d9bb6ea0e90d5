//! The translation, on lines as strace writes them.

use super::*;

#[track_caller]
fn check(line: &str, expected: &str) {
    let trace =
        format!("1 openat(3</s>, \"@p\", O_RDWR|O_CLOEXEC) = -1 ENOENT (No such file)\n{line}");
    let found = procedures(&trace, Path::new("/s")).unwrap();
    let expected = if expected.is_empty() {
        vec![]
    } else {
        vec![expected.to_owned()]
    };
    assert_eq!(
        found,
        [Procedure {
            name: "p".to_owned(),
            calls: expected
        }]
    );
}

#[test]
fn names() {
    check(
        r#"7 openat(3</s>, "a", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 4</s/a>"#,
        "create_new a",
    );
    check(
        r#"7 openat(3</s>, "a", O_RDWR|O_CLOEXEC) = 4</s/a>"#,
        "open a",
    );
    check(
        r#"7 openat(3</s>, "a", O_RDWR|O_CLOEXEC) = -1 ENOENT (No such file)"#,
        "open a",
    );
    check(
        r#"7 openat(AT_FDCWD</w>, "/s/d", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 4</s/d>"#,
        "open_dir d",
    );
    check(
        r#"7 openat(3</s/d>, ".", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 4</s/d>"#,
        "list d",
    );
    check(r#"7 mkdirat(3</s>, "d", 0755) = 0"#, "create_dir d");
    check(r#"7 renameat(3</s>, "a", 3</s>, "b") = 0"#, "rename a b");
    check(
        r#"7 renameat2(3</s>, "a", 3</s>, "b", 0) = 0"#,
        "rename a b",
    );
    check(
        r#"7 linkat(3</s/d>, "a", 3</s/d>, "b", 0) = 0"#,
        "link d/a d/b",
    );
    check(r#"7 unlinkat(3</s>, "a", 0) = 0"#, "remove a");
    check(r#"7 unlink("/s/a") = 0"#, "remove a");
}

#[test]
fn bytes_and_syncs() {
    check(
        r#"7 pwrite64(4</s/a>, ""..., 512, 0) = 512"#,
        "write a 0 512",
    );
    check(
        r#"7 pwritev(4</s/a>, [{iov_base=""..., iov_len=8}, {iov_base=""..., iov_len=9}], 2, 64) = 17"#,
        "write a 64 17",
    );
    check(
        r#"7 pwritev2(4</s/a>, [{iov_base=""..., iov_len=512}], 1, 4096, RWF_DSYNC) = 512"#,
        "write_durable a 4096 512",
    );
    check(r#"7 pread64(4</s/a>, ""..., 64, 8) = 3"#, "read a 8 64");
    check("7 ftruncate(4</s/a>, 100) = 0", "set_len a 100");
    check("7 fallocate(4</s/a>, 0, 0, 4096) = 0", "allocate a 0 4096");
    check("7 fdatasync(4</s/a>) = 0", "sync_data a");
    check("7 fsync(4</s/a>) = 0", "sync_all a");
    check("7 fdatasync(4</s/a (deleted)>) = 0", "sync_data a");
    check("7 fdatasync(4</s/a>(deleted)) = 0", "sync_data a");
    check(
        "7 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 4</s/a>, 0) = 0x7f0000000000",
        "map a",
    );
}

#[test]
fn a_sync_of_a_directory_is_one_of_names() {
    let trace = "openat(3</s>, \"@p\", O_RDWR) = -1 ENOENT (No such file)\n\
        openat(3</s>, \"d\", O_RDONLY|O_DIRECTORY) = 4</s/d>\nfsync(4</s/d>) = 0\n";
    let found = procedures(trace, Path::new("/s")).unwrap();
    assert_eq!(found[0].calls, ["open_dir d", "sync_dir d"]);
}

#[test]
fn what_is_elsewhere_or_harmless_is_left_out() {
    check(r#"7 pwrite64(4</other/a>, ""..., 512, 0) = 512"#, "");
    check(
        r#"7 openat(3</s>, "lock", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 5</s/lock>"#,
        "",
    );
    check("7 flock(5</s/lock>, LOCK_EX|LOCK_NB) = 0", "");
    check("7 close(4</s/a>) = 0", "");
    check("7 +++ exited with 0 +++", "");
    check(
        "7 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
        "",
    );
}

#[test]
fn a_call_that_nobody_thought_of_is_no_call_of_the_simulator() {
    for line in [
        "7 sync_file_range(4</s/a>, 0, 4096, SYNC_FILE_RANGE_WRITE) = 0",
        r#"7 write(4</s/a>, ""..., 5) = 5"#,
        r#"7 openat(3</s>, "a", O_RDWR|O_CREAT|O_TRUNC, 0644) = 4</s/a>"#,
        "7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 4</s/a>, 0) = 0x7f0000000000",
        "7 fallocate(4</s/a>, FALLOC_FL_PUNCH_HOLE, 0, 4096) = 0",
        r#"7 renameat(3</s>, "a", 5</other>, "b") = 0"#,
    ] {
        let trace = format!("openat(3</s>, \"@p\", O_RDWR) = -1 ENOENT (No such file)\n{line}");
        let found = procedures(&trace, Path::new("/s")).unwrap();
        assert!(
            found[0].calls[0].starts_with("unknown "),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn two_threads_are_refused() {
    let trace = "7 fdatasync(4</s/a> <unfinished ...>";
    assert!(procedures(trace, Path::new("/s")).is_err());
}

#[test]
fn a_call_with_too_few_arguments_is_refused() {
    for line in [
        "7 ftruncate(4</s/a>) = 0",
        r#"7 pwrite64(4</s/a>, ""..., 512) = 512"#,
        r#"7 openat(3</s>, "a") = 4</s/a>"#,
    ] {
        let error = procedures(line, Path::new("/s")).unwrap_err().to_string();
        assert!(error.contains("too few arguments"), "{line}: {error}");
    }
}
