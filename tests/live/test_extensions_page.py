"""docs/extensions.md: its commands, run as they are written, bring a plugin to a proxy."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.page_commands import commands, run
from tests.support.wasm_modules import rust_module

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extensions.md").read_text()
PROGRAMS = ("rustup", "cargo", "navarch", "envoy", "python", "curl")


def test_its_commands_bring_a_plugin_to_a_proxy(tmp_path: Path) -> None:
    module = rust_module()  # by the first two commands, which need a network
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("target"))
    target, build, modules, serve, application, sidecar, answered, refused = commands(PAGE, PROGRAMS)
    built = tmp_path / "examples/plugin/target/wasm32-wasip1/release"
    built.mkdir(parents=True)
    (built / "plugin.wasm").write_bytes(module.content)

    ran = run(
        tmp_path,
        "",
        (
            modules,
            "await 'curl -sf http://127.0.0.1:8082/'",
            serve,
            "await 'curl -sf 127.0.0.1:15014/readyz'",
            application,
            sidecar,
            "await 'curl -sf -x 127.0.0.11:15002 http://web:8080/'",
            f"{answered} -s -o answered.txt",
            f"{refused} -s -o refused.txt",
        ),
    )

    assert ran.returncode == 0, ran.stderr
    assert target == "rustup target add wasm32-wasip1"
    assert "--manifest-path examples/plugin/Cargo.toml" in build
    assert "x-plugin: hello" in (tmp_path / "answered.txt").read_text()
    assert (tmp_path / "refused.txt").read_text().startswith("HTTP/1.1 403")
