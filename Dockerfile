# Our own image: API and workers. Workers build jars (Java 17, Maven, Git) and submit Python programs.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends git maven openjdk-17-jdk-headless openssh-client \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/penstock
COPY requirements.lock requirements-build.lock ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock -r requirements-build.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation . \
    && useradd --create-home --uid 9999 penstock \
    && mkdir -p /var/lib/penstock /var/lib/flink/state /var/cache/penstock \
    && chown -R penstock /var/lib/penstock /var/lib/flink /var/cache/penstock

# PyFlink of the cluster's version, for Python jobs. Leave it out for a smaller image without them:
# docker build --build-arg FLINK_VERSION= .
ARG FLINK_VERSION=2.3.0
ENV PENSTOCK_CACHE=/var/lib/penstock/cache PENSTOCK_HOME=/var/lib/penstock PYTHONUNBUFFERED=1
USER penstock
RUN if [ -n "$FLINK_VERSION" ]; then penstock flink install "$FLINK_VERSION"; fi

ENTRYPOINT ["penstock"]
CMD ["serve"]
