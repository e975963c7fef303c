# The image of Conclave's programs, for people with Docker:
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t conclave .
#
# make image writes the same image without Docker. The builder needs a shell and
# the Go version of go.mod, nothing else: the programs are static, and what they
# run in is empty but for them.
ARG BUILDER=docker.io/library/golang:1.26
FROM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG BUILT=
ARG TARGETARCH=
RUN VERSION=$VERSION BUILT=$BUILT GOARCH=$TARGETARCH sh hack/image/programs.sh /out/image && mkdir /out/data

FROM scratch
# A fresh volume mounted here belongs to the user that the programs run as.
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/image/ /
ARG VERSION=dev
LABEL org.opencontainers.image.title=Conclave org.opencontainers.image.version=$VERSION org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
ENTRYPOINT ["/conclave-server"]
