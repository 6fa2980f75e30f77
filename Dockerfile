# One image for latchkey-api, latchkey-worker and latchkey-sandbox; compose.yaml says which one runs.

FROM rust:1.95.0-bookworm AS build
# The image's own toolchain, instead of one that rust-toolchain.toml would have fetched.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo build --release --locked --workspace --exclude latchkey-examples --bins --no-default-features

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/latchkey --create-home --shell /usr/sbin/nologin latchkey
COPY --from=build \
  /src/target/release/latchkey-api \
  /src/target/release/latchkey-worker \
  /src/target/release/latchkey-sandbox \
  /usr/local/bin/
USER latchkey
WORKDIR /var/lib/latchkey
