# A service as an image: docker build --build-arg SERVICE=app --build-arg PORT=9000 . (./scripts/images takes both from the file
# services).

ARG BASE=debian:12.12-slim

FROM ${BASE} AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev make libfcgi-dev libjansson-dev libseccomp-dev libutf8proc-dev
WORKDIR /src
COPY Makefile services ./
COPY cgi-common cgi-common
ARG SERVICE
COPY cgi-${SERVICE} cgi-${SERVICE}
RUN make -s BUILD=/build CFLAGS=-O2 LDFLAGS=-s /build/cgi-${SERVICE}

FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends \
        libfcgi-bin libjansson4 libseccomp2 libutf8proc2 spawn-fcgi && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY scripts/ask-health /usr/local/bin/ask-health
ARG SERVICE
ARG PORT
COPY --from=build /build/cgi-${SERVICE} /usr/local/bin/cgi-${SERVICE}
# Program and port are written down here: no variable can change them, and Kubernetes sets some that nobody asked for. The
# service itself becomes process 1: it drains at SIGTERM, and says why it does not start. The argument of the image is the
# address where it listens; without one, all of both families, or of IPv4 where the kernel has no IPv6.
RUN printf '%s\n' '#!/bin/sh' 'address=::' '[ -e /proc/net/if_inet6 ] || address=0.0.0.0' \
        "exec spawn-fcgi -n -a \"\${1:-\$address}\" -p ${PORT:?} -b 4096 -- /usr/local/bin/cgi-$SERVICE" \
        >/usr/local/bin/serve && \
    printf '#!/bin/sh\nexec ask-health %s\n' "$PORT" >/usr/local/bin/is-healthy && \
    chmod 0755 /usr/local/bin/serve /usr/local/bin/is-healthy
USER 10001:10001
EXPOSE ${PORT}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s CMD ["is-healthy"]
ENTRYPOINT ["serve"]
