fn doubled(text: &str) -> Option<String> {
    let number: u32 = text.parse().ok()?;
    Some(itoa::Buffer::new().format(u64::from(number) * 2).to_owned())
}

fn main() {
    match std::env::args().nth(1).as_deref().and_then(doubled) {
        Some(text) => println!("{text}"),
        None => std::process::exit(2),
    }
}

#[test]
fn doubles() {
    assert_eq!(doubled("21").as_deref(), Some("42"));
    assert_eq!(doubled("x"), None);
}
