# Two stages: what is needed to build stays behind, the mirror runs as nobody in particular.
FROM python:3.13-slim AS build
WORKDIR /build
COPY requirements/run.txt requirements/build.txt requirements/
RUN python -m venv /opt/mirror \
    && /opt/mirror/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/run.txt \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY mirror mirror
RUN /opt/build/bin/python -m hatchling build -t wheel \
    && /opt/mirror/bin/pip install --no-cache-dir --no-deps dist/*.whl

FROM python:3.13-slim
COPY --from=build /opt/mirror /opt/mirror
COPY config.yaml /etc/mirror/config.yaml
RUN useradd --system --uid 65532 --no-create-home mirror \
    && install -d -o mirror -m 0700 /var/cache/mirror
USER 65532
VOLUME /var/cache/mirror
ENV MIRROR_CACHE__PATH=/var/cache/mirror \
    MIRROR_ADMIN__LISTEN=0.0.0.0:5001 \
    PYTHONDONTWRITEBYTECODE=1
EXPOSE 5000 5001
HEALTHCHECK --interval=10s --timeout=3s CMD \
    ["/opt/mirror/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5001/readyz')"]
ENTRYPOINT ["/opt/mirror/bin/mirror"]
CMD ["serve", "--config", "/etc/mirror/config.yaml"]
