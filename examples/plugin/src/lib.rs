//! A plugin that does what its configuration says.
//!
//! `{"value": "x"}` has every answer carry the header `x-plugin: x`, `{"refuse": "/no"}` has requests below `/no` answered 403,
//! `{"trap": "/trap"}` has the machine fail at requests below `/trap`. With `{"network": "refuse"}` connections are closed when their
//! first bytes are `refuse`, and with another value they pass.

use proxy_wasm::traits::{Context, HttpContext, RootContext, StreamContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::<Plugin>::default() });
}}

#[derive(Clone, Default)]
struct Plugin {
    value: String,
    refuse: Option<String>,
    trap: Option<String>,
    network: Option<String>,
}

/// Returns the text that `name` has in `json`, an object of texts without escapes.
fn text(json: &str, name: &str) -> Option<String> {
    let rest = json.split(&format!("\"{name}\"")).nth(1)?;
    rest.split('"').nth(1).map(str::to_string)
}

impl Context for Plugin {}

impl RootContext for Plugin {
    fn on_configure(&mut self, _: usize) -> bool {
        let json = self.get_plugin_configuration().unwrap_or_default();
        let json = String::from_utf8_lossy(&json).to_string();
        self.value = text(&json, "value").unwrap_or_else(|| std::env::var("VALUE").unwrap_or_default());
        self.refuse = text(&json, "refuse");
        self.trap = text(&json, "trap");
        self.network = text(&json, "network");
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.clone()))
    }

    fn create_stream_context(&self, _: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(self.clone()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(if self.network.is_some() { ContextType::StreamContext } else { ContextType::HttpContext })
    }
}

impl HttpContext for Plugin {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let path = self.get_http_request_header(":path").unwrap_or_default();
        if self.trap.as_ref().is_some_and(|trap| path.starts_with(trap)) {
            panic!("it was asked to");
        }
        if self.refuse.as_ref().is_some_and(|refuse| path.starts_with(refuse)) {
            self.send_http_response(403, vec![], Some(b"refused by the plugin"));
            return Action::Pause;
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.set_http_response_header("x-plugin", Some(&self.value));
        Action::Continue
    }
}

impl StreamContext for Plugin {
    fn on_downstream_data(&mut self, size: usize, _: bool) -> Action {
        let bytes = self.get_downstream_data(0, size).unwrap_or_default();
        if self.network.as_ref().is_some_and(|refused| bytes.starts_with(refused.as_bytes())) {
            self.close_downstream();
            return Action::Pause;
        }
        Action::Continue
    }
}
