//! The migrations are compiled in: a new file is noticed only if Cargo is told where to look.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
