# By version: the digest is for who builds to add (--build-arg PYTHON=python:3.11-slim-bookworm@sha256:...), and for their tool to keep current.
ARG PYTHON=python:3.11-slim-bookworm

# Every wheel is fetched by the lock file's hash; what the control plane itself needs of them is then installed from those alone.
FROM ${PYTHON} AS built
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY requirements.lock ./
RUN python -m pip download --quiet --require-hashes --only-binary=:all: --dest /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY controlplane controlplane
RUN python -m venv --without-pip /opt/navarch \
    && PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels python -m pip --python /opt/navarch/bin/python install --quiet --compile . \
    && /opt/navarch/bin/navarch version

# The base without what installs packages, and with what `navarch iptables` sets rules by.
FROM ${PYTHON} AS bare
# hadolint ignore=DL3008
RUN apt-get -qq update \
    && apt-get -qq install -y --no-install-recommends iptables iproute2 \
    && rm -rf /var/lib/apt/lists/*
RUN python -m pip uninstall --quiet --yes --root-user-action=ignore setuptools wheel pip \
    && rm -rf /usr/local/lib/python3*/ensurepip /usr/local/bin/pip*

# One layer, so that what was removed is nowhere in the image; that is why the whole of it is copied.
FROM scratch
LABEL org.opencontainers.image.title="Navarch" org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3067
COPY --from=bare / /
COPY --from=built /opt/navarch /opt/navarch
ENV PATH=/opt/navarch/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /
EXPOSE 15012 15016 15017 15021
ENTRYPOINT ["navarch"]
CMD ["--help"]
