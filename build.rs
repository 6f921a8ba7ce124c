//! Link settings that a Node module needs on each platform.

fn main() {
    napi_build::setup();
}
