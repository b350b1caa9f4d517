# Two images from one file:
#   docker build --target bot -t flux-bot .           the Discord side, without torch
#   docker build --target worker -t flux-bot-worker --build-arg EXTRA=worker-cuda .   torch from PyPI brings CUDA along
#   docker build --target worker --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .   a worker without a card
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/flux/bin:$PATH

# What is needed to install stays behind in the build stages; the images get the finished environment alone.
FROM base AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/flux
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot ./bot
COPY flux_core ./flux_core

FROM build AS build-bot
RUN pip install -c constraints.txt '.[bot]'

FROM build AS build-worker
ARG TORCH_INDEX=https://pypi.org/simple
# torch comes first and pinned, so that no other package's looser wish chooses a different build.
RUN pip install --index-url "${TORCH_INDEX}" --extra-index-url https://pypi.org/simple "$(grep '^torch==' constraints.txt)"
RUN pip install -c constraints.txt '.[worker]'
# With a card, worker-cuda: torchao and bitsandbytes for 8 and 4 bits. A worker without one starts faster without them.
ARG EXTRA=worker
RUN pip install -c constraints.txt ".[${EXTRA}]"

FROM base AS runtime
RUN useradd --create-home --uid 10001 flux && mkdir /data && chown flux:flux /data
# Outside of a container nothing but loopback is told how a process is doing; within, its own network is all there is.
ENV DATA_DIR=/data \
    HF_HOME=/data/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    LOG_FORMAT=json \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9100
WORKDIR /data
VOLUME /data
EXPOSE 9100
USER 10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ['METRICS_PORT']}/healthz\", timeout=4)"]

FROM runtime AS bot
COPY --from=build-bot /opt/flux /opt/flux
CMD ["flux-bot", "bot"]

FROM runtime AS worker
ARG EXTRA=worker
USER 0
# By a C compiler, triton builds what starts its kernels; without one nothing is compiled, and drawing takes longer.
RUN if [ "${EXTRA}" = worker-cuda ]; then \
    apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; fi
USER 10001
COPY --from=build-worker /opt/flux /opt/flux
CMD ["flux-bot", "worker"]
