//! The examples of a `FORMAT.md`, to be executed.

/// The bytes of the block of `text` that begins with the line ```` ```hex NAME ````: hexadecimal numbers
/// of one byte, and comments after `#`.
///
/// # Panics
/// If there is no such block, or something else in it.
///
/// ```
/// let text = "Two bytes:\n```hex pair\n01 ff  # and why\n```\n";
/// assert_eq!(durable_io::testing::block(text, "pair"), [1, 255]);
/// ```
pub fn block(text: &str, name: &str) -> Vec<u8> {
    let begin = format!("```hex {name}");
    let mut lines = text.lines().skip_while(|line| *line != begin);
    assert!(lines.next().is_some(), "there is no block {name}");
    let lines = lines.take_while(|line| *line != "```");
    let numbers = lines.flat_map(|line| {
        let (numbers, _comment) = line.split_once('#').unwrap_or((line, ""));
        numbers.split_whitespace()
    });
    let byte = |hex| u8::from_str_radix(hex, 16).expect("a block holds hexadecimal bytes");
    numbers.map(byte).collect()
}
