"""docs/virtual-machines.md: its commands, run as they are written, register a machine."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.page_commands import commands, run

PAGE = (Path(__file__).parents[2] / "docs" / "virtual-machines.md").read_text()
BEFORE = """
echo "127.0.0.1 navarch.example.com" >> /etc/hosts
ip addr add 10.0.0.7/32 dev lo
mkdir /etc/navarch manifests
cp group.yaml manifests
"""


def test_its_commands_register_the_machine(tmp_path: Path) -> None:
    [group] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "group.yaml").write_text(group)
    serve, token, root, bootstrap, envoy = commands(PAGE)

    ran = run(
        tmp_path,
        BEFORE,
        (
            serve,
            "await 'curl -sf 127.0.0.1:15014/readyz'",
            token,
            root,
            "cp token root-cert.pem /etc/navarch",
            bootstrap,
            envoy,
            "await 'curl -s 127.0.0.1:15014/v1/proxies | grep carts-10.0.0.7'",
            "await 'curl -sf 10.0.0.7:15021/healthz/ready || curl -sf 127.0.0.1:15021/healthz/ready'",
        ),
    )

    assert ran.returncode == 0, ran.stderr
    assert "lacks" not in ran.stderr
