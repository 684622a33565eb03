# The server with the recogniser that comes along:
#
#   docker build -t mner .
#   docker run --rm -p 8000:8000 -e MNER_API_KEY=... mner
#
# PIP_ARGS is handed to pip: a CPU build of torch, an index of your own. A run folder of yours is mounted:
#
#   docker run --rm -p 8000:8000 -v "$PWD/runs/mine:/run-folder:ro" mner /run-folder
FROM python:3.12-slim AS build

ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mner
WORKDIR /source
COPY constraints.txt ./
# torch by itself: it is by far the largest, and changes least.
RUN /opt/mner/bin/pip install $PIP_ARGS -c constraints.txt torch
COPY pyproject.toml README.md LICENSE NOTICE MANIFEST.in ./
COPY src ./src
RUN /opt/mner/bin/pip install $PIP_ARGS -c constraints.txt '.[default,knowledge,serve]'

FROM python:3.12-slim

# OpenCV, which reads the text in pictures, is linked against these.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/mner /opt/mner
RUN useradd --create-home --uid 10001 mner
USER mner
WORKDIR /home/mner
ENV PATH=/opt/mner/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HUB_OFFLINE=1 \
    OMP_WAIT_POLICY=passive \
    TOKENIZERS_PARALLELISM=false
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
# SIGTERM, which `docker stop` sends, lets it finish what is in flight.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mner", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["default"]
