//! The page: files that are part of the program, so that it works where there is no network but this device.

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// Path, media type and text of each file.
pub const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/page.js", JS, include_str!("page/page.js")),
    ("/device.js", JS, include_str!("page/device.js")),
    ("/draw.js", JS, include_str!("page/draw.js")),
    ("/events.js", JS, include_str!("page/events.js")),
    ("/link.js", JS, include_str!("page/link.js")),
    ("/say.js", JS, include_str!("page/say.js")),
    ("/text.js", JS, include_str!("page/text.js")),
];
