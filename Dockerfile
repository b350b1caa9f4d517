# Two images from one file: `docker build --target bot .` (no torch) and `docker build --target worker .`.
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 DATA_DIR=/data
RUN useradd --create-home --uid 10001 flux && mkdir /data && chown flux /data
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot ./bot
COPY flux_core ./flux_core

FROM base AS bot
RUN pip install -c constraints.txt '.[bot]'
USER flux
VOLUME /data
CMD ["flux-bot", "bot"]

FROM base AS worker
RUN pip install "$(grep '^torch==' constraints.txt)" && pip install -c constraints.txt '.[worker]'
USER flux
VOLUME /data
CMD ["flux-bot", "worker"]
