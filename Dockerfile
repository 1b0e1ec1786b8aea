# docker build -t d2l-recsys . && docker run --rm d2l-recsys    is `make run`.
FROM python:3.12-slim
# MXNet's wheel takes libgomp and, where there is one, libquadmath from the system.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends make libgomp1 libgfortran5 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home reader \
 && install --directory --owner reader /d2l-recsys
USER reader
WORKDIR /d2l-recsys
COPY --chown=reader . .
RUN make run ARGS=--help
CMD ["make", "run"]
