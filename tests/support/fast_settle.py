"""``navarch``, where ConfigMaps come to pods within a second, as the kubelet of the tests brings them: a rotation waits for no more."""

from __future__ import annotations

from controlplane.cli.main import main
from controlplane.settings import KubernetesSettings

_SETTLE_S = 3.0

if __name__ == "__main__":
    defaults = KubernetesSettings.__init__.__kwdefaults__
    assert defaults is not None
    assert "settle_s" in defaults
    defaults["settle_s"] = _SETTLE_S
    main()
