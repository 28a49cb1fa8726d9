FROM python:3.13-slim AS build
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

FROM python:3.13-slim
RUN useradd --system --uid 5000 --create-home homelab && install -d -o homelab -m 700 /data
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
# Compiled now, because the user below may not write here, and a start would compile everything each time.
RUN /venv/bin/python -m compileall -q homelab incidents agents metrics
# HOST is inside the container; what is published, and to whom, says compose.yaml or `docker run -p`.
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOMELAB_DATA_DIR=/data \
    HOST=0.0.0.0 \
    PORT=5000
USER homelab
VOLUME /data
EXPOSE 5000
# A start may take a while on small machines; later, three failures in a row are 90 s.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "homelab.run"]
