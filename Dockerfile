# Two stages: pip and what else it takes to build stays behind. Any image with Python 3.11 or newer will do as BASE.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /build
COPY requirements/run.txt requirements/build.txt requirements/
# A pip.conf for another package index comes in as a secret, which no layer keeps:
#   docker build --secret id=pip.conf,src=pip.conf .
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/mirror \
    && /opt/build/bin/pip --python /opt/mirror/bin/python \
        install --no-cache-dir --no-deps --require-hashes -r requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY mirror mirror
COPY deploy/healthcheck /opt/mirror/bin/healthcheck
RUN /opt/build/bin/python -m hatchling build -t wheel \
    && /opt/build/bin/pip --python /opt/mirror/bin/python install --no-index --no-cache-dir --no-deps dist/*.whl \
    && mkdir -m 0700 /empty

FROM ${BASE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mirror" \
    org.opencontainers.image.description="A pull-through mirror for container registries" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/mirror /opt/mirror
COPY --from=build --chown=65532:65532 /empty /var/cache/mirror
# Where the commands look for config.yaml.
WORKDIR /etc/mirror
COPY config.yaml .
USER 65532:65532
VOLUME /var/cache/mirror
ENV PATH=/opt/mirror/bin:$PATH \
    MIRROR_CACHE__PATH=/var/cache/mirror \
    MIRROR_ADMIN__LISTEN=0.0.0.0:5001
EXPOSE 5000 5001
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["healthcheck"]
ENTRYPOINT ["mirror"]
CMD ["serve"]
