# ringo for CPUs: kernels are chosen at run time, so that one image serves machines with AVX2, AVX-512 and AMX. docs/docker.md has more.
#
#   docker build -t ringo .
#   docker run --rm ringo                                                          what this machine offers
#   docker run --rm -v ringo:/data ringo train -c /usr/share/ringo/configs/gpt-stdlib.yaml
#   docker run --rm -v ringo:/data ringo data fetch tinyshakespeare
#   docker run --rm -v ringo:/data ringo train -c /usr/share/ringo/configs/gpt-char.yaml
#
# Runs, fetched data and keys lie in the volume. In a folder of one's own: --user $(id -u):$(id -g) -v $PWD:/data

ARG GOLANG=golang:1.26-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

# The text that the go-stdlib source trains on, and the folder that volumes take their owner and mode from: any user may write there.
FROM ${GOLANG} AS text
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY data/gostdlib.go /src/
RUN folders=$(sed -n '/^var stdlibFolders/,/^}/p' /src/gostdlib.go | grep -o '"[^"]*"' | tr -d '"') \
    && mkdir -p /out/usr/local/go/src && cd /usr/local/go/src \
    && for f in $folders; do cp --parents "$f"/*.go /out/usr/local/go/src; done \
    && find /out -name '*_test.go' -delete && cp ../LICENSE /out/usr/local/go && mkdir -m 1777 /out/data

# cgo compiles the kernels with the image's gcc; the binary needs glibc and libm only.
FROM ${GOLANG} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG REVISION=""
RUN --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.revision=$REVISION" -o /out/ringo ./cmd/ringo \
    && /out/ringo doctor

# No shell, no package manager, no compiler. All that is written goes to the volume, so that the root file system may be read-only and the
# user any other.
FROM ${RUNTIME} AS cpu
COPY --from=text /out /
COPY LICENSE /usr/share/doc/ringo/
COPY configs /usr/share/ringo/configs
USER 65532
ENV XDG_CACHE_HOME=/data/cache XDG_CONFIG_HOME=/data/config
WORKDIR /data
VOLUME /data
# Whether the volume can be written and the CPU computes.
HEALTHCHECK --interval=5m --timeout=10s CMD ["/usr/local/bin/ringo", "doctor", "--health"]
ENTRYPOINT ["/usr/local/bin/ringo"]
CMD ["doctor"]
# What changes most comes last.
COPY --from=build /out/ringo /usr/local/bin/ringo
ARG REVISION=""
LABEL org.opencontainers.image.title="ringo" org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="A training engine: graphs planned once, run on CPU or GPU" \
      org.opencontainers.image.revision="$REVISION"
