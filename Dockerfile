# docker build -t fdp-lightning .                                CPU
# docker build -t fdp-lightning --build-arg COMPUTE=cuda .       CUDA; run it with --gpus all
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" fdp-lightning predict clip.mp4
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY conf ./conf
COPY experiments ./experiments
COPY benchmarks ./benchmarks
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG COMPUTE=cpu
COPY requirements.lock /tmp/requirements.lock
# The locked PyTorch includes CUDA. For CPUs, uv installs the build of the same version without CUDA, and libraries that
# only CUDA needs are omitted, which saves five gigabytes.
RUN pip install --no-cache-dir uv==0.13.9 \
 && case "$COMPUTE" in \
      cuda) uv pip install --system --no-cache -r /tmp/requirements.lock ;; \
      cpu) grep -vE '^(cuda-|nvidia-|triton==)' /tmp/requirements.lock > /tmp/cpu.lock \
           && uv pip install --system --no-cache --torch-backend=cpu -r /tmp/cpu.lock ;; \
      *) echo "COMPUTE is $COMPUTE; expected cpu or cuda" >&2; exit 2 ;; \
    esac
COPY --from=wheel /wheels /tmp/wheels
RUN uv pip install --system --no-cache --no-deps /tmp/wheels/*.whl \
 && useradd --create-home --uid 1000 researcher \
 && mkdir /work && chown 1000 /work
# Writable for any user of the container.
ENV MPLCONFIGDIR=/tmp/matplotlib
USER 1000
WORKDIR /work
ENTRYPOINT ["fdp-lightning"]
CMD ["--help"]
