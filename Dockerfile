# labgate in a container: the host's network, three capabilities, no --privileged. docs/docker.md has the commands.
#
#   docker build -t labgate .                          compiles in the build stage (about four minutes on two cores)
#   docker build -t labgate --target prebuilt CONTEXT  takes a binary named `labgate` from the context instead
#
# Both bases are arguments, for registries of one's own and for machines without any.
ARG BASE=debian:bookworm-slim
ARG BASE_BUILD=rust:1-slim-bookworm

FROM ${BASE} AS runtime
RUN command -v nft >/dev/null || { apt-get update \
 && apt-get install -y --no-install-recommends nftables \
 && rm -rf /var/lib/apt/lists/*; }
# Root in the container, without root's powers: with every capability dropped but three, uid 0 owns its files and no
# more. (A user of its own would lose the capabilities: Docker hands none down to other users.)
ENV LABGATE_CONFIG=/etc/labgate/labgate.toml LABGATE_STATE_DIR=/var/lib/labgate LABGATE_RUNTIME_DIR=/run/labgate
VOLUME ["/var/lib/labgate"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["labgate", "status"]
ENTRYPOINT ["labgate"]
CMD ["run"]

FROM runtime AS prebuilt
COPY labgate /usr/bin/labgate

FROM ${BASE_BUILD} AS build
RUN command -v cc >/dev/null || { apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin labgate

FROM runtime AS gateway
COPY --from=build /src/target/release/labgate /usr/bin/labgate
