# ringo for CPUs: kernels are chosen at run time, so that one image serves machines with AVX2, AVX-512 and AMX.
#
#   docker build -t ringo .
#   docker run --rm ringo                                                          what this machine offers
#   docker run --rm -v ringo:/data ringo train -c /usr/share/ringo/configs/gpt-stdlib.yaml
#   docker run --rm -v ringo:/data ringo data fetch tinyshakespeare
#   docker run --rm -v ringo:/data ringo train -c /usr/share/ringo/configs/gpt-char.yaml
#
# Runs and fetched data lie in the volume.

FROM golang:1.26-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# cgo compiles the kernels with the image's gcc; the binary needs glibc and libm only.
RUN CGO_ENABLED=1 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/ringo ./cmd/ringo && /out/ringo doctor
# The text that the go-stdlib source trains on: the library without its tests and commands.
RUN mkdir -p /out/go/src /out/data && cd /usr/local/go/src \
    && tar -cf - --exclude='*/testdata' --exclude='*_test.go' --exclude='./cmd' . | tar -xf - -C /out/go/src

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/ringo /usr/local/bin/ringo
COPY --from=build /out/go /usr/local/go
COPY --from=build /src/configs /usr/share/ringo/configs
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532
ENV XDG_CACHE_HOME=/data/cache
WORKDIR /data
VOLUME /data
# Opens every device and its kernels.
HEALTHCHECK --interval=5m --timeout=10s CMD ["/usr/local/bin/ringo", "doctor"]
ENTRYPOINT ["/usr/local/bin/ringo"]
CMD ["doctor"]
