# The build stage makes a virtual environment; the image holds that and Python, and no build tools. The stage has
# a C compiler, for what every event passes (pyproject.toml, hooks.mypyc), and the same Debian as the image.

FROM python:3.12-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies first: they change less often than the code. Every file is checked against its locked hash,
# also those of the tools that build the wheel. The compiler reads the types of all that the bridge needs.
# `--build-arg LOCK=otel` adds the packages for spans (docs/monitoring.md).
ARG LOCK=runtime
COPY requirements requirements
RUN python -m venv /opt/bridge \
 && /opt/bridge/bin/pip install --require-hashes --no-deps --requirement requirements/${LOCK}.txt
RUN pip install --require-hashes --no-deps --requirement requirements/build.txt

COPY pyproject.toml README.md LICENSE ./
COPY bridge bridge
COPY consumers consumers
RUN HATCH_BUILD_HOOK_ENABLE_MYPYC=1 pip wheel --no-build-isolation --no-deps --wheel-dir dist . \
 && /opt/bridge/bin/pip install --no-deps --no-index dist/*.whl \
 && /opt/bridge/bin/pip uninstall --yes pip

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin bridge
COPY --from=build /opt/bridge /opt/bridge
ENV PATH=/opt/bridge/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv
USER bridge

# Public port, operator port. The latter listens on the container's loopback unless BRIDGE_ADMIN__HOST says otherwise.
EXPOSE 8080 8081

# Whether the process lives. Whether it can deliver is another question: /readyz, or /healthz on the public port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
port = int(os.environ.get('BRIDGE_ADMIN__PORT', '8081')); \
connection = http.client.HTTPConnection('127.0.0.1', port, timeout=4); \
connection.request('GET', '/livez'); \
sys.exit(connection.getresponse().status != 200)"]

# SIGTERM drains: deliveries in hand are finished, sockets are told when to come back. Give it more time
# than BRIDGE_SHUTDOWN__DRAIN_SECONDS_MAX (20 s): docker stop --time 30.
STOPSIGNAL SIGTERM
ENTRYPOINT ["cloudphone-bridge"]
CMD ["serve"]
