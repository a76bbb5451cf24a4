# The image that `make image` makes, for those who have Docker: docker build --tag tcpforward:0.1.0 .
# A test compares the two.
FROM rust:1.95.0-bookworm AS build
WORKDIR /source
COPY . .
# With --target, RUSTFLAGS are for the programs alone: build scripts and proc macros can't be static.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
 && RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --profile image --target "$target" \
    --package tcpforward-operator --package tcpforward-dataplane --package tcpforward --bins \
 && mkdir /programs \
 && cp "target/$target/image/dataplane" "target/$target/image/operator" "target/$target/image/tcpforward" /programs/

FROM scratch
COPY --from=build /programs/dataplane /programs/operator /programs/tcpforward /bin/
ENV PATH=/bin
LABEL org.opencontainers.image.title=tcpforward org.opencontainers.image.licenses=Apache-2.0
USER 65532:65532
ENTRYPOINT ["tcpforward"]
